"""Attention against recurrence, by measurement: `python -m experiments WHAT`. The rules stand in README.md."""
