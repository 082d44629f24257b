"""A small model of the engine, written from DESIGN section 5 alone: dicts, and no code of milepost's.

A tracker is described by a *spec*, a plain dict:

``name``, ``kind`` (``"count"`` or ``"sum"``), ``targets``, ``loop``, ``init``, ``policy`` (1: progress,
2: limiters), ``removes``, ``exact``, ``conditions`` (``("exists", key)``, ``("absent", key)``,
``("eq", key, value)``, ``("ge", key, value)``) and ``limiters`` (``("count", n)``, ``("time", seconds, start)``).

An operation is a tuple whose first item names the method that carries it out.
"""

from __future__ import annotations

import copy
import math
from decimal import Context, Decimal, DecimalException, Inexact
from typing import Any

Spec = dict[str, Any]
Row = dict[str, Any]

PROGRESS, LIMITER = 1, 2
DIGITS_34 = Context(prec=34, Emin=-6143, Emax=6144, traps=[Inexact])


class Model:
    """Groups of trackers, and what was announced about each group."""

    def __init__(self, declared: list[Spec], window: int, now: float, progressed: bool) -> None:
        self.declared = {spec["name"]: spec for spec in declared}
        self.window, self.now, self.progressed = window, now, progressed
        self.rows: dict[str, dict[str, Row]] = {}
        self.ids: dict[str, list[str]] = {}
        self.events: dict[str, list[tuple[Any, ...]]] = {}

    def copy(self) -> Model:
        """Return a model to try something on."""
        other = copy.copy(self)
        other.rows = {group: {name: twin(row) for name, row in rows.items()} for group, rows in self.rows.items()}
        other.ids = {group: list(ids) for group, ids in self.ids.items()}
        other.events = {group: list(events) for group, events in self.events.items()}
        return other

    def perform(self, operation: tuple[Any, ...]) -> Any:
        """Carry an operation out; return what the caller gets."""
        return getattr(self, operation[0])(*operation[1:])

    # --- what is there ----------------------------------------------------------------------

    def declared_for(self, group: str) -> dict[str, Spec]:
        return self.declared if group.startswith("u") else {}

    def present(self, group: str, at: float | None = None) -> dict[str, Row]:
        """Declared trackers first, those that have not moved at their start; then the others as they were added."""
        rows, declared = self.rows.get(group, {}), self.declared_for(group)
        found = {name: rows.get(name) or begun(spec, self.now if at is None else at) for name, spec in declared.items()}
        found |= {name: row for name, row in rows.items() if name not in declared}
        return {name: row for name, row in found.items() if not row["gone"]}

    def readings(self, group: str) -> list[tuple[Any, ...]]:
        return [reading(row) for row in self.present(group).values()]

    def groups(self) -> list[str]:
        return sorted(group for group, rows in self.rows.items() if rows)

    def keep(self, group: str, row: Row, *, anew: bool = False) -> None:
        rows = self.rows.setdefault(group, {})
        if anew:
            rows.pop(row["spec"]["name"], None)
        rows[row["spec"]["name"]] = row

    def drop(self, group: str, row: Row) -> None:
        """A declared tracker stays away from the group then; of another nothing stays."""
        name = row["spec"]["name"]
        if name in self.declared_for(group):
            self.keep(group, {**row, "gone": True, "expires": None})
        else:
            self.rows.get(group, {}).pop(name, None)

    def say(self, group: str, code: str, row: Row, time: float, **more: Any) -> tuple[Any, ...]:
        event = announced(code, row, time, **more)
        self.events.setdefault(group, []).append(event)
        return event

    # --- what can be done --------------------------------------------------------------------

    def add(self, group: str, specs: list[Spec], expires: float | None, if_exists: str) -> Any:
        taken = set(self.present(group))
        for spec in specs:
            if spec["name"] in taken and if_exists == "error":
                return "ConflictingNameError"
            taken.add(spec["name"])
        added = []
        for spec in specs:
            there = self.present(group).get(spec["name"])
            if there is None or if_exists == "replace":
                there = {**begun(spec, self.now), "expires": expires}
                self.keep(group, there, anew=True)
                self.say(group, "added", there, self.now)
            added.append(reading(there))
        return added

    def update(self, group: str, spec: Spec) -> Any:
        """The definition changes, the state stays; new targets let a completed tracker go on."""
        row = self.present(group).get(spec["name"])
        if row is None:
            return "TrackerNotFound"
        if spec != row["spec"]:
            row = {**row, "spec": spec, "dirtied": True}
            if row["stage"] < len(spec["targets"]):
                row["completed_at"] = row["completed_at"] if spec["loop"] else None
            self.keep(group, row)
        return reading(row)

    def reset(self, group: str, name: str, policy: int | None, count: int | None, seconds: float | None) -> bool:
        row = self.present(group).get(name)
        if row is None:
            return False
        row = twin(row)
        policy = row["spec"]["policy"] if policy is None else policy
        was = set(row["limited"])
        if policy & LIMITER:
            reopen(row, self.now, count, seconds)
        if policy & PROGRESS:
            row |= {"progress": row["spec"]["init"], "stage": 0, "completed_at": None}
        row["dirtied"] = True
        self.keep(group, row)
        self.say(group, "reset", row, self.now)
        for i in sorted(row["limited"] - was):
            self.say(group, "limited", row, self.now, limiter=i)
        return True

    def remove(self, group: str, names: list[str] | None) -> bool:
        present = self.present(group)
        leaving = [present[name] for name in dict.fromkeys(present if names is None else names) if name in present]
        for row in leaving:
            self.drop(group, row)
            self.say(group, "removed", row, self.now)
        return bool(leaving)

    def flush(self) -> bool:
        self.rows, self.ids = {}, {}
        return True

    def advance(self, seconds: float) -> None:
        """Move on the clock by which deadlines go; what is over is announced as of its deadline."""
        self.now += seconds
        for group in list(self.rows):
            over = [row for row in self.present(group).values() if row["expires"] and row["expires"] <= self.now]
            for row in sorted(over, key=lambda row: row["expires"]):
                self.say(group, "expired", row, row["expires"])
                self.drop(group, row)

    def explain(self, group: str, data: Any, now: float | None) -> list[tuple[Any, ...]]:
        trial = self.copy()
        trial.progressed = False
        before = trial.present(group, now)
        result = trial.track(group, data, now, None)
        after = {name: progress for name, progress, *_ in result["dirtied"]}
        return [
            (name, result["outcomes"][name], row["progress"], after.get(name, row["progress"]),
             [code for code, who, *_ in result["events"] if who == name])
            for name, row in before.items()
        ]  # fmt: skip

    def track_many(self, items: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
        return [self.track(*item) for item in items]

    def track(self, group: str, data: Any, now: float | None, event_id: str | None) -> dict[str, Any]:
        result: dict[str, Any] = {"ok": True, "duplicate": False, "outcomes": {}}
        result |= {"dirtied": [], "completed": [], "limited": [], "rejected": []}
        ids = self.ids.setdefault(group, [])
        if event_id in ids:
            return result | {"ok": False, "duplicate": True}
        if event_id is not None:
            ids.append(event_id)
            del ids[: -self.window]
        before = len(self.events.get(group, []))
        at = self.now if now is None else now
        for name, row in self.present(group, at).items():
            result["outcomes"][name] = self.meet(group, twin(row), data, at, result)
        result["events"] = self.events.get(group, [])[before:]
        return result

    # --- one tracker meets one datum -----------------------------------------------------------

    def meet(self, group: str, row: Row, data: Any, at: float, result: dict[str, Any]) -> str:
        spec, name, targets = row["spec"], row["spec"]["name"], row["spec"]["targets"]
        if row["stage"] == len(targets):
            return "already completed"
        if spec["kind"] == "sum" and "amount" not in data:
            return "unmatched"
        answers = [answer(condition, data) for condition in spec["conditions"]]
        if False in answers:  # whatever the others say, or raise
            return "unmatched"
        if None in answers:
            result["rejected"].append(name)
            return "rejected"
        was = set(row["limited"])
        refusing = {i for i, state in enumerate(row["limits"]) if refuses(state, at)}
        if refusing:
            if refusing != was:
                row |= {"limited": refusing, "dirtied": True}
                self.keep(group, row)
                result["dirtied"].append(reading(row))
            for i in sorted(refusing - was):
                self.say(group, "limited", row, at, limiter=i)
            result["limited"].append(reading(row))
            return "limited"
        try:
            progress = total(row["progress"], number(data["amount"]) if spec["kind"] == "sum" else 1, spec["exact"])
        except (ValueError, OverflowError, DecimalException):
            result["rejected"].append(name)
            return "rejected"
        started, row["progress"], row["dirtied"], row["limited"] = row["progress"], progress, True, set()
        for i, state in enumerate(row["limits"]):
            if "remaining" in state:
                state["remaining"] -= 1
                row["limited"] |= {i} if state["remaining"] == 0 else set()
        drafts, finished = self.advance_stages(row, at)
        if self.progressed and row["progress"] != started:
            self.say(group, "progressed", row, at)
        for code, then, times in drafts:
            self.say(group, code, then, at, times=times)
        for i in sorted(row["limited"] - was):
            self.say(group, "limited", row, at, limiter=i)
        self.keep(group, row)
        if finished:
            result["completed"].append(reading(finished))
            if spec["removes"] and not spec["loop"]:
                self.drop(group, row)
                self.say(group, "removed", row, at)
        result["dirtied"].append(reading(row))
        if row["limited"]:
            result["limited"].append(reading(row))
        return "moved"

    def advance_stages(self, row: Row, at: float) -> tuple[list[tuple[str, Row, int]], Row | None]:
        """Pass every target that is reached; return what to announce, and the finished state."""
        spec, targets, finished = row["spec"], row["spec"]["targets"], None
        drafts: list[tuple[str, Row, int]] = []
        while row["stage"] < len(targets) and row["progress"] >= targets[row["stage"]]:
            if row["stage"] < len(targets) - 1:
                drafts.append(("stage_completed", twin(row), 1))
                row["stage"] += 1
            else:
                row["completed_at"] = at
                times, rest = 1, row["progress"]
                if spec["loop"] and not spec["policy"] & PROGRESS:
                    times, rest = rounds(row["progress"], targets[-1])
                row["cycle"] += times - 1
                finished = twin({**row, "stage": len(targets)})
                drafts.append(("all_completed", finished, times))
                if not spec["loop"]:
                    row["stage"] = len(targets)
                    return drafts, finished
                row |= {"cycle": row["cycle"] + 1, "stage": 0, "progress": rest}
            if spec["policy"] & LIMITER:
                reopen(row, at)
            if spec["policy"] & PROGRESS:  # the overshoot is gone with it: the next stage takes another datum
                row["progress"] = spec["init"]
                break
        return drafts, finished


def begun(spec: Spec, now: float) -> Row:
    limits: list[dict[str, Any]] = []
    for kind, amount, *start in spec["limiters"]:
        opening = now if kind == "count" or start[0] is None else start[0]
        limits.append({"remaining": amount} if kind == "count" else {"start": opening, "end": opening + amount})
    return {"spec": spec, "progress": spec["init"], "stage": 0, "cycle": 0, "limits": limits, "limited": set(),
            "expires": None, "completed_at": None, "dirtied": False, "gone": False}  # fmt: skip


def twin(row: Row) -> Row:
    return {**row, "limits": [dict(state) for state in row["limits"]], "limited": set(row["limited"])}


def refuses(state: dict[str, Any], at: float) -> bool:
    return state["remaining"] == 0 if "remaining" in state else not state["start"] <= at <= state["end"]


def reopen(row: Row, at: float, count: int | None = None, seconds: float | None = None) -> None:
    for (kind, amount, *_), state in zip(row["spec"]["limiters"], row["limits"], strict=True):
        if kind == "count":
            state["remaining"] = amount if count is None else count
        else:
            state |= {"start": at, "end": at + (amount if seconds is None else seconds)}
    row["limited"] = {i for i, state in enumerate(row["limits"]) if state.get("remaining") == 0}


def answer(condition: tuple[Any, ...], data: Any) -> bool | None:
    """Whether a condition holds; None where it raises."""
    try:
        return holds(condition, data)
    except Exception:
        return None


def holds(condition: tuple[Any, ...], data: Any) -> bool:
    """A missing key is False for all but "absent"; what does not compare is False."""
    kind, key, *value = condition
    if key not in data:
        return kind == "absent"
    try:
        if kind == "eq":
            return bool(data[key] == value[0])
        return bool(data[key] >= value[0]) if kind == "ge" else kind == "exists"
    except (TypeError, ArithmeticError):
        return False


def number(value: Any) -> int | float | Decimal:
    """Return the number that a value is, or raise ValueError."""
    if isinstance(value, str) and value.isascii() and value.strip("+-.0123456789") == "" and value.strip("+-."):
        value = Decimal(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return value


def total(progress: Any, amount: Any, exact: bool) -> Any:
    """Ints and decimals are exact, floats are floats."""
    kinds = {type(progress), type(amount)}
    if kinds == {int} and not exact:
        if abs(progress + amount) >= 2**63:
            raise OverflowError
        return progress + amount
    if exact or float not in kinds:
        return DIGITS_34.add(*(Decimal(str(n)) if isinstance(n, float) else Decimal(n) for n in (progress, amount)))
    return float(progress) + float(amount)


def rounds(progress: Any, last: Any) -> tuple[int, Any]:
    """Return how many whole rounds a progress is, and what exceeds them."""
    if isinstance(progress, Decimal):
        last = Decimal(str(last))
        return int(progress // last), progress % last
    if isinstance(progress, float) or isinstance(last, float):
        progress, last = float(progress), float(last)
    times, rest = divmod(progress, last)
    return int(times), rest


def reading(row: Row) -> tuple[Any, ...]:
    """What a user reads of a tracker; the same for a row of the model and a snapshot (``test_machine.read``)."""
    spec, targets = row["spec"], row["spec"]["targets"]
    completed = row["stage"] >= len(targets)
    return (
        spec["name"], row["progress"], targets[-1] if completed else targets[row["stage"]], tuple(targets),
        min(row["stage"] + 1, len(targets)), row["cycle"], completed, bool(row["limited"]), row["dirtied"],
        row["completed_at"], row["expires"], tuple(tuple(sorted(state.items())) for state in row["limits"]),
        isinstance(row["progress"], float),
    )  # fmt: skip


def announced(code: str, row: Row, time: float, limiter: int | None = None, times: int = 1) -> tuple[Any, ...]:
    """What an event says: of a milestone, the stage just finished."""
    _, progress, target, _, stage, cycle, completed, *_ = reading(row)
    return code, row["spec"]["name"], progress, target, stage, cycle, completed, time, limiter, times
