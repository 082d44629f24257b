"""``milepost changes show``, ``tail`` and ``demo``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from milepost.changes.actors import tracking_actor
from milepost.changes.dicts import TrackedDict
from milepost.cli.changes.following import follow, last_lines
from milepost.cli.changes.lines import Wanted, as_text, parsed
from milepost.cli.failing import BadInput
from milepost.cli.options import AsJson
from milepost.cli.printing import console, counted, note

__all__ = ["DEMO_EXAMPLES", "SHOW_EXAMPLES", "TAIL_EXAMPLES", "demo", "show", "tail"]

SHOW_EXAMPLES: Final = (
    "milepost changes show changes.jsonl",
    "milepost changes show changes.jsonl.1 changes.jsonl --actor ada --path items",
    "milepost changes show changes.jsonl --action remove --json | jq .old",
)
TAIL_EXAMPLES: Final = (
    "milepost changes tail changes.jsonl",
    "milepost changes tail changes.jsonl --follow --container cart",
)
DEMO_EXAMPLES: Final = ("milepost changes demo", "milepost changes demo --json")

_INTERRUPTED: Final = 130

Actions = Annotated[
    list[str] | None,
    typer.Option("--action", metavar="NAME", help="Only this action. May be repeated.", show_default=False),
]
Actors = Annotated[
    list[str] | None,
    typer.Option("--actor", metavar="NAME", help="Only changes by this actor. May be repeated.", show_default=False),
]
Containers = Annotated[
    list[str] | None,
    typer.Option(
        "--container", metavar="NAME|ID", help="Only changes of this container. May be repeated.", show_default=False
    ),
]
PathBegins = Annotated[
    str | None,
    typer.Option("--path", metavar="PATH", help="Only changes at or below a path, such as items[0].name."),
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only changes since then, such as 2026-01-31T12:00+00:00."),
]
Details = Annotated[bool, typer.Option("--details", help="Show ids, snapshots and stacks too.")]


def show(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="Change logs, or stdin.", show_default=False)
    ] = None,
    actions: Actions = None,
    actors: Actors = None,
    containers: Containers = None,
    path: PathBegins = None,
    since: Since = None,
    details: Details = False,
    as_json: AsJson = False,
) -> None:
    """Show the changes in logs that JsonLinesExporter or json_file_observer wrote.

    Each is a line for people: when, who, which container, where, what, from which value to which.
    With --json the lines are printed as they are. What is no entry is counted, and the exit status is 2.
    """
    output = _Output(_wanted(actions, actors, containers, path, since), details, as_json)
    if not files:
        output.write(sys.stdin.buffer)
    for file in files or ():
        with _opened(file) as lines:
            output.write(lines)
    output.finish()


def tail(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A change log.", show_default=False)],
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="How many lines to begin with.")] = 10,
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is added, also after a rotation, until Ctrl-C.")
    ] = False,
    actions: Actions = None,
    actors: Actors = None,
    containers: Containers = None,
    path: PathBegins = None,
    since: Since = None,
    details: Details = False,
    as_json: AsJson = False,
) -> None:
    """Show the last lines of a change log, and with --follow those that are still to come."""
    output = _Output(_wanted(actions, actors, containers, path, since), details, as_json)
    lines = _opened(file)
    output.write(last_lines(lines, last))
    if following:
        try:
            output.write(follow(file, lines))
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
    lines.close()
    output.finish()


def demo(as_json: AsJson = False) -> None:
    """Make a change to a tracked dict and print its entry."""
    tracked: TrackedDict[str, str] = TrackedDict(tracking_name="demo", tracking_capture_snapshots=True)
    with tracking_actor("provisioner"):
        tracked["status"] = "ready"
    for entry in tracked.tracking_changes():
        if as_json:
            print(entry.to_json())
        else:
            console().print(as_text(entry.to_dict(), details=True), soft_wrap=True)


class _Output:
    """Prints the entries that are wanted, and counts the lines that are none."""

    def __init__(self, wanted: Wanted, details: bool, as_json: bool) -> None:
        self._wanted = wanted
        self._details = details
        self._as_json = as_json
        self._console = console()
        self._bad = 0

    def write(self, lines: Iterable[bytes]) -> None:
        """Print lines as they come."""
        for line in lines:
            if not line.strip():
                continue
            entry = parsed(line)
            if entry is None:
                self._bad += 1
            elif self._wanted.has(entry):
                self._print(entry)

    def _print(self, entry: dict[str, Any]) -> None:
        if self._as_json:
            print(json.dumps(entry, separators=(",", ":")), flush=True)
        else:
            self._console.print(as_text(entry, details=self._details), soft_wrap=True)

    def finish(self) -> None:
        """Say how many lines were no entries.

        Raises:
            typer.Exit: with status 2 where there were any.
        """
        if self._bad:
            note(f"milepost: {counted(self._bad, 'line is', 'lines are')} no entry of a change log")
            raise typer.Exit(2)


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from None


def _wanted(
    actions: list[str] | None,
    actors: list[str] | None,
    containers: list[str] | None,
    path: str | None,
    since: str | None,
) -> Wanted:
    moment = None
    if since is not None:
        try:
            moment = datetime.fromisoformat(since).astimezone()
        except ValueError:
            raise typer.BadParameter(f"--since must be a date and time, got {since!r}") from None
    return Wanted(actions or (), actors or (), containers or (), path, moment)
