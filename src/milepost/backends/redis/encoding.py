"""Commits as the arguments of ``commit.lua``, and what the scripts reply as outcomes and records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from milepost.backends.redis.keys import to_bytes, to_text
from milepost.errors import OutboxFull
from milepost.events.codes import EVENT_ALL
from milepost.records import (
    Commit,
    Committed,
    Conflict,
    Duplicate,
    LoadedRecord,
    NeedDefinitions,
    OutboxEvent,
    Outcome,
    RecordState,
    Revision,
)

__all__ = ["ABSENT", "encode_commit", "outbox_full", "outcome_of", "record_of", "revision_text", "state_of"]

ABSENT: Final = LoadedRecord(RecordState(None), {})
_COMMITTED: Final = Committed()


def revision_text(revision: Revision | None) -> str:
    """Return a revision as scripts write it."""
    return "-" if revision is None else f"{revision.incarnation}.{revision.counter}"


def _new_revision(commit: Commit) -> str:
    base = commit.base
    if base is None or (base.incarnation != commit.incarnation and not commit.removes):
        return f"{commit.incarnation}.1"
    return f"{commit.incarnation}.{base.counter + 1}"


def _with_id(event: OutboxEvent) -> bytes:
    """Return an event with its id before it: it is known by that when somebody publishes it again."""
    id = to_bytes(event.id)
    return b"%d %b%b" % (len(id), id, event.encoded().encode())


def encode_commit(into: list[Any], commit: Commit, ticket: str, moment: str, *, in_doubt: bool) -> None:
    """Append what ``commit.lua`` is told of a commit.

    Args:
        into: the arguments of the call.
        commit: the commit.
        ticket: what was learned when its record was found not to be there.
        moment: what places its events among those of other servers, microseconds; ``-`` where there is one.
        in_doubt: whether it was sent before, and the reply was lost.
    """
    puts, drops, events, seen, definitions = commit.puts, commit.drops, commit.events, commit.seen, commit.definitions
    if commit.removes or in_doubt or not puts:
        flags = "r" * commit.removes + "n" * commit.changes_nothing + "d" * in_doubt or "-"
    else:
        flags = "-"
    deadline = "-" if commit.deadline is None else repr(float(commit.deadline))
    if drops or events or seen or definitions:
        counts = f"{len(puts)} {len(drops)} {len(events)} {len(seen)} {len(definitions)}"
    else:
        counts = f"{len(puts)} 0 0 0 0"
    base, id = commit.base, commit.id
    if base is not None and base[0] == commit.incarnation:
        counter = base[1]
        revisions = f"{base[0]}.{counter} {base[0]}.{counter + 1}"
    else:
        revisions = f"{revision_text(base)} {_new_revision(commit)}"
        flags = "i" if flags == "-" else flags + "i"
    into.append(f"{commit.epoch} {revisions} {commit.serial} {deadline} {flags} {ticket} {moment} {counts}")
    into.append(id[2:6] + id[12:])  # of what is random for the process, and of what is counted in it
    for name, row in puts.items():
        into.append(name if name.isascii() else to_bytes(name))
        into.append(row.encoded())
    if drops:
        into += map(to_bytes, drops)
    if events:
        into += [event.encoded() if event.type in EVENT_ALL else _with_id(event) for event in events]
    if seen:
        into += seen
    if definitions:
        into += definitions


def outcome_of(reply: Any) -> Outcome | None:
    """Return the outcome that a reply to a commit means; None where more has to be done for it."""
    if reply == 1:
        return _COMMITTED
    kind, *rest = reply
    if kind == b"c":
        return Conflict(record_of(rest[0])) if rest and rest[0][0] != b"l" else None if rest else Conflict(ABSENT)
    if kind == b"d":
        return Duplicate(frozenset(rest))
    if kind == b"n":
        return NeedDefinitions(frozenset(hash.decode() for hash in rest))
    if kind == b"h":  # whoever begins it again takes a higher incarnation
        return Conflict(LoadedRecord(RecordState(Revision(int(rest[0]), 0)), {}))
    return None


def outbox_full(reply: Sequence[Any]) -> OutboxFull:
    """Return the error that tells which consumer is too far behind, as a script has replied."""
    _, name, lag, most = reply
    return OutboxFull(
        f"the durable consumer {to_text(name)!r} is {int(lag)} events behind, and {int(most)} are kept for it; "
        "nothing was changed"
    )


def record_of(reply: Sequence[Any]) -> LoadedRecord:
    """Return the record, or what changed in it, that a script read."""
    kind, numbers, seen, rows, *drops = reply
    texts = iter(rows)
    return LoadedRecord(
        state_of(numbers),
        {to_text(name): text.decode() for name, text in zip(texts, texts, strict=True)},
        tuple(seen),
        whole=kind == b"w",
        drops=tuple(map(to_text, drops[0])) if drops else (),
    )


def state_of(numbers: bytes) -> RecordState:
    """Return a record's numbers."""
    revision, serial, deadline, *_ = numbers.split(b" ")
    incarnation, counter = revision.split(b".")
    return RecordState(
        Revision(int(incarnation), int(counter)), int(serial), None if deadline == b"-" else float(deadline)
    )
