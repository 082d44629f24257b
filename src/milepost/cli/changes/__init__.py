"""``milepost changes``: read the logs of tracked containers."""
