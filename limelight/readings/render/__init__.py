"""Readings in the terminal (rich) and as figures (matplotlib)."""
