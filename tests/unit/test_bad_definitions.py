"""Wrong definitions raise when they are made, with a message that says what was wrong and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pymongo import MongoClient

from milepost import (
    AccumulationTracker,
    BaseCondition,
    BaseLimiter,
    BaseTracker,
    CountLimiter,
    CountTracker,
    InvalidDefinition,
    KeyExists,
    KeyValueComparison,
    KeyValueContained,
    KeyValueEQ,
    KeyValueInList,
    MemoryDataCache,
    MongoDBDataStore,
    ResetPolicy,
    SQLiteDataStore,
    TimeLimiter,
    TrackingManager,
    UnknownKindError,
)
from milepost._kinds import load_definition

Make = Callable[[], object]
NAN, INF = float("nan"), float("inf")

TRACKERS: list[tuple[Make, str]] = [
    (lambda: CountTracker(name=3, target=1), r"CountTracker\.name must be a string, got 3"),
    (lambda: CountTracker(name="", target=1), r"name must not be empty"),
    (lambda: CountTracker(name="\ud800", target=1), r"name must be valid Unicode"),
    (lambda: CountTracker(name="t"), r"CountTracker\.target is required"),
    (lambda: CountTracker(target=1), r"CountTracker\.name is required"),
    (lambda: CountTracker("t", []), r"target must hold at least one number, got an empty list"),
    (lambda: CountTracker("t", 0), r"target must be greater than 0, got 0"),
    (lambda: CountTracker("t", -5), r"target must be greater than 0, got -5"),
    (lambda: CountTracker("t", [1, -5]), r"target must be greater than 0, got -5"),
    (lambda: CountTracker("t", "10"), r"target must be a number or a list of numbers, got '10'"),
    (lambda: CountTracker("t", True), r"target must be a number or a list of numbers, got True"),
    (lambda: CountTracker("t", None), r"target must be a number or a list of numbers, got None"),
    (lambda: CountTracker("t", ["a"]), r"target must be a number"),
    (lambda: CountTracker("t", {"a": 1}), r"target must be a number"),
    (lambda: CountTracker("t", NAN), r"target must be finite"),
    (lambda: CountTracker("t", INF), r"target must be finite"),
    (lambda: CountTracker("t", Decimal("NaN")), r"target must be finite"),
    (lambda: CountTracker("t", 2**63), r"target must be finite and fit into 64 bits"),
    (lambda: CountTracker("t", 10**400), r"target must be finite and fit into 64 bits"),
    (lambda: CountTracker("t", [5, 3]), r"target must increase .* got 3 after 5"),
    (lambda: CountTracker("t", [5, 5]), r"target must increase .* got 5 after 5"),
    (lambda: CountTracker("t", 5, init_progress="1"), r"init_progress must be a number, got '1'"),
    (lambda: CountTracker("t", 5, init_progress=True), r"init_progress must be a number, got True"),
    (lambda: CountTracker("t", 5, init_progress=NAN), r"init_progress must be finite"),
    (lambda: CountTracker("t", 5, init_progress=10**400), r"init_progress must be finite"),
    (
        lambda: CountTracker("t", 5, init_progress=5, loop_forever=True),
        r"init_progress must lie below the first target",
    ),
    (
        lambda: CountTracker("t", 5, reset_policy=9),
        r"reset_policy must be a ResetPolicy \(NONE, PROGRESS, LIMITER, ALL\)",
    ),
    (lambda: CountTracker("t", 5, reset_policy="all"), r"reset_policy must be a ResetPolicy"),
    (lambda: CountTracker("t", 5, loop_forever="yes"), r"loop_forever must be True or False, got 'yes'"),
    (lambda: CountTracker("t", 5, on_completed="stay"), r"on_completed must be 'keep' or 'remove', got 'stay'"),
    (lambda: CountTracker("t", 5, group_id=5), r"group_id must be a string, got 5"),
    (lambda: CountTracker("t", 5, conditions=KeyExists("k")), r"conditions must be a list of BaseCondition"),
    (lambda: CountTracker("t", 5, conditions=[CountLimiter(1)]), r"conditions must hold BaseCondition objects only"),
    (lambda: CountTracker("t", 5, conditions="abc"), r"conditions must be a list of BaseCondition"),
    (lambda: CountTracker("t", 5, limiters=[KeyExists("k")]), r"limiters must hold BaseLimiter objects only"),
    (lambda: CountTracker("t", 5, limiters=CountLimiter(1)), r"limiters must be a list of BaseLimiter"),
    (lambda: CountTracker("t", 5, goal=6), r"CountTracker has no field 'goal'; its fields are name, target"),
    (lambda: AccumulationTracker("t", 5, key=3), r"AccumulationTracker\.key must be a string, got 3"),
    (lambda: AccumulationTracker("t", 5, exact=1), r"exact must be True or False, got 1"),
]

CONDITIONS: list[tuple[Make, str]] = [
    (lambda: KeyExists(3), r"^KeyExists\.key must be a string, got 3$"),
    (lambda: KeyExists(None), r"KeyExists\.key must be a string, got None"),
    (KeyExists, r"KeyExists\.key is required"),
    (lambda: KeyExists("\ud800"), r"KeyExists\.key must be valid Unicode"),
    (lambda: KeyValueEQ("k"), r"KeyValueEQ\.value is required"),
    (lambda: KeyValueEQ("k", NAN), r"KeyValueEQ\.value must be .*finite number, got nan"),
    (lambda: KeyValueEQ("k", lambda: 0), r"KeyValueEQ\.value must be .*callable"),
    (lambda: KeyValueEQ("k", b"x"), r"KeyValueEQ\.value must be .*bytes"),
    (lambda: KeyValueEQ("k", object()), r"KeyValueEQ\.value must be .*object"),
    (lambda: KeyValueEQ("k", 2**64), r"KeyValueEQ\.value must be .*64 bits"),
    (lambda: KeyValueEQ("k", {1: 2}), r"KeyValueEQ\.value must be .*text keys"),
    (lambda: KeyValueEQ("k", [[b"x"]]), r"KeyValueEQ\.value must be .*bytes"),
    (lambda: KeyValueInList("k", "abc"), r"KeyValueInList\.value must be a list of values, got 'abc'"),
    (lambda: KeyValueInList("k", 5), r"KeyValueInList\.value must be a list of values, got 5"),
    (lambda: KeyValueInList("k", [NAN]), r"KeyValueInList\.value must be .*finite"),
    (lambda: KeyValueContained("k", 5), r"KeyValueContained\.value must be a string, got 5"),
    (lambda: KeyValueContained("k", "x", case_sensitive="no"), r"case_sensitive must be True or False"),
    (lambda: KeyValueComparison("k", 5, "=<"), r"op must be one of ==, !=, >, >=, <, <= .*got '=<'"),
    (lambda: KeyExists("a", "b"), r"KeyExists takes 1 values, got 2"),
    (lambda: KeyExists("a", key="b"), r"KeyExists\.key is given twice"),
]

LIMITERS: list[tuple[Make, str]] = [
    (lambda: CountLimiter(0), r"CountLimiter\.count must be a whole number greater than 0, got 0"),
    (lambda: CountLimiter(-1), r"CountLimiter\.count must be a whole number greater than 0, got -1"),
    (lambda: CountLimiter(1.5), r"CountLimiter\.count must be a whole number greater than 0, got 1.5"),
    (lambda: CountLimiter("5"), r"CountLimiter\.count must be a whole number greater than 0, got '5'"),
    (lambda: CountLimiter(True), r"CountLimiter\.count must be a whole number greater than 0, got True"),
    (lambda: CountLimiter(2**63), r"CountLimiter\.count must be"),
    (CountLimiter, r"CountLimiter\.count is required"),
    (TimeLimiter, r"exactly one of seconds, interval and end_ts, got none"),
    (lambda: TimeLimiter(seconds=1, end_ts=5), r"exactly one of seconds, interval and end_ts, got seconds and end_ts"),
    (lambda: TimeLimiter(seconds=0), r"TimeLimiter\.seconds must be a number of seconds greater than 0, got 0"),
    (lambda: TimeLimiter(seconds=-1), r"seconds must be a number of seconds greater than 0, got -1"),
    (lambda: TimeLimiter(seconds="60"), r"seconds must be a number of seconds greater than 0, got '60'"),
    (lambda: TimeLimiter(seconds=NAN), r"seconds must be a number of seconds greater than 0"),
    (lambda: TimeLimiter(seconds=10**400), r"seconds must be"),
    (lambda: TimeLimiter(interval=60), r"TimeLimiter\.interval must be a timedelta, got 60"),
    (lambda: TimeLimiter(interval=timedelta(0)), r"TimeLimiter\.interval must be longer than 0"),
    (lambda: TimeLimiter(end_ts="now"), r"TimeLimiter\.end_ts must be epoch seconds or an aware datetime, got 'now'"),
    (lambda: TimeLimiter(end_ts=datetime(2026, 1, 1)), r"end_ts must be .* aware datetime"),  # noqa: DTZ001
    (lambda: TimeLimiter(end_ts=INF), r"end_ts must be"),
    (lambda: TimeLimiter(end_ts=10**400), r"end_ts must be"),
    (lambda: TimeLimiter(start_ts=10, end_ts=10), r"end_ts must be later than start_ts"),
    (lambda: TimeLimiter(seconds=1, start_ts="x"), r"start_ts must be epoch seconds or an aware datetime"),
]

SETTINGS: list[tuple[Make, str]] = [
    (lambda: TrackingManager(data_cache="memory://"), r"data_cache must be a BaseDataCache, got 'memory://'"),
    (lambda: TrackingManager(data_store=3), r"data_store must be a BaseDataStore, got 3"),
    (lambda: TrackingManager(write="around"), r'write must be "through" or "behind", got \'around\''),
    (lambda: TrackingManager(write="behind"), r"needs a store that lasts"),
    (lambda: TrackingManager(dedup_window=0), r"dedup_window must be a whole number of at least 1, got 0"),
    (lambda: TrackingManager(dedup_window=True), r"dedup_window must be a whole number"),
    (lambda: TrackingManager(commit_timeout=0), r"commit_timeout must be a number of seconds greater than 0, got 0"),
    (lambda: TrackingManager(flush_interval=NAN), r"flush_interval must be a number of seconds greater than 0"),
    (lambda: TrackingManager(close_timeout="1"), r"close_timeout must be a number of seconds"),
    (lambda: MemoryDataCache(max_groups=0), r"max_groups must be a whole number of at least 1, or None, got 0"),
    (lambda: SQLiteDataStore(""), r"path must be the path of a file"),
    (lambda: SQLiteDataStore("t.db", synchronous="YES"), r"synchronous must be one of OFF, NORMAL, FULL, EXTRA"),
    (lambda: SQLiteDataStore("t.db", timeout=-1), r"timeout must be a number of seconds greater than 0, got -1"),
    (lambda: MongoDBDataStore(""), r"host must be the name of a server, got ''"),
    (lambda: MongoDBDataStore(port="27017"), r"port must be a number from 1 to 65535, got '27017'"),
    (lambda: MongoDBDataStore(database="a.b"), r"database must be a name without .*, got 'a\.b'"),
    (lambda: MongoDBDataStore(prefix="$"), r"prefix must be text without \$, got '\$'"),
    (lambda: MongoDBDataStore(write_concern=0), r'write_concern must be "majority" or .* at least 1, got 0'),
    (lambda: MongoDBDataStore(journal="yes"), r"journal must be True or False, got 'yes'"),
    (lambda: MongoDBDataStore(timeout=NAN), r"timeout must be a number of seconds greater than 0, got nan"),
    (lambda: MongoDBDataStore(lease_seconds=0), r"lease_seconds must be a number of seconds greater than 0, got 0"),
    (lambda: MongoDBDataStore(outbox_size=-1), r"outbox_size must be a whole number of at least 0, got -1"),
    (lambda: MongoDBDataStore(client=MongoClient), r"client must be an AsyncMongoClient or an AsyncIOMotorClient"),
    (lambda: MongoDBDataStore(client=object()), r"client must be an AsyncMongoClient or an AsyncIOMotorClient"),
    (lambda: MongoDBDataStore("mongodb://localhost", port=27018), r"port must be in the URL .*got 27018"),
    (lambda: MongoDBDataStore(client=object(), tls=True), r"a client has its own options; beside it there is tls"),
    (lambda: MongoDBDataStore.from_url("redis://host"), r"begins with mongodb:// or mongodb\+srv://"),
    (lambda: MongoDBDataStore.from_url("mongodb://"), r"names a host"),
    (lambda: TrackingManager.open(store_url="mongodb://h/a.b"), r"database must be a name"),
]


@pytest.mark.parametrize(
    ("make", "says"),
    [*TRACKERS, *CONDITIONS, *LIMITERS, *SETTINGS],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_refused_when_it_is_made(make: Make, says: str) -> None:
    """A wrong value raises InvalidDefinition, also a ValueError, that names the field and what is allowed."""
    with pytest.raises(InvalidDefinition, match=says) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_any_order_of_targets_is_allowed_where_each_stage_starts_anew() -> None:
    """With ResetPolicy.PROGRESS targets need not increase, because progress returns between stages."""
    assert CountTracker("t", [5, 3, 5], reset_policy=ResetPolicy.PROGRESS).targets == (5, 3, 5)


def test_a_condition_nested_too_deep_is_refused() -> None:
    """A value that is nested without end is refused by name, not by a RecursionError."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidDefinition, match=r"KeyValueEQ\.value"):
        KeyValueEQ("k", deep)


