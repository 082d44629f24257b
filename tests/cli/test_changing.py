"""``milepost add``, ``reset`` and ``remove``: changing a group by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import Run, lines, only_line, purchase

CALLS = {
    "kind": "CountTracker",
    "name": "calls",
    "target": [2, 10],
    "limiters": [{"kind": "CountLimiter", "count": 3}],
}


def state(milepost: Run, group: str, name: str) -> dict[str, Any]:
    """Return the state of a tracker, as ``show --json`` has it."""
    (row,) = [row for row in milepost("show", group, "--json").events if row["name"] == name]
    return row


@pytest.fixture
def calls(folder: Path) -> Path:
    """A file with the definition of a tracker that moves three times in each stage."""
    path = folder / "calls.json"
    path.write_text(json.dumps(CALLS))
    return path


def track(milepost: Run, group: str, times: int) -> None:
    assert milepost("track", input=lines(*[{"group": group, "data": {}}] * times)).status == 0


def test_add_gives_a_group_trackers(milepost: Run, calls: Path) -> None:
    """What a file defines is there, makes the database where there was none, and can be tracked."""
    assert milepost("add", "api:1", calls) == (0, "api:1 has 1 tracker: calls\n", "")
    track(milepost, "api:1", 2)
    assert state(milepost, "api:1", "calls")["progress"] == 2


def test_add_overwrites_only_on_request(milepost: Run, calls: Path) -> None:
    """A taken name is an error that names the option; keep keeps the progress, replace begins anew."""
    milepost("add", "api:1", calls)
    track(milepost, "api:1", 2)
    again = milepost("add", "api:1", calls)
    assert again.status == 2
    assert only_line(again.err) == "milepost: group 'api:1' already has a tracker named 'calls'; see --if-exists"
    assert milepost("add", "api:1", calls, "--if-exists", "keep").status == 0
    assert state(milepost, "api:1", "calls")["progress"] == 2
    assert milepost("add", "api:1", calls, "--if-exists", "replace").status == 0
    assert state(milepost, "api:1", "calls")["progress"] == 0


def test_add_can_let_trackers_expire(milepost: Run, calls: Path) -> None:
    """--expire is a number of seconds above 0."""
    milepost("add", "api:1", calls, "--expire", "86400")
    row = state(milepost, "api:1", "calls")
    assert row["expires_at"] == pytest.approx(row["added_at"] + 86400, abs=60)
    for seconds in ("0", "-1", "nan", "inf", "soon"):
        ran = milepost("add", "api:2", calls, f"--expire={seconds}")
        assert ran.status == 2
        assert "--expire" in only_line(ran.err)


def test_reset_does_what_the_policy_says(milepost: Run, calls: Path) -> None:
    """By default the tracker's own policy: the limiters. With progress it returns to its first stage."""
    milepost("add", "api:1", calls)
    track(milepost, "api:1", 5)
    assert state(milepost, "api:1", "calls")["limited"] is True
    assert milepost("reset", "api:1", "calls") == (0, "calls was reset: 5 / 10, stage 2 of 2\n", "")
    assert state(milepost, "api:1", "calls")["limited"] is False
    assert milepost("reset", "api:1", "calls", "--policy", "all").out == "calls was reset: 0 / 2, stage 1 of 2\n"


def test_a_bad_policy_is_one_line(milepost: Run, calls: Path) -> None:
    """The line names what is allowed."""
    milepost("add", "api:1", calls)
    ran = milepost("reset", "api:1", "calls", "--policy", "everything")
    assert ran.status == 2
    assert all(word in only_line(ran.err) for word in ("--policy", "everything", "none", "progress", "limiter", "all"))


def test_remove_takes_one_tracker_or_all(milepost: Run, goals: Path) -> None:
    """With a name one tracker goes, without one the group does."""
    text = lines({"group": "user:1", "data": {"amount": 1, "action": "login"}}, purchase("user:2", 1))
    milepost("track", "--declare", goals, input=text)
    assert milepost("remove", "user:1", "logins") == (0, "removed logins from user:1\n", "")
    assert [row["name"] for row in milepost("show", "user:1", "--json").events] == ["spend"]
    assert milepost("remove", "user:1") == (0, "removed all trackers from user:1\n", "")
    assert milepost("groups").out == "user:2\n"


def test_a_declared_tracker_stays_away_when_its_declaration_is_named(milepost: Run, goals: Path) -> None:
    """Removed with --declare it does not begin anew; without, the next datum starts it again."""
    text = lines(purchase("user:1", 1), purchase("user:2", 1))
    milepost("track", "--declare", goals, input=text)
    milepost("remove", "user:1", "spend", "--declare", goals)
    milepost("remove", "user:2", "spend")
    milepost("track", "--declare", goals, input=text)
    assert milepost("show", "user:1").status == 2
    assert state(milepost, "user:2", "spend")["progress"] == {"$decimal": "1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reset", "api:1", "nothing"], "group 'api:1' has no tracker named 'nothing' in milepost.db"),
        (["reset", "api:2", "calls"], "group 'api:2' has no tracker named 'calls' in milepost.db"),
        (["remove", "api:1", "nothing"], "group 'api:1' has no tracker named 'nothing' in milepost.db"),
        (["remove", "api:2"], "there is no group 'api:2' in milepost.db"),
        (["add", "api:1", "missing.json"], "cannot read missing.json: No such file or directory"),
        (["add", "api:1"], "Missing argument"),
    ],
)
def test_what_is_not_there_is_one_line(milepost: Run, calls: Path, arguments: list[str], message: str) -> None:
    """Unknown groups, trackers and files end with status 2 and a line that names them."""
    milepost("add", "api:1", calls)
    ran = milepost(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert message in only_line(ran.err)
