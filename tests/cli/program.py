"""A run of the program, and what tests say about one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from typer.testing import CliRunner

from milepost.cli.app import app

PROGRAM = [sys.executable, "-m", "milepost.cli"]


class Ran(NamedTuple):
    """What a run of the program came to."""

    status: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


def run_here(*arguments: object, input: str | bytes | None = None) -> Ran:
    """Run the program in this process."""
    try:
        runner = CliRunner(mix_stderr=False)  # type: ignore[call-arg]  # click before 8.2
    except TypeError:
        runner = CliRunner()
    result = runner.invoke(app, [str(argument) for argument in arguments], input=input, prog_name="milepost")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def run_apart(command: Sequence[object], **settings: Any) -> Ran:
    """Run a command as a process of its own."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    done = subprocess.run([str(word) for word in command], check=False, text=True, timeout=60, **streams)
    return Ran(done.returncode, done.stdout, done.stderr)


def lines(*contents: Any) -> str:
    """Return values as JSON lines."""
    return "".join(json.dumps(content) + "\n" for content in contents)


def purchase(group: str, amount: object, **more: Any) -> dict[str, Any]:
    """Return a line of input."""
    return {"group": group, "data": {"amount": amount}, **more}


def kinds(events: Iterable[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return events as (group, tracker, type)."""
    return [(event["subject"], event["data"]["name"], event["type"]) for event in events]


def only_line(text: str) -> str:
    """Return the one line that there is."""
    (line,) = text.splitlines()
    assert text == line + "\n"
    return line
