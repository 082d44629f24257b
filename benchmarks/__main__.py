"""``python -m benchmarks``: measure, print a table, and write JSON where asked to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figure, Row
from benchmarks.machine import machine
from benchmarks.measuring import Effort
from benchmarks.rows import ROWS
from benchmarks.table import as_json, show_table

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None, effort: Effort | None = None) -> int:
    """Measure what was asked for.

    Args:
        arguments: the command line's; by default this process's.
        effort: how much to do; by default what the command line says.

    Returns:
        The exit status: 0, also where a target is missed, for that may be the machine's doing.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="milepost beside its peers and hand-written floors, measured in one run.",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results there too, as JSON")
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=[row.name for row in ROWS],
        help=f"measure only this row (can be given several times): {', '.join(row.name for row in ROWS)}",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the sizes and few repeats: to see that it works"
    )
    options = parser.parse_args(arguments)
    if effort is None:
        effort = Effort(scale=0.1, repeats=3) if options.quick else Effort()
    results: list[tuple[Row, list[Figure]]] = []
    for row in ROWS:
        if options.only is None or row.name in options.only:
            print(f"measuring: {row.work} …", file=sys.stderr, flush=True)
            results.append((row, row.measure(effort)))
    here = machine()
    if options.quick:
        here["sizes"] = "a tenth: these numbers are no measurement"
    show_table(here, results)
    if options.json is not None:
        options.json.write_text(as_json(here, results) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
