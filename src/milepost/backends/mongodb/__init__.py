"""MongoDB: the client, the shape of documents, guarded writes, the outbox's relay and the lease."""
