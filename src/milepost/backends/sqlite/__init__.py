"""SQLite: the threads and connections, the schema, reading, deciding, writing, the outbox and the lease."""
