"""Redis: connections, keys, scripts and the translation of errors."""
