"""The table of how many customers reached each target, while it grows and at the end."""

from __future__ import annotations

from typing import Final

from rich import box
from rich.progress_bar import ProgressBar
from rich.table import Table

from milepost.cli.demo.goals import GOALS, Standings

__all__ = ["STYLES", "standings_table", "target_text"]

STYLES: Final = {"spend": "green", "orders": "cyan"}


def target_text(tracker: str, target: int) -> str:
    """Return a target for people: dollars, or a number of orders."""
    return f"${target}" if tracker == "spend" else f"{target}"


def standings_table(standings: Standings, customers: int) -> Table:
    """Return the table.

    Args:
        standings: the sums.
        customers: how many there are; what a full bar stands for.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("tracker")
    table.add_column("target", justify="right")
    table.add_column("reached by", justify="right", no_wrap=True)
    table.add_column(f"of {customers} customers", width=30)
    for tracker, targets in GOALS.items():
        for target in targets:
            reached = standings.reached[tracker, target]
            table.add_row(
                tracker,
                target_text(tracker, target),
                f"{reached}",
                ProgressBar(total=customers, completed=reached, width=30, complete_style=STYLES[tracker]),
                style=STYLES[tracker],
            )
    return table
