"""The commands put together, and the help that ``milepost --help`` gives."""

from __future__ import annotations

import inspect
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from milepost.cli import changing, events, explain, failed, groups, repartition, show, track
from milepost.cli.changes import command as changes
from milepost.cli.demo import command as demo
from milepost.cli.failing import OneLineErrors

__all__ = ["app", "run"]

_EXAMPLES: Final = (
    "milepost demo",
    "milepost track purchases.jsonl --declare goals.json",
    "milepost show customer:0001 --database milepost-demo.db",
)

_TRY: Final = "Try"
_LOOK: Final = "Look"
_CHANGE: Final = "Change"


def _epilog(examples: Sequence[str]) -> str:
    return "\n\n".join(["[dim]Examples:[/dim]", *(f"[cyan]{escape(line)}[/cyan]" for line in examples)])


app = typer.Typer(
    name="milepost",
    cls=OneLineErrors,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_epilog(_EXAMPLES),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"milepost {version('milepost')}")
        raise typer.Exit


def _print_help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        text = context.get_help()
        if text.strip():
            print(text)


def _help(command: Callable[..., Any]) -> str:
    """Return a docstring as help: paragraphs as wide as the terminal, indented ones as they are."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(text if text.startswith(" ") else " ".join(text.split()) for text in paragraphs)


def _add(
    command: Callable[..., Any],
    panel: str | None,
    examples: Sequence[str],
    within: typer.Typer = app,
    name: str | None = None,
) -> None:
    within.command(name, help=_help(command), rich_help_panel=panel, epilog=_epilog(examples))(command)


def milepost(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Exact progress towards milestones, and events when they are reached.

    Every command works on a database: a SQLite file, milepost.db in the current directory unless
    --database or MILEPOST_DATABASE names another. Several programs may use one at the same time.

    What cannot be done is said in one line on stderr, with exit status 2.
    """
    _print_help(context)


app.callback(invoke_without_command=True, help=_help(milepost))(milepost)
_add(demo.demo, _TRY, demo.EXAMPLES)
_add(track.track, _TRY, track.EXAMPLES)
_add(show.show, _LOOK, show.EXAMPLES)
_add(groups.groups, _LOOK, groups.EXAMPLES)
_add(explain.explain, _LOOK, explain.EXAMPLES)
_add(events.events, _LOOK, events.EXAMPLES)
change_logs = typer.Typer(rich_markup_mode="rich")
_add(changes.show, None, changes.SHOW_EXAMPLES, change_logs)
_add(changes.tail, None, changes.TAIL_EXAMPLES, change_logs)
_add(changes.demo, None, changes.DEMO_EXAMPLES, change_logs)
app.add_typer(
    change_logs,
    name="changes",
    callback=_print_help,
    invoke_without_command=True,
    help="Read the logs of tracked containers.",
    rich_help_panel=_LOOK,
    epilog=_epilog((*changes.DEMO_EXAMPLES[:1], *changes.SHOW_EXAMPLES[:1], *changes.TAIL_EXAMPLES[1:])),
)
_add(changing.add, _CHANGE, changing.ADD_EXAMPLES)
_add(changing.reset, _CHANGE, changing.RESET_EXAMPLES)
_add(changing.remove, _CHANGE, changing.REMOVE_EXAMPLES)
_add(repartition.repartition, _CHANGE, repartition.EXAMPLES)
failed_deliveries = typer.Typer(rich_markup_mode="rich")
_add(failed.show, None, failed.SHOW_EXAMPLES, failed_deliveries, "list")
_add(failed.retry, None, failed.RETRY_EXAMPLES, failed_deliveries)
_add(failed.remove, None, failed.REMOVE_EXAMPLES, failed_deliveries)
app.add_typer(
    failed_deliveries,
    name="failed",
    callback=_print_help,
    invoke_without_command=True,
    help="Deliveries of the event bus that failed for good.",
    rich_help_panel=_CHANGE,
    epilog=_epilog((*failed.SHOW_EXAMPLES[:1], *failed.RETRY_EXAMPLES[:1], *failed.REMOVE_EXAMPLES[1:])),
)


def run() -> None:
    """Run the command that the program's arguments name, and exit with its status."""
    if sys.stdout is None or sys.stderr is None:  # the caller closed it, and wants to see nothing
        nowhere = Path(os.devnull).open("w")  # noqa: SIM115  for as long as the program runs
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a narrow encoding is no reason to fail
    logging.getLogger("milepost").addHandler(logging.NullHandler())  # what matters is raised, and said once
    app(prog_name="milepost")
