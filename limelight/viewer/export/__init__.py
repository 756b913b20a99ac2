"""The page as one self-contained HTML file, within a budget of bytes."""
