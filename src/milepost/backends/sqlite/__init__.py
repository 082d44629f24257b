"""SQLite: connections, the schema, the lease and the translation of errors."""
