"""The program as a process: how it starts, how it is stopped, and what it leaves on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.program import PROGRAM, Run, lines, only_line, purchase, run_apart
from tests.cli.test_demo import assert_exact


@contextmanager
def started(*arguments: object, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program; it is killed at the end if it still runs."""
    with subprocess.Popen([*PROGRAM, *map(str, arguments)], **settings) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


class Terminal:
    """A terminal of 24 lines and 80 columns that a program runs in."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self.text = ""

    def read_until(self, wanted: str) -> None:
        """Read until the program has written something."""
        while wanted not in self.text:
            self._read()

    def read_all(self) -> str:
        """Read until the program has ended."""
        os.close(self.theirs)
        try:
            while True:
                self._read()
        except OSError:  # the other side is closed: nobody writes any more
            os.close(self._ours)
        return self.text

    def _read(self) -> None:
        block = os.read(self._ours, 65_536)
        if not block:
            raise OSError
        self.text += block.decode(errors="replace")


def in_terminal(terminal: Terminal) -> dict[str, object]:
    """Return how to start a program in a terminal."""
    return {
        "stdin": terminal.theirs,
        "stdout": terminal.theirs,
        "stderr": terminal.theirs,
        "env": {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
    }


def test_the_installed_command_is_this_program() -> None:
    """``milepost`` is installed beside the interpreter."""
    command = Path(sys.executable).with_name("milepost")
    assert re.fullmatch(r"milepost \d+\.\d+\.\d+\n", run_apart([command, "--version"]).out)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    """One line with the pip command, status 2, no traceback."""
    code = f"import sys; sys.modules[{missing!r}] = None; from milepost.cli import main; main()"
    ran = run_apart([sys.executable, "-c", code, "groups"])
    assert (ran.status, ran.out) == (2, "")
    assert only_line(ran.err) == f'milepost: {missing} is not installed; run: pip install "milepost[cli]"'


def test_a_line_is_applied_before_the_next_one_arrives(goals: Path) -> None:
    """In a pipe that stays open, an event comes out as soon as its line has been written."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with started("track", "--declare", goals, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for group in ("user:1", "user:2"):
            process.stdin.write(lines(purchase(group, 20)).encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["subject"] == group
        process.stdin.close()
        assert process.wait(30) == 0


def test_ctrl_c_ends_it_quietly_and_loses_nothing(milepost: Run, goals: Path) -> None:
    """Interrupted while it waits for input: status 130, nothing on stderr, what was acknowledged is in the file."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started("track", "--declare", goals, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(lines(purchase("user:1", 20)).encode())
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert milepost("show", "user:1", "--json").events[0]["progress"] == {"$decimal": "20"}


def test_a_closed_pipe_is_no_traceback(milepost: Run, goals: Path) -> None:
    """``milepost groups | head -1`` ends as a shell expects of a program that SIGPIPE ended, without a word."""
    text = lines(*(purchase(f"user:{n:05}", 1) for n in range(12_000)))
    assert milepost("track", "-q", "--declare", goals, input=text).status == 0
    with started("groups", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"user:00000\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


def test_tracking_into_a_closed_pipe_says_where_it_stopped(goals: Path, folder: Path) -> None:
    """When nobody reads the events any more, tracking ends, and one line says how far it got."""
    (folder / "in.jsonl").write_text(lines(*(purchase(f"user:{n}", 20) for n in range(3000))))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started("track", "in.jsonl", "--declare", goals, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        message = only_line(process.stderr.read().decode())
        assert re.fullmatch(r"milepost: nobody reads stdout any more; stopped after line \d+", message)
        assert process.wait(30) == 141


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_streams_are_no_traceback(milepost: Run, goals: Path, closed: str) -> None:
    """stdin, stdout and stderr may be closed by who starts the program."""
    assert milepost("track", "-q", "--declare", goals, input=lines(purchase("user:1", 1))).status == 0
    ran = run_apart(["sh", "-c", f"{shlex.join(PROGRAM)} show user:1 {closed}"])
    assert (ran.status, ran.err) == (0, "")
    assert ("user:1" in ran.out) == (closed != ">&-")


def test_a_full_disk_is_one_line(milepost: Run, program: Run, goals: Path) -> None:
    """What the system refuses to write is said in a line."""
    assert milepost("track", "-q", "--declare", goals, input=lines(purchase("user:1", 1))).status == 0
    with Path("/dev/full").open("w") as full:
        ran = program("groups", stdout=full)
    assert (ran.status, only_line(ran.err)) == (2, "milepost: No space left on device")


def test_help_that_cannot_be_written_is_one_line(program: Run) -> None:
    """``--help`` into a full disk says so, with status 2."""
    with Path("/dev/full").open("w") as full:
        ran = program("--help", stdout=full)
    assert (ran.status, only_line(ran.err)) == (2, "milepost: No space left on device")


def test_a_narrow_encoding_is_no_traceback(milepost: Run, program: Run, goals: Path) -> None:
    """Where stdout takes ASCII only, tables are drawn with it and names are escaped."""
    milepost("track", "-q", "--declare", goals, input=lines(purchase("user:ä", 1)))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    shown = program("show", "user:ä", env=environment)
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.isascii()
    assert program("groups", env=environment).out == "user:\\xe4\n"


def test_the_animated_demo_scrolls_milestones_and_closes_with_the_table(folder: Path) -> None:
    """On a terminal the demo draws as it tracks; at the end stands the table, and the display is gone."""
    terminal = Terminal()
    with started("demo", "--seconds", "0.2", **in_terminal(terminal)) as process:
        text = terminal.read_all()
        assert process.wait(60) == 0
    assert "milestones, the rarest of" in text
    assert re.search(r"customer:\d{4}.*spend.*reached \$1000", text)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor is hidden once and shown again"
    _, closing = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "").split("6919 purchases tracked\n")
    assert_exact(closing)


def test_the_demo_can_be_interrupted_and_goes_on(milepost: Run, folder: Path) -> None:
    """Ctrl-C in the middle: status 130 and a line that says how to go on; going on, nothing counts twice."""
    terminal = Terminal()
    with started("demo", "--seconds", "600", **in_terminal(terminal)) as process:
        terminal.read_until("milestones, the rarest of")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        text = terminal.read_all()
    assert text.rstrip().endswith("stopped; run it again and it goes on from here")
    assert "Traceback" not in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor is shown again"
    ran = milepost("demo", "--fast")
    assert "were there already, known by their event ids, and not counted twice" in ran.out
    assert_exact(ran.out)


def test_track_shows_a_bar_on_a_terminal_and_nothing_of_it_on_stdout(goals: Path, folder: Path) -> None:
    """With stderr on a terminal there is a progress bar; stdout gets the events and nothing else."""
    (folder / "in.jsonl").write_text(lines(*(purchase(f"user:{n}", 20) for n in range(2000))))
    terminal = Terminal()
    settings = {**in_terminal(terminal), "stdout": subprocess.PIPE}
    with started("track", "in.jsonl", "--declare", goals, **settings) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        assert process.wait(60) == 0
        text = terminal.read_all()
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["tracker.stage_completed"] * 2000
    assert "tracking" in text
    assert "2000 lines applied, 2000 events" in text


def test_events_scroll_above_the_bar_where_both_are_one_terminal(goals: Path, folder: Path) -> None:
    """With stdout on the same terminal every event is there, whole."""
    (folder / "in.jsonl").write_text(lines(*(purchase(f"user:{n}", 20) for n in range(50))))
    terminal = Terminal()
    with started("track", "in.jsonl", "--declare", goals, **in_terminal(terminal)) as process:
        text = terminal.read_all()
        assert process.wait(60) == 0
    assert len(re.findall(r'"type":"tracker.stage_completed"', text)) == 50
    assert "50 lines applied, 50 events" in text
