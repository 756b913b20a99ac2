"""What can be computed from the weights in one pass: one class each, with its merge law."""
