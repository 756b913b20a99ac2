"""An explanation as text and as HTML."""
