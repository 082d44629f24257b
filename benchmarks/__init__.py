"""milepost beside its peers and beside hand-written floors, measured in one run: ``python -m benchmarks``.

Each row of the table is a module in :mod:`benchmarks.rows`. What is compared takes turns, so
that whatever else the machine does falls on all of them; what counts is the ratio of medians.
"""
