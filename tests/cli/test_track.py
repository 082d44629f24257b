"""``milepost track``: lines in, progress into a database, events out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import Run, kinds, lines, only_line, purchase


def progress(milepost: Run, group: str) -> dict[str, Any]:
    """Return the progress of a group's trackers by name."""
    ran = milepost("show", group, "--json")
    return {row["name"]: row["progress"] for row in ran.events}


def test_lines_move_declared_trackers_and_events_come_out_as_json_lines(milepost: Run, goals: Path) -> None:
    """Each milestone is a CloudEvent on stdout, in the order in which they were reached; progress is in the file."""
    login = {"group": "user:1", "data": {"action": "login"}}
    text = lines(login, purchase("user:2", 4), login, purchase("user:2", 6.5), purchase("user:2", 100))
    ran = milepost("track", "--declare", goals, input=text)
    assert ran.status == 0
    assert sorted(kinds(ran.events)) == [
        ("user:1", "logins", "tracker.stage_completed"),
        ("user:2", "spend", "tracker.all_completed"),
        ("user:2", "spend", "tracker.stage_completed"),
    ]
    assert {event["specversion"] for event in ran.events} == {"1.0"}
    assert progress(milepost, "user:1") == {"logins": 2}
    assert progress(milepost, "user:2") == {"spend": {"$decimal": "110.5"}}
    assert only_line(ran.err) == "5 lines applied, 3 events"


@pytest.mark.parametrize("arguments", [["events.jsonl"], ["-"], []], ids=["file", "dash", "nothing"])
def test_lines_come_from_a_file_or_from_stdin(milepost: Run, folder: Path, arguments: list[str]) -> None:
    """A file is named; without one, or with -, it is stdin."""
    text = lines(purchase("user:1", 1))
    (folder / "events.jsonl").write_text(text)
    ran = milepost("track", *arguments, input=None if arguments == ["events.jsonl"] else text)
    assert (ran.status, only_line(ran.err)) == (0, "1 line applied, 0 events, 1 moved nothing")


def test_an_event_id_counts_once(milepost: Run, goals: Path) -> None:
    """The same file tracked twice is counted once, announces nothing the second time, and says so."""
    text = lines(*(purchase("user:1", 6, event_id=f"order-{n}") for n in range(3)))
    first = milepost("track", "--declare", goals, input=text)
    second = milepost("track", "--declare", goals, input=text)
    assert len(first.events) == 1
    assert (second.status, second.out) == (0, "")
    assert only_line(second.err) == "0 lines applied, 0 events, 3 known before by their event ids"
    assert progress(milepost, "user:1") == {"spend": {"$decimal": "18"}}


def test_flat_lines_say_where_group_id_and_time_are(milepost: Run, goals: Path) -> None:
    """With --group-key the line is the datum; keys are dotted paths, whole numbers are ids too."""
    text = lines(
        {"user": {"id": 7}, "amount": 4, "id": 1, "at": "1997-01-01T00:00:00Z"},
        {"user": {"id": 7}, "amount": 9, "id": 2, "at": 852163200},
        {"user": {"id": 7}, "amount": 9, "id": 2, "at": 852163200},
    )
    keys = ["--group-key", "user.id", "--group-prefix", "user:", "--id-key", "id", "--time-key", "at"]
    ran = milepost("track", "--declare", goals, *keys, input=text)
    (event,) = ran.events
    assert (event["subject"], event["time"]) == ("user:7", "1997-01-02T00:00:00+00:00")
    assert progress(milepost, "user:7") == {"spend": {"$decimal": "13"}}


def test_keys_of_flat_lines_need_a_group_key(milepost: Run) -> None:
    """--id-key without --group-key would be ignored, so it is refused."""
    ran = milepost("track", "--id-key", "id", input="")
    assert ran.status == 2
    assert "give --group-key too" in only_line(ran.err)


BAD = {
    "no JSON": ("{", "not JSON: EOF while parsing an object at column 1"),
    "no object": ("[1]", "not a JSON object: [1]"),
    "NaN": ('{"group": "a", "data": {"amount": NaN}}', "not JSON: expected value"),
    "no group": ('{"data": {}}', "has no group"),
    "empty group": ('{"group": "", "data": {}}', "group must not be empty"),
    "group of a wrong type": ('{"group": true, "data": {}}', "group must be text or a whole number, got true"),
    "no data": ('{"group": "a"}', "has no data"),
    "data of a wrong type": ('{"group": "a", "data": [1]}', "data must be an object, got [1]"),
    "misspelt key": ('{"group": "a", "data": {}, "eventid": "1"}', "unknown key 'eventid'"),
    "event id of a wrong type": ('{"group": "a", "data": {}, "event_id": 1.5}', "event_id must be text"),
    "time without a zone": ('{"group": "a", "data": {}, "time": "2025-03-01"}', "with a UTC offset"),
    "time beyond all calendars": ('{"group": "a", "data": {}, "time": 1e300}', "time must be epoch seconds"),
    "not text": (b"\xff\xfe", "not JSON"),
    "too deep": ("[" * 100_000, "not JSON: recursion limit exceeded"),
}


