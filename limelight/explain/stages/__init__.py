"""The stages of the process, each with its formula, shapes, numbers and one check."""
