"""Durable delivery: milepost and its peers, each in a process of its own that publishes, handles and acknowledges."""
