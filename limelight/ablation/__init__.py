"""Ablation: run a model with some of its tokens masked from everybody, and measure how far its output moves."""
