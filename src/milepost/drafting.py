"""What the drafts of trackers and of subjects have in common: rows, events and ids, and the commit made of them."""

from __future__ import annotations

from typing import Generic, TypeVar

from milepost.records import Commit, OutboxEvent, Record

__all__ = ["BaseDraft"]

R = TypeVar("R")
E = TypeVar("E", bound=OutboxEvent)


class BaseDraft(Generic[R, E]):
    """What a record will be once the commit is accepted. The record itself stays as it is.

    Args:
        record: the replica to begin from.
        now: when, epoch seconds; what events are dated with.
        incarnation: the record's own, or the one to take where it is begun anew.
    """

    def __init__(self, record: Record, now: float, incarnation: int) -> None:
        self.record = record
        self.now = now
        self.incarnation = incarnation
        self.puts: dict[str, R] = {}
        self.drops: dict[str, None] = {}
        self.events: list[E] = []
        self.seen: dict[bytes, None] = {}
        self.changes = 0
        """How often something was changed, to tell whether work that raises had begun to."""
        self.serial = record.serial
        self.reshapes = False
        """Whether other trackers are there than before, or other definitions of them."""

    def knows(self, event_id: bytes) -> bool:
        """Whether an event id is remembered."""
        seen = self.record.seen
        return event_id in self.seen or (seen is not None and event_id in seen)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.puts or self.drops or self.events or self.seen)

    def take_out(self, name: str) -> None:
        """Drop a row, wherever it is: in the record, written before, or there and not to be read."""
        self.puts.pop(name, None)
        if name in self.record.rows or (self.record.broken and name in self.record.broken):
            self.drops[name] = None

    def finish(self, epoch: int, id: bytes) -> Commit:
        """Return the commit that makes it so.

        Args:
            epoch: the epoch of the replica.
            id: the commit's id; empty where no reply can be lost.
        """
        record, puts, drops, events, seen = self.record, self.puts, self.drops, self.events, self.seen
        if not (puts or drops or events or seen):
            return Commit(record.key, epoch, record.revision, record.incarnation, serial=record.serial)
        leaves_nothing = (
            not puts and not seen and not record.seen and len(drops) == len(record.rows) + len(record.broken or ())
        )
        return Commit(  # by position: this is made for every commit, and names take time
            record.key,
            epoch,
            record.revision,
            self.incarnation,
            puts,
            tuple(drops) if drops else (),
            events,
            tuple(seen) if seen else (),
            self.new_definitions(),
            self.serial,
            self.next_deadline(),
            leaves_nothing and record.counter > 0,
            self.reshapes,
            id,
        )

    def new_definitions(self) -> tuple[str, ...]:
        """Return the hashes of definitions that rows need which did not need them before."""
        return ()

    def next_deadline(self) -> float | None:
        """Return the earliest moment at which a row expires; None where none does."""
        return None