@pytest.mark.parametrize(("line", "message"), BAD.values(), ids=list(BAD))
def test_a_bad_line_ends_it(milepost: Run, goals: Path, line: str | bytes, message: str) -> None:
    """Status 2 and one line that says where and why; what stands before it is applied, nothing after it is."""
    good = lines(purchase("user:1", 20)).encode()
    text = good + b"\n" + (line if isinstance(line, bytes) else line.encode()) + b"\n" + good
    ran = milepost("track", "--declare", goals, input=text)
    assert ran.status == 2
    assert only_line(ran.err).startswith("milepost: line 3: ")
    assert message in ran.err
    assert ran.err.endswith("; the line before it applied, nothing after it\n")
    assert kinds(ran.events) == [("user:1", "spend", "tracker.stage_completed")]
    assert progress(milepost, "user:1") == {"spend": {"$decimal": "20"}}


def test_skip_bad_reports_and_goes_on(milepost: Run, goals: Path) -> None:
    """With --skip-bad every bad line is a line on stderr, the others are applied, and the status is 0."""
    good = lines(purchase("user:1", 20))
    ran = milepost("track", "--declare", goals, "--skip-bad", input=good + "{\n" + good + "[]\n" + good)
    assert ran.status == 0
    first, second, summary = ran.err.splitlines()
    assert first.startswith("milepost: line 2: not JSON")
    assert second == "milepost: line 4: not a JSON object: []; skipped"
    assert summary == "3 lines applied, 1 event, 2 skipped"
    assert progress(milepost, "user:1") == {"spend": {"$decimal": "60"}}


def test_blank_lines_a_mark_and_foreign_line_ends_are_nothing(milepost: Run, goals: Path) -> None:
    """A byte order mark, blank lines, CRLF and a missing last line end do not matter."""
    line = lines(purchase("user:1", 1)).encode()
    text = b"\xef\xbb\xbf" + line + b"\n \r\n" + line.replace(b"\n", b"\r\n") + line.rstrip()
    ran = milepost("track", "--declare", goals, input=text)
    assert only_line(ran.err) == "3 lines applied, 0 events"


def test_what_moves_nothing_and_what_is_rejected_is_counted(milepost: Run, goals: Path) -> None:
    """The summary says how many lines met no tracker, and which tracker could not take which first line."""
    text = lines(purchase("other:1", 1), purchase("user:1", 1), purchase("user:1", "x"), purchase("user:1", True))
    ran = milepost("track", "--declare", goals, input=text)
    assert ran.status == 0
    assert only_line(ran.err) == (
        "4 lines applied, 0 events, 1 moved nothing, "
        "2 rejected by a tracker (first: line 3, tracker 'spend': the text 'x' is not a number)"
    )


def test_quiet_says_nothing(milepost: Run, goals: Path) -> None:
    """With --quiet there is no summary; events come all the same."""
    ran = milepost("track", "--quiet", "--declare", goals, input=lines(purchase("user:1", 20)))
    assert (ran.status, ran.err, len(ran.events)) == (0, "", 1)


def test_a_store_url_works_as_a_database(milepost: Run, goals: Path, folder: Path) -> None:
    """memory:// makes a filter of it: events out, nothing kept. sqlite:/// names a file."""
    text = lines(purchase("user:1", 20))
    assert len(milepost("track", "-d", "memory://", "--declare", goals, input=text).events) == 1
    assert [path.name for path in folder.iterdir()] == ["goals.json"]
    assert len(milepost("track", "-d", "sqlite:///by-url.db", "--declare", goals, input=text).events) == 1
    assert (folder / "by-url.db").exists()


DECLARATIONS = {
    "one": ({"kind": "CountTracker", "name": "n", "target": 1}, {"a", "b"}),
    "a list": ([{"kind": "CountTracker", "name": "n", "target": 1}], {"a", "b"}),
    "patterns": ({"a*": [{"kind": "CountTracker", "name": "n", "target": 1}]}, {"a"}),
    "a pattern with one": ({"b": {"kind": "CountTracker", "name": "n", "target": 1}}, {"b"}),
}