def test_two_classes_of_one_kind_raise() -> None:
    """A class whose kind another class has raises when it is made; the message says how to give it its own."""

    def make() -> type[BaseCondition]:
        class Twice(BaseCondition, kind="test.twice"):
            key: str

        return Twice

    make()
    with pytest.raises(InvalidDefinition, match=r"condition kind 'test\.twice'.*kind="):

        class Another(BaseCondition, kind="test.twice"):
            key: str

    with pytest.raises(InvalidDefinition, match="'KeyExists'"):

        class KeyExists(BaseCondition):
            key: str


def test_one_kind_may_serve_a_condition_a_limiter_and_a_tracker() -> None:
    """Kinds are told apart by family: a condition and a limiter may have the same name."""

    class SameCondition(BaseCondition, kind="test.same"):
        pass

    class SameLimiter(BaseLimiter, kind="test.same"):
        pass

    class SameTracker(BaseTracker, kind="test.same"):
        pass

    assert {SameCondition.kind, SameLimiter.kind, SameTracker.kind} == {"test.same"}


def test_a_condition_does_not_change() -> None:
    """A field of a condition cannot be set once it is made: the trackers that have it would not follow."""
    condition = KeyValueEQ("a", 1)
    with pytest.raises(AttributeError, match=r"KeyValueEQ.key cannot be set"):
        condition.key = "b"
    assert condition.check({"a": 1})


class Tagged(BaseCondition, kind="test.bad.tagged"):
    tags: list[str]

    def check(self, data: Any, **context: Any) -> bool:
        return True


def test_what_is_wrong_inside_a_list_is_named() -> None:
    """The error says which item it is, and what the item must be."""
    with pytest.raises(InvalidDefinition, match=r"^Tagged\.tags\.1 must be a string, got 3$"):
        Tagged(["a", 3])
    with pytest.raises(InvalidDefinition, match=r"^Tagged\.tags must be a list, got 'a'$"):
        Tagged("a")


@pytest.mark.parametrize("kind", ["milepost.key", "_KeyCondition", "milepost.comparison", "NumericTracker"])
def test_a_base_of_several_has_no_objects(kind: str) -> None:
    """What only others are made of cannot be named as a kind."""
    for family in ("condition", "tracker"):
        with pytest.raises(UnknownKindError):
            load_definition(family, {"kind": kind, "key": "a", "name": "n", "target": 1})
