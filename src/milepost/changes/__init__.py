"""State that remembers: containers that log every change, observers and exporters."""
