"""The state machine that drives a manager and the model side by side."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from milepost import TrackingManager
from milepost.testing import EventRecorder, ManualClock
from tests.model.backends import Backend
from tests.model.engine import built, heard, perform, read
from tests.model.histories import GROUPS, adds, conditions, groups, meant, removes, resets, specs, tracks
from tests.model.model import LIMITER, PROGRESS, Model, Spec

WINDOW = 4


def in_order(events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Give those that expired at the same moment some order."""
    told: list[tuple[Any, ...]] = []
    for event in events:
        told.append(event)
        i = len(told) - 1
        while i and {told[i][0], told[i - 1][0]} == {"expired"} and told[i][7] == told[i - 1][7]:
            if told[i - 1][1] > told[i][1]:
                told[i - 1], told[i] = told[i], told[i - 1]
            i -= 1
    return told


def plain(outcome: Any) -> Any:
    """Drop what only the model says."""
    if isinstance(outcome, list):
        return [plain(item) for item in outcome]
    if isinstance(outcome, dict):
        return {"events": []} | {name: value for name, value in outcome.items() if name != "outcomes"}
    return outcome


class EngineMachine(RuleBasedStateMachine):
    """Drives a manager and the model side by side."""

    def __init__(self, backend: type[Backend]) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="milepost-model-"))
        self.backend = backend(self.folder)
        self.runner = asyncio.Runner()
        self.clock = ManualClock(1_700_000_000.0)
        self.manager: TrackingManager | None = None
        self.ids: set[str] = set()
        self.steps = 0

    def run(self, awaitable: Any) -> Any:
        """Run in this machine's own loop."""

        async def bounded() -> Any:
            return await asyncio.wait_for(awaitable, 30)

        return self.runner.run(bounded())

    @initialize(
        declared=st.lists(specs("de"), max_size=2, unique_by=lambda spec: spec["name"]),
        given=st.dictionaries(groups, st.lists(specs("abc"), max_size=3, unique_by=lambda spec: spec["name"])),
        loud=st.booleans(),
    )
    def begin(self, declared: list[Spec], given: dict[str, list[Spec]], loud: bool) -> None:
        self.model = Model(declared, WINDOW, self.clock.time(), loud)
        self.run(self.open())
        for group, several in given.items():
            self.both(("add", group, several, None, "error"))

    async def open(self) -> None:
        self.manager = TrackingManager(clock=self.clock, dedup_window=WINDOW, **self.backend.settings())
        self.recorder = EventRecorder(self.manager, progressed=self.model.progressed)
        self.manager.declare("u*", *(built(spec) for spec in self.model.declared.values()))
        self.taken = 0
        await self.manager.start()

    def teardown(self) -> None:
        try:
            if self.manager is not None:
                self.look_at(GROUPS)
        finally:
            if self.manager is not None:
                self.run(self.manager.aclose())
            self.runner.close()
            self.backend.discard()
            shutil.rmtree(self.folder)

    # --- looking ------------------------------------------------------------------------------

    async def _news(self, groups: tuple[str, ...]) -> dict[str, Any]:
        """Return what groups look like, and what was heard about them since the last look; ids are new ones."""
        assert self.manager is not None
        await self.manager.settle()
        rows = {group: [read(row) for row in await self.manager.get_trackers(group)] for group in groups}
        await self.manager.settle()
        events = self.recorder.events[self.taken :]
        self.taken = len(self.recorder.events)
        for event in events:
            assert event.id not in self.ids, f"the id of {event!r} was there before"
            self.ids.add(event.id)
            self.unseen.setdefault(event.group_id, []).append(heard(event))
        return rows

    @property
    def unseen(self) -> dict[str, list[tuple[Any, ...]]]:
        """What was heard and not yet compared, by group."""
        return self.__dict__.setdefault("_unseen", {})

    def look_at(self, groups: tuple[str, ...]) -> None:
        """What is read and what was announced is the model's."""
        rows = self.run(self._news(groups))
        for group in groups:
            assert rows[group] == self.model.readings(group), group
            assert in_order(self.unseen.pop(group, [])) == in_order(self.model.events.pop(group, [])), group
        if len(groups) == len(GROUPS):
            assert self.run(self._groups()) == self.model.groups()

    async def _groups(self) -> list[str]:
        assert self.manager is not None
        return sorted([group async for group in self.manager.groups()])

    def both(self, operation: tuple[Any, ...]) -> Any:
        """Do the same to the manager and to the model."""
        assert self.manager is not None
        outcome = self.run(perform(self.manager, self.clock, operation))
        assert plain(outcome) == plain(self.model.perform(operation))
        return outcome

    def look_sometimes(self, *groups: str) -> None:
        """Look at all groups every third time only: what is looked at is loaded, and others are evicted."""
        self.steps += 1
        self.look_at(tuple(dict.fromkeys(groups)) if self.steps % 3 else GROUPS)

    def placed(self, operation: tuple[Any, ...]) -> tuple[Any, ...]:
        """Turn lags and lengths into moments, and put in the values that are meant."""
        kind, group, *rest = operation
        now = self.model.now
        if kind == "track":
            return kind, group, meant(rest[0]), None if rest[1] is None else now + rest[1], rest[2]
        if kind == "add":
            return kind, group, rest[0], None if rest[1] is None else now + rest[1], rest[2]
        return operation

    def within_window(self, operations: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Let go of event ids that would push others out of the window: in one commit they are known longer."""
        known = {group: set(ids) for group, ids in self.model.ids.items()}
        kept = []
        for operation in operations:
            if operation[0] == "track" and operation[4] is not None:
                there = known.setdefault(operation[1], set())
                fits = len(there | {operation[4]}) <= WINDOW
                there |= {operation[4]} if fits else set()
                operation = operation if fits else (*operation[:4], None)
            kept.append(operation)
        return kept

    # --- what happens ------------------------------------------------------------------------

    @rule(operation=st.one_of(tracks, tracks, tracks, adds, adds, resets, removes))
    def one(self, operation: tuple[Any, ...]) -> None:
        self.both(self.placed(operation))
        self.look_sometimes(operation[1])

    @rule(operations=st.lists(tracks, min_size=1, max_size=6))
    def many(self, operations: list[tuple[Any, ...]]) -> None:
        items = self.within_window([self.placed(operation) for operation in operations])
        self.both(("track_many", [item[1:] for item in items]))
        self.look_sometimes(*(operation[1] for operation in operations))

    @rule(operations=st.lists(st.one_of(tracks, tracks, adds, resets, removes), min_size=2, max_size=4))
    def at_once(self, operations: list[tuple[Any, ...]]) -> None:
        """What is done at the same time has some order in which it is right, answers and events included."""
        assert self.manager is not None
        placed = self.within_window([self.placed(operation) for operation in operations])
        touched = tuple(dict.fromkeys(operation[1] for operation in operations))
        self.look_at(touched)

        async def gather() -> list[Any]:
            return await asyncio.gather(*(perform(self.manager, self.clock, each) for each in placed))  # type: ignore[arg-type]

        outcomes = [plain(outcome) for outcome in self.run(gather())]
        rows = self.run(self._news(touched))
        events = {group: in_order(self.unseen.get(group, [])) for group in touched}
        for order in permutations(range(len(placed))):
            trial = self.model.copy()
            expected = {i: plain(trial.perform(placed[i])) for i in order}
            if (
                [expected[i] for i in range(len(placed))] == outcomes
                and {group: in_order(trial.events.get(group, [])) for group in touched} == events
                and {group: trial.readings(group) for group in touched} == rows
            ):
                self.model = trial
                self.look_sometimes(*touched)
                return
        note(f"answers {outcomes}\nevents {events}\nrows {rows}")
        raise AssertionError("no order of these explains what happened")

    @rule(group=groups, ids=st.lists(st.sampled_from("123456"), min_size=4, max_size=8))
    def again(self, group: str, ids: list[str]) -> None:
        """The last ids are known, those before them no more."""
        for id in ids:
            self.both(("track", group, {"kind": "a", "amount": 1}, None, f"e{id}"))
        self.look_sometimes(group)

    @rule(group=groups, policy=st.sampled_from([PROGRESS, PROGRESS | LIMITER]))
    def all_the_way_twice(self, group: str, policy: int) -> None:
        """After a reset the same milestones are new ones."""
        for _ in range(2):
            self.both(("track", group, {"kind": "a", "n": 5, "amount": 20}, None, None))
            for name in list(self.model.present(group)):
                self.both(("reset", group, name, policy, None, None))
        self.look_sometimes(group)

    @rule(operation=tracks, then=st.booleans())
    def explain(self, operation: tuple[Any, ...], then: bool) -> None:
        """An explanation changes nothing and comes true."""
        track = self.placed(operation)
        explained = self.both(("explain", *track[1:4]))
        self.look_sometimes(track[1])
        if then:
            result = self.both((*track[:4], None))
            assert [it[0] for it in explained if it[1] == "moved"] == [
                row[0] for row in result["dirtied"] if row[0] not in {it[0] for it in explained if it[1] == "limited"}
            ]
            self.look_sometimes(track[1])

    @rule(choice=st.data(), further=st.booleans(), conditions=conditions, policy=st.integers(0, 3))
    def update(self, choice: Any, further: bool, conditions: list[Any], policy: int) -> None:
        group = choice.draw(groups)
        present = list(self.model.present(group).values())
        if not present:
            self.both(("update", group, choice.draw(specs("z"))))
            return
        spec = choice.draw(st.sampled_from(present))["spec"]
        more = [spec["targets"][-1] + 3] if further and len(spec["targets"]) < 4 else []
        changed = {**spec, "targets": [*spec["targets"], *more], "conditions": conditions, "policy": policy}
        self.both(("update", group, changed))
        self.look_sometimes(group)

    @rule(seconds=st.sampled_from([0.0, 5.0, 10.0, 10.5, 60.0]), looking=st.booleans())
    def advance(self, seconds: float, looking: bool) -> None:
        self.both(("advance", seconds))
        if looking:
            self.look_at(GROUPS)

    @rule(group=groups, wrong=st.sampled_from([None, 3, "text", [("a", 1)]]))
    def track_what_is_no_mapping(self, group: str, wrong: Any) -> None:
        with pytest.raises(TypeError):
            self.run(self.manager.track(group, wrong))  # type: ignore[union-attr]
        self.look_sometimes(group)

    @rule(asleep=st.sampled_from([0.25, 0.25, 20.0]))
    def restart(self, asleep: float) -> None:
        """Closed and opened again, all is where it was; what expired meanwhile is announced.

        Some time passes: what tells the lives of a record apart is the moment at which they began.
        """
        assert self.manager is not None
        self.look_at(GROUPS)
        self.run(self.manager.aclose())
        self.manager = None
        self.both_clocks(asleep)
        self.run(self.open())
        self.look_at(GROUPS)

    def both_clocks(self, seconds: float) -> None:
        self.clock.set(self.clock.time() + seconds)
        self.model.advance(seconds)

    @precondition(lambda self: self.steps > 8)
    @rule(sure=st.sampled_from([False, False, True]))
    def flush(self, sure: bool) -> None:
        if sure:
            self.look_at(GROUPS)  # or what is over might be flushed before it was announced
            self.both(("flush",))
            self.look_at(GROUPS)
