"""Corpora that only the experiments read; those of the recipes are made by `limelight data`."""
