"""The pure core: a record, a command and the time in; new rows and events out.

Nothing in this package awaits, reads a clock or does I/O.
"""
