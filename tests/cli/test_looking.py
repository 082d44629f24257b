"""``milepost show``, ``groups`` and ``explain``: looking into a database."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.program import Run, lines, only_line, purchase

LIMITED = [
    {
        "kind": "CountTracker",
        "name": "calls",
        "target": 100,
        "limiters": [{"kind": "CountLimiter", "count": 2}, {"kind": "TimeLimiter", "end_ts": 4102444800.0}],
    },
    {"kind": "CountTracker", "name": "rounds", "target": 2, "loop_forever": True},
    {"kind": "CountTracker", "name": "once", "target": 1},
]


@pytest.fixture
def tracked(milepost: Run, goals: Path, folder: Path) -> None:
    """A database in which user:1 has spent 12.50, and api:1 has been called five times."""
    (folder / "limited.json").write_text(json.dumps({"api:*": LIMITED}))
    calls = [{"group": "api:1", "data": {}, "time": 1_740_000_000}] * 5
    text = lines(purchase("user:1", 12.5), *calls)
    assert milepost("track", "--declare", goals, "--declare", "limited.json", input=text).status == 0


@pytest.mark.usefixtures("tracked")
def test_show_has_a_row_for_every_tracker(milepost: Run) -> None:
    """Progress, target and stage are in the table, with a bar; what has not moved has no row."""
    ran = milepost("show", "user:1")
    assert ran.status == 0
    assert ran.out.splitlines()[0] == "user:1"
    (row,) = [line for line in ran.out.splitlines() if line.startswith("spend")]
    assert row.split("━" * 2)[0].strip() == "spend"
    assert "12.5 / 100" in row
    assert "2 of 2" in row
    assert "logins" not in ran.out


@pytest.mark.usefixtures("tracked")
def test_show_tells_what_limits_a_tracker_and_what_it_has_finished(milepost: Run) -> None:
    """Flags say completed, limited and how many cycles are done; limiters say what is left."""
    text = " ".join(milepost("show", "api:1").out.split())
    assert "2 / 100 1 of 1 limited 0 of 2 moves left open until 2100-01-01" in text
    assert "1 / 2 1 of 1 2 cycles done" in text
    assert "1 / 1 1 of 1 completed 2025-02-19" in text


@pytest.mark.usefixtures("tracked")
def test_show_knows_declared_trackers_when_told(milepost: Run, goals: Path) -> None:
    """With --declare, trackers that have not moved are shown at their start."""
    ran = milepost("show", "user:99", "--declare", goals)
    assert "0 / 10" in ran.out
    assert "0 / 2" in ran.out


@pytest.mark.usefixtures("tracked")
def test_show_json_is_a_line_for_every_tracker(milepost: Run) -> None:
    """Programs get the state that events carry."""
    (row,) = milepost("show", "user:1", "--json").events
    assert (row["group"], row["name"], row["progress"], row["current_stage"]) == (
        "user:1",
        "spend",
        {"$decimal": "12.5"},
        2,
    )


@pytest.mark.usefixtures("tracked")
def test_groups_lists_ids_a_line_each(milepost: Run) -> None:
    """All of them in order, or those that match a pattern; none is worth a word on stderr and no error."""
    assert milepost("groups") == (0, "api:1\nuser:1\n", "")
    assert milepost("groups", "user:*") == (0, "user:1\n", "")
    assert milepost("groups", "x*") == (0, "", "no group matches 'x*' in milepost.db\n")


@pytest.mark.usefixtures("tracked")
def test_explain_says_what_would_happen_and_what_says_no(milepost: Run, goals: Path) -> None:
    """Per tracker: the outcome, progress before and after, the condition that refuses, events to come."""
    out = milepost("explain", "user:1", '{"amount": 90, "action": "logout"}', "--declare", goals).out
    text = " ".join(out.split())
    assert "spend moved 12.5 → 102.5 ! tracker.all_completed" in text
    assert "logins unmatched 0 ✗ KeyValueEQ(key='action', value='login')" in text
    limited = " ".join(milepost("explain", "api:1", "{}").out.split())
    assert "calls limited 2 ✗ CountLimiter(count=2" in limited
    assert "once already completed 1 the last target was reached" in limited


@pytest.mark.usefixtures("tracked")
def test_explain_changes_nothing(milepost: Run) -> None:
    """What would happen does not happen."""
    before = milepost("show", "user:1", "--json").out
    assert milepost("explain", "user:1", '{"amount": 90}').status == 0
    assert milepost("show", "user:1", "--json").out == before


@pytest.mark.usefixtures("tracked")
def test_explain_json_is_the_explanation(milepost: Run) -> None:
    """Programs get it as JSON."""
    (explanation,) = milepost("explain", "user:1", '{"amount": "x"}', "--json").events
    (tracker,) = explanation["trackers"]
    assert (tracker["name"], tracker["outcome"]) == ("spend", "rejected")
    assert tracker["reason"] == "the text 'x' is not a number"


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "user:2"], "there is no group 'user:2' in milepost.db"),
        (["explain", "user:2", "{}"], "group 'user:2' has no trackers in milepost.db"),
        (["explain", "user:1", "{"], "the datum is not JSON"),
        (["explain", "user:1", '{"a": "\udcff"}'], "the datum is not JSON"),
        (["explain", "user:1", "[1]"], "the datum must be a JSON object, got [1]"),
        (["explain", "user:1", '{"amount": NaN}'], "the datum is not JSON"),
        (["show", ""], "must not be empty"),
        (["show", "\udcff"], "must be valid Unicode text"),
        (["groups", "\udcff"], "must be valid Unicode text"),
    ],
)
def test_what_cannot_be_shown_is_one_line(milepost: Run, arguments: list[str], message: str) -> None:
    """Unknown groups, bad JSON and bad names end with status 2 and a line on stderr."""
    ran = milepost(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert message in only_line(ran.err)


@pytest.mark.parametrize(
    "arguments",
    [["show", "g"], ["groups"], ["explain", "g", "{}"], ["reset", "g", "t"], ["remove", "g"]],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize("database", ["none.db", "sqlite:///none.db"])
def test_looking_makes_no_database(milepost: Run, folder: Path, arguments: list[str], database: str) -> None:
    """A database that is not there is named, and is not there afterwards either."""
    ran = milepost(*arguments, "--database", database)
    assert (ran.status, ran.out) == (2, "")
    assert "there is no database none.db" in only_line(ran.err)
    assert list(folder.iterdir()) == []


def test_what_is_no_database_of_milepost_is_refused(milepost: Run, folder: Path) -> None:
    """Other files, other programs' databases, folders and unknown URLs are one line each, and stay as they are."""
    (folder / "letter.txt").write_text("Dear database, " * 100)
    with sqlite3.connect(folder / "theirs.db") as theirs:
        theirs.execute("CREATE TABLE t (a)")
    theirs.close()
    for name, message in {
        "letter.txt": "file is not a database",
        "theirs.db": "not one of milepost's",
        str(folder): "Is a directory",
        "http://host/x": "store_url must begin with",
        "sqlite://x": "a SQLite URL reads",
        "no/such/folder/x.db": "does not exist",
    }.items():
        for arguments in (["groups"], ["track"], ["demo", "--fast"]):
            ran = milepost(*arguments, "--database", name, input="")
            assert ran.status == 2, name
            assert message in only_line(ran.err) or "there is no database" in ran.err
    assert (folder / "letter.txt").read_text() == "Dear database, " * 100


def test_the_environment_names_a_database(milepost: Run, goals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MILEPOST_DATABASE is used where --database is not given."""
    monkeypatch.setenv("MILEPOST_DATABASE", "environment.db")
    assert milepost("track", "--declare", goals, input=lines(purchase("user:1", 1))).status == 0
    assert milepost("groups") == (0, "user:1\n", "")
    assert milepost("groups", "--database", "environment.db").out == "user:1\n"


def test_names_from_outside_cannot_write_to_the_terminal(milepost: Run, folder: Path) -> None:
    """Control characters in groups and trackers are shown as escapes, on one line."""
    evil = "\x1b[31mred\nnext\x07"
    (folder / "evil.json").write_text(json.dumps({"kind": "CountTracker", "name": evil, "target": 2}))
    milepost("track", "--declare", "evil.json", input=lines({"group": evil, "data": {}}))
    assert milepost("groups").out == "\\x1b[31mred\\nnext\\x07\n"
    for ran in (milepost("show", evil), milepost("explain", evil, "{}"), milepost("reset", evil, evil)):
        assert ran.status == 0
        assert "\x1b" not in ran.out
        assert "\\x1b[31mred\\nnext\\x07" in ran.out
    assert "\x1b" not in milepost("show", "other" + evil).err
