"""From raw text to tokens: readers, tokenizers, segments, and the corpora of the default models."""
