"""``milepost explain``: what a datum would do to a group, and what says no."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from milepost.cli.database import manager_on, shown
from milepost.cli.failing import BadInput, run_async
from milepost.cli.options import DEFAULT_DATABASE, AsJson, Database, Declare, Group, Import
from milepost.cli.printing import console, printable
from milepost.codec import loads
from milepost.manager import TrackingManager
from milepost.tracking.explain import Explanation, TrackerExplanation, WouldBe

__all__ = ["EXAMPLES", "explain"]

EXAMPLES: Final = (
    """milepost explain user:1 '{"amount": 25}'""",
    """milepost explain user:9 '{"action": "login"}' --declare goals.json""",
)

_STYLES: Final = {
    WouldBe.MOVED: "green",
    WouldBe.UNMATCHED: "dim",
    WouldBe.LIMITED: "yellow",
    WouldBe.REJECTED: "red",
    WouldBe.ALREADY_COMPLETED: "green",
}

Datum = Annotated[str, typer.Argument(metavar="JSON", help="What might happen, a JSON object.", show_default=False)]


def explain(
    group: Group,
    datum: Datum,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
    declare: Declare = None,
    imports: Import = None,
) -> None:
    """Say what a datum would do to a group, and which condition or limiter says no.

    Nothing is changed.
    """
    data = _parsed(datum)
    manager = manager_on(database, declare=declare, imports=imports, must_exist=True)
    explanation = run_async(_explained(group, data, manager))
    if not explanation.trackers:
        raise BadInput(f"group {group!r} has no trackers in {shown(database)}; --declare names a file with some")
    if as_json:
        print(explanation.model_dump_json())
        return
    screen = console()
    screen.print(printable(group), style="bold", soft_wrap=True)
    screen.print(_table(explanation))


async def _explained(group: str, data: dict[str, Any], manager: TrackingManager) -> Explanation:
    async with manager:
        return await manager.explain(group, data)


def _parsed(text: str) -> dict[str, Any]:
    try:
        data = loads(text)
    except (ValueError, TypeError) as error:  # TypeError: bytes that are no text
        raise BadInput(f"the datum is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadInput(f"the datum must be a JSON object, got {text[:40]}")
    return data


def _table(explanation: Explanation) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("tracker", overflow="fold", style="cyan")
    table.add_column("would be", no_wrap=True)
    table.add_column("progress", no_wrap=True)
    table.add_column("because", overflow="fold")
    for tracker in explanation.trackers:
        table.add_row(
            printable(tracker.name),
            Text(tracker.outcome.value, style=_STYLES[tracker.outcome]),
            _progress(tracker),
            _because(tracker),
        )
    return table


def _progress(tracker: TrackerExplanation) -> str:
    return f"{tracker.before} → {tracker.after}" if tracker.outcome is WouldBe.MOVED else f"{tracker.before}"


def _because(tracker: TrackerExplanation) -> Text:
    """Return every condition and limiter with its verdict, and the events that would follow."""
    lines = [(f"{'✓' if holds else '✗'} {rule}", "" if holds else "yellow") for rule, holds in _rules(tracker)]
    if tracker.outcome is not WouldBe.MOVED and tracker.reason is not None and all(ok for _, ok in _rules(tracker)):
        lines.append((tracker.reason, "yellow"))
    lines += [(f"! {code}", "bold") for code in tracker.events]
    text = Text()
    for line, style in lines:
        text.append("\n" if text else "").append(printable(line), style=style)
    return text


def _rules(tracker: TrackerExplanation) -> list[tuple[str, bool]]:
    return [*tracker.conditions, *tracker.limiters]
