"""What the drafts of trackers and of subjects have in common: rows, events and ids, and the commit made of them."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

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
        record = self.record
        if self.is_empty:
            return Commit(record.key, epoch, record.revision, record.incarnation, serial=record.serial)
        leaves_nothing = (
            not self.puts
            and not self.seen
            and not record.seen
            and len(self.drops) == len(record.rows) + len(record.broken or ())
        )
        more: dict[str, Any] = self.more_of_commit()
        return Commit(
            key=record.key,
            epoch=epoch,
            base=record.revision,
            incarnation=self.incarnation,
            puts=self.puts,
            drops=tuple(self.drops),
            events=self.events,
            seen=tuple(self.seen),
            removes=leaves_nothing and record.counter > 0,
            id=id,
            **more,
        )

    def more_of_commit(self) -> dict[str, Any]:
        """Return what else the commit says, by the names of its fields."""
        return {"serial": self.record.serial}
