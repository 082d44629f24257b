"""The arguments and options that several commands share, so that they read and mean the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

__all__ = [
    "DEFAULT_DATABASE",
    "AsJson",
    "Database",
    "Declare",
    "Group",
    "Import",
    "Stream",
    "unicode_text",
]

DEFAULT_DATABASE: Final = "milepost.db"


def unicode_text(value: str | None) -> str | None:
    """Check a name given on the command line.

    Raises:
        typer.BadParameter: when it is empty, or not valid Unicode.
    """
    if value is None:
        return None
    if not value:
        raise typer.BadParameter("must not be empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("must be valid Unicode text") from None
    return value


Database = Annotated[
    str,
    typer.Option(
        "--database",
        "-d",
        envvar="MILEPOST_DATABASE",
        metavar="PATH|URL",
        help="A SQLite file, or a store URL such as sqlite:///track.db.",
        callback=unicode_text,
    ),
]

Stream = Annotated[
    str,
    typer.Option(
        "--database",
        "-d",
        envvar="MILEPOST_DATABASE",
        metavar="PATH|URL",
        help="A SQLite file, or a URL such as sqlite:///track.db or redis://localhost:6379/0.",
        callback=unicode_text,
    ),
]

Declare = Annotated[
    list[Path] | None,
    typer.Option(
        "--declare",
        metavar="FILE.json",
        help="Trackers declared for all groups of a pattern; see `milepost track --help`. May be repeated.",
        show_default=False,
    ),
]

Import = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="Import a module that defines conditions, limiters or trackers of your own. May be repeated.",
        show_default=False,
    ),
]

Group = Annotated[
    str, typer.Argument(metavar="GROUP", help="The group's id.", callback=unicode_text, show_default=False)
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table for people.")]
