"""`output_attentions=True` as tensors that are computed on demand."""
