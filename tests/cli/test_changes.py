"""``milepost changes``: logs of tracked containers, shown, filtered and followed."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from milepost.changes import TrackedDict, json_file_observer, tracking_actor
from tests.cli.program import PROGRAM, Run, only_line


@pytest.fixture
def log(folder: Path) -> Path:
    """A log of five entries, by two actors, the last one a batch."""
    path = folder / "changes.jsonl"
    cart: TrackedDict[str, Any] = TrackedDict({"items": []}, tracking_name="cart", tracking_auto_convert=True)
    cart.tracking_add_observer(json_file_observer(path))
    with tracking_actor("ada"):
        cart["items"].append({"name": "bread", "price": 2})
        cart["items"][0]["price"] = 3
    with tracking_actor("ben"):
        cart["odd key"] = "a\x1b[31mred"
        del cart["odd key"]
        with cart.batch():
            cart["total"] = 3
            cart["items"].clear()
    return path


def test_show_is_a_line_for_every_change(milepost: Run, log: Path) -> None:
    """A line says who changed which container where, from what to what; control characters are written out."""
    ran = milepost("changes", "show", log)
    assert (ran.status, ran.err) == (0, "")
    assert [line.split(" ", 2)[2] if line[0] == "2" else line for line in ran.out.splitlines()] == [
        'ada TrackedList items[0] add {"name": "bread", "price": 2}',
        "ada TrackedDict items[0].price update 2 → 3",
        'ben cart ["odd key"] add "a\\u001b[31mred"',
        'ben cart ["odd key"] remove "a\\u001b[31mred"',
        "ben cart batch of 2 changes",
        "    cart total add 3",
        '    TrackedList items clear [{"name": "bread", "price": 3}] → []',
    ]


@pytest.mark.parametrize(
    ("options", "actions"),
    [
        (["--actor", "ada"], ["add", "update"]),
        (["--action", "remove", "--action", "update"], ["update", "remove"]),
        (["--path", "items"], ["add", "update", "batch"]),
        (["--path", "items[0]"], ["add", "update"]),
        (["--path", "item"], []),
        (["--container", "cart"], ["add", "remove", "batch"]),
        (["--container", "cart", "--actor", "ada"], []),
        (["--since", (datetime.now(UTC) + timedelta(days=1)).isoformat()], []),
        (["--since", "2020-01-01"], ["add", "update", "add", "remove", "batch"]),
    ],
)
def test_filters_narrow_down(milepost: Run, log: Path, options: list[str], actions: list[str]) -> None:
    """Only entries that match every filter are shown; a batch is where one of its changes does."""
    ran = milepost("changes", "show", log, "--json", *options)
    assert [entry["action"] for entry in ran.events] == actions
    assert ran.status == 0


def test_several_files_and_stdin(milepost: Run, log: Path) -> None:
    """Logs can be given one after another, or on stdin."""
    assert len(milepost("changes", "show", log, log, "--json").events) == 10
    assert len(milepost("changes", "show", "--json", input=log.read_bytes()).events) == 5


def test_what_is_no_entry_is_counted(milepost: Run, log: Path) -> None:
    """Half a line, or another program's, is passed over; how many there were is said at the end, with status 2."""
    log.write_bytes(log.read_bytes() + b'{"action": "add"}\n[1]\n\n{"time": "20')
    ran = milepost("changes", "show", log)
    assert ran.status == 2
    assert only_line(ran.err) == "milepost: 3 lines are no entry of a change log"
    assert len(ran.out.splitlines()) == 7
    ran = milepost("changes", "show", "nowhere.jsonl")
    assert (ran.status, only_line(ran.err)) == (2, "milepost: cannot read nowhere.jsonl: No such file or directory")
    ran = milepost("changes", "show", log, "--since", "soon")
    assert (ran.status, "--since must be a date and time, got 'soon'" in only_line(ran.err)) == (2, True)


def test_details_show_ids_and_snapshots(milepost: Run, folder: Path) -> None:
    """With --details there are the entry's id, the snapshot and the stack."""
    tracked: TrackedDict[str, int] = TrackedDict(tracking_capture_snapshots=True, tracking_capture_stack=True)
    tracked.tracking_add_observer(json_file_observer(folder / "log.jsonl"))
    tracked["a"] = 1
    entry = tracked.tracking_changes()[0]
    out = milepost("changes", "show", "log.jsonl", "--details").out
    assert f"entry {entry.id} of container {entry.container_id}" in out
    assert 'then: {"a": 1}' in out
    assert "in test_details_show_ids_and_snapshots" in out


def test_tail_shows_the_last_lines(milepost: Run, log: Path) -> None:
    """``tail -n 2`` shows the last two."""
    assert [entry["action"] for entry in milepost("changes", "tail", log, "-n", "2", "--json").events] == [
        "remove",
        "batch",
    ]
    assert len(milepost("changes", "tail", log, "--json").events) == 5


def test_tail_follows_a_log_through_a_rotation(log: Path) -> None:
    """``tail --follow`` shows what is added, also to the new file after a rotation, until Ctrl-C."""
    running = subprocess.Popen(
        [*PROGRAM, "changes", "tail", str(log), "-n", "1", "--follow", "--json"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout is not None
        assert json.loads(running.stdout.readline())["action"] == "batch"
        tracked: TrackedDict[str, int] = TrackedDict()
        tracked.tracking_add_observer(json_file_observer(log))
        tracked["before"] = 1
        assert json.loads(running.stdout.readline())["location"] == "before"
        log.rename(log.with_suffix(".1"))
        tracked["after"] = 1
        assert json.loads(running.stdout.readline())["location"] == "after"
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 130
    finally:
        running.kill()
        running.communicate()


def test_demo_prints_the_entry_of_a_change(milepost: Run) -> None:
    """The demo makes a change by an actor and prints its entry, for people or as JSON."""
    ran = milepost("changes", "demo")
    assert ran.status == 0
    assert 'provisioner demo status add "ready"' in ran.out
    (entry,) = milepost("changes", "demo", "--json").events
    assert (entry["action"], entry["location"], entry["new"], entry["actor"]) == (
        "add", "status", "ready", "provisioner",
    )  # fmt: skip


def test_the_group_says_what_there_is(milepost: Run) -> None:
    """``milepost changes`` alone names its commands, and is no error."""
    ran = milepost("changes")
    assert (ran.status, ran.err) == (0, "")
    assert {"show", "tail", "demo"} <= set(ran.out.split())
    assert "milepost changes demo" in ran.out
