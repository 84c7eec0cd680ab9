"""Published measurements of parameter servers."""
