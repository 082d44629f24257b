"""Clients, keys and error translation, shared by an adapter and its transport."""
