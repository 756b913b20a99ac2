"""How a subject of the page is built: from a look, from matrices or a watch, from a reading."""
