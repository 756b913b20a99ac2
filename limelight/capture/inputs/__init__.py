"""One call of an attention backend in the words of `AttentionMatrix`; masks and biases recognised as rules."""
