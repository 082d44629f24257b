"""Batches: changes that are logged as one, or all taken back."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from milepost.changes.actors import current_actor
from milepost.changes.entries import Row, numbers
from milepost.changes.stacks import capture_stack
from milepost.changes.tracking import Heard, Tracking, gate, hear, tell
from milepost.changes.values import MISSING, WHOLE, live

if TYPE_CHECKING:
    from milepost.changes.containers import TrackedContainer

__all__ = ["Batch"]


class Batch:
    """A ``with`` block over a container and all that it holds.

    When the block ends, its changes become one entry in each log that they concern, and observers
    hear of it; when it raises, they are taken back and nobody hears of them. Whoever else changes
    the container meanwhile takes part.

    Args:
        container: the container.
        action: what the entry is called.
        about: the number of the row that this undoes or does again.
    """

    def __init__(self, container: TrackedContainer, action: str = "batch", about: int = 0) -> None:
        self._container = container
        self._action = action
        self._about = about
        self._outer: Batch | None = None
        self._steps: list[tuple[TrackedContainer, list[tuple[Tracking, Row]]]] = []
        self._orders: dict[int, tuple[Any, list[Any]]] = {}

    def __enter__(self) -> Self:
        tracking = self._container._tracking
        with gate:
            if tracking.locked:
                tracking.refuse()
            self._outer = tracking.batch
            tracking.batch = self
            tracking.busy = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tracking = self._container._tracking
        heard: Heard | None = None
        with gate:
            tracking.batch = self._outer
            if error is None:
                heard = self._commit()
            else:
                self._take_back()
            tracking.settle()
        if heard:
            tell(heard)

    def note(self, holder: TrackedContainer, owned: list[tuple[Tracking, Row]]) -> None:
        """Take a change, with the rows it means for each log."""
        self._steps.append((holder, owned))

    def note_order(self, holder: Any) -> None:
        """Remember the order of a dict's keys, before the first of them is removed."""
        if id(holder) not in self._orders:
            self._orders[id(holder)] = (holder, list(holder))

    def _commit(self) -> Heard | None:
        container = self._container
        owners = container._tracking.owners(container)
        outer = next((owner.batch for owner, _ in owners if owner.batch is not None), None)
        if outer is not None:
            for saved in self._orders.values():
                outer._orders.setdefault(id(saved[0]), saved)
            outer._steps.extend(self._steps)
            return None
        concerned: dict[int, tuple[Tracking, list[Row]]] = {}
        for _, owned in self._steps:
            for owner, row in owned:
                concerned.setdefault(id(owner), (owner, []))[1].append(row)
        number, now, actor = numbers.next(), container._tracking.now(), current_actor()
        entered = []
        for owner, rows in concerned.values():
            if self._about and len(rows) == 1:
                row = rows[0]._replace(number=number, action=self._action, about=self._about)
            else:
                stack = capture_stack() if owner.captures_stacks else None
                row = Row(
                    number, now, self._action, WHOLE, MISSING, MISSING, actor, container._tracking,
                    (), (), None, stack, tuple(rows), self._about,
                )  # fmt: skip
            entered.append((owner, owner.enter(row)))
        return hear(entered)

    def _take_back(self) -> None:
        for holder, owned in reversed(self._steps):
            row = owned[0][1]
            holder._tracking_edit(row.location, live(row.new), live(row.old))
        for holder, order in self._orders.values():
            holder._tracking_reorder(order)
