"""Help, version and usage errors."""

from __future__ import annotations

import re

import pytest

from milepost.cli.app import app
from tests.cli.program import Run, only_line

GROUP = ("changes show", "changes tail", "changes demo", "failed list", "failed retry", "failed remove")
COMMANDS = ("demo", "track", "show", "groups", "explain", "events", "add", "reset", "remove", "repartition")


def test_without_arguments_it_says_what_there_is(milepost: Run) -> None:
    """The help names every command, and is no error."""
    ran = milepost()
    assert ran.status == 0
    assert set(COMMANDS) <= set(ran.out.split())
    assert ran.out.strip() == milepost("--help").out.strip()


def test_every_command_is_described_here() -> None:
    """A new command finds its place in these tests."""
    assert {command.callback.__name__ for command in app.registered_commands if command.callback} == set(COMMANDS)
    assert {
        f"{group.name} {command.name or command.callback.__name__}"
        for group in app.registered_groups
        if group.typer_instance is not None
        for command in group.typer_instance.registered_commands
        if command.callback
    } == set(GROUP)


@pytest.mark.parametrize("command", [*COMMANDS, *GROUP])
def test_help_is_worth_reading(milepost: Run, command: str) -> None:
    """Each command's help says what it does, explains every option, and ends with examples that begin with it."""
    ran = milepost(*command.split(), "--help")
    assert ran.status == 0
    assert f"Usage: milepost {command}" in ran.out
    _, examples = ran.out.split("Examples:")
    assert f"milepost {command}" in examples
    assert not re.search(r"^│ --[a-z-]+\s+(<\w+>|[A-Z]+)?\s*│$", ran.out, re.MULTILINE), "an option without a word"
    assert "\x1b" not in ran.out


def test_the_version_is_one_line(milepost: Run) -> None:
    """--version prints the package's name and version."""
    assert re.fullmatch(r"milepost \d+\.\d+\.\d+\n", milepost("--version").out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "milepost: No such command 'frobnicate' (see milepost --help)"),
        (["--frobnicate"], "--frobnicate (see milepost --help)"),
        (["show", "--frobnicate", "x"], "--frobnicate (see milepost show --help)"),
        (["show"], "milepost: Missing argument 'GROUP' (see milepost show --help)"),
        (["show", "a", "b"], "unexpected extra argument"),
        (["track", "--group-key"], "--group-key"),
    ],
)
def test_a_usage_error_is_one_line(milepost: Run, arguments: list[str], message: str) -> None:
    """Unknown commands and options, and missing arguments, end with status 2 and point to the help."""
    ran = milepost(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert message in only_line(ran.err)
