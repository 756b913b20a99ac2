"""Every answer of the page, computed: tiles, rows, top-k tables, head statistics, the first pass over a layer."""
