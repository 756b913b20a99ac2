"""The corpora that the default models and the example recipes are trained on, built from public packages."""