@pytest.mark.parametrize(("declaration", "groups"), DECLARATIONS.values(), ids=list(DECLARATIONS))
def test_declarations_are_for_a_pattern_or_for_all(
    milepost: Run, folder: Path, declaration: Any, groups: set[str]
) -> None:
    """A file holds definitions by pattern, or a definition or a list of them for every group."""
    (folder / "d.json").write_text(json.dumps(declaration))
    ran = milepost("track", "--declare", "d.json", input=lines(*({"group": g, "data": {}} for g in "ab")))
    assert {event["subject"] for event in ran.events} == groups


BAD_DEFINITIONS = {
    "no JSON": ("{", "bad.json is not JSON: EOF while parsing"),
    "nothing": ("[]", "bad.json holds no tracker definition"),
    "no patterns": ("{}", "bad.json declares nothing"),
    "no definition": ("3", "a tracker definition is an object with a kind"),
    "unknown kind": ('[{"kind": "Unheard"}]', "nothing is registered under the kind 'Unheard'; --import names"),
    "a condition": ('[{"kind": "KeyExists", "key": "a"}]', "nothing is registered under the kind 'KeyExists'"),
    "no name": ('[{"kind": "CountTracker", "target": 1}]', "CountTracker.name is required"),
    "no target": ('[{"kind": "CountTracker", "name": "n", "target": []}]', "CountTracker.target must hold"),
    "no such field": ('[{"kind": "CountTracker", "name": "n", "target": 1, "tarpit": 1}]', "no field 'tarpit'"),
    "falling targets": ('[{"kind": "CountTracker", "name": "n", "target": [2, 1]}]', "target must increase"),
    "bad attributes": ('[{"kind": "CountTracker", "name": "n", "target": 1, "attributes": 1}]', "bad.json: "),
    "one name twice": ("[{0}, {0}]".replace("{0}", '{"kind": "CountTracker", "name": "n", "target": 1}'), "'n'"),
}


@pytest.mark.parametrize(("text", "message"), BAD_DEFINITIONS.values(), ids=list(BAD_DEFINITIONS))
def test_a_definition_that_cannot_be_used_is_named(milepost: Run, folder: Path, text: str, message: str) -> None:
    """One line names the file and what is wrong, before anything is tracked."""
    (folder / "bad.json").write_text(text)
    ran = milepost("track", "--declare", "bad.json", input=lines(purchase("user:1", 1)))
    assert (ran.status, ran.out) == (2, "")
    assert message in only_line(ran.err)
    assert not (folder / "milepost.db").exists()


CUSTOM = """
from milepost import BaseCondition

class Even(BaseCondition, kind="cli_test.even"):
    def __init__(self, key):
        self._key = key

    def check(self, data, *args, **kwargs):
        return data[self._key] % 2 == 0
"""


def test_kinds_of_ones_own_are_imported_by_module(program: Run, folder: Path) -> None:
    """--import makes a module's kinds known, from the current directory; without it one line says what to do."""
    (folder / "even_rule.py").write_text(CUSTOM)
    condition = {"kind": "cli_test.even", "attributes": {"_key": "n"}}
    definition = {"kind": "CountTracker", "name": "evens", "target": 2, "conditions": [condition]}
    (folder / "even.json").write_text(json.dumps(definition))
    text = lines(*({"group": "g", "data": {"n": n}} for n in range(3)))
    ran = program("track", "--declare", "even.json", "--import", "even_rule", input=text)
    assert kinds(ran.events) == [("g", "evens", "tracker.all_completed")]
    assert "evens" in program("show", "g", "--import", "even_rule").out
    without = program("show", "g")
    assert without.status == 2
    assert "'cli_test.even', which is not registered here; --import names" in only_line(without.err)
    missing = program("show", "g", "--import", "no_such_module")
    assert (missing.status, "cannot import 'no_such_module'" in only_line(missing.err)) == (2, True)


def test_input_that_is_not_there_is_one_line(milepost: Run, folder: Path) -> None:
    """A file that is missing or a folder is named, with status 2, and no database is made."""
    for name in ("missing.jsonl", "."):
        ran = milepost("track", name)
        assert ran.status == 2
        assert only_line(ran.err).startswith(f"milepost: cannot read {name}: ")
    assert list(folder.iterdir()) == []
