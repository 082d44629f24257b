"""What all tracked containers share: their settings, who observes them, and what each kind brings of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Self

from milepost._clock import Clock
from milepost.changes.nesting import adopt, convert, inherited
from milepost.changes.notifying import Observer, Observers
from milepost.changes.snapshots import Snapshots
from milepost.changes.tracking import Link, gate, tell
from milepost.changes.values import ATOMIC, Plain, freeze, kept
from milepost.errors import InvalidDefinition

__all__ = ["TrackedContainer"]


class TrackedContainer(Plain):
    """A container with a log; :class:`~milepost.changes.remembering.Remembering` says what users do with that."""

    __slots__ = ()

    # Observers

    def tracking_add_observer(self, observer: Observer, priority: int = 50) -> None:
        """Call an observer with every entry of this container's log, after the change.

        What it returns is awaited where it can be: in a task of the running loop, else of the one that
        ran when it was added. An observer that raises is logged and counted, and harms nothing.

        Args:
            observer: a plain or async callable of one argument.
            priority: lower ones are called first, equal ones in the order of adding.

        Raises:
            TypeError: when the observer is not callable, or the priority is no whole number.
        """
        tracking = self._tracking
        with gate:
            if tracking.observers is None:
                tracking.observers = Observers()
            tracking.observers.add(observer, priority)
            tracking.settle()

    def tracking_remove_observer(self, observer: Observer) -> bool:
        """Stop calling an observer; return whether it was there."""
        tracking = self._tracking
        with gate:
            found = tracking.observers is not None and tracking.observers.remove(observer)
            tracking.settle()
        return found

    @property
    def tracking_observer_failures(self) -> int:
        """How often an observer of this container raised."""
        observers = self._tracking.observers
        return 0 if observers is None else observers.failures

    # What is captured

    @property
    def tracking_capture_snapshots(self) -> bool:
        """Whether entries have snapshots."""
        return self._tracking.snapshots is not None

    @tracking_capture_snapshots.setter
    def tracking_capture_snapshots(self, wanted: bool) -> None:
        tracking = self._tracking
        with gate:
            if not wanted:
                tracking.snapshots = None
            elif tracking.snapshots is None:
                tracking.snapshots = Snapshots(freeze(self))
            tracking.settle()

    @property
    def tracking_capture_stack(self) -> bool:
        """Whether entries say where in the program the change was made."""
        return self._tracking.captures_stacks

    @tracking_capture_stack.setter
    def tracking_capture_stack(self, wanted: bool) -> None:
        with gate:
            self._tracking.captures_stacks = bool(wanted)
            self._tracking.settle()

    # What the kinds of containers share

    def _tracking_setup(
        self,
        *,
        history: Any = None,
        name: str | None = None,
        auto_convert: bool | None = None,
        capture_snapshots: bool | None = None,
        capture_stack: bool | None = None,
        redact: Iterable[str] = (),
        observers: Iterable[Observer] = (),
        clock: Clock | None = None,
    ) -> None:
        """Take the settings. What is None stays as it is."""
        tracking = self._tracking
        if history is not None:
            tracking.limit(history)
        if name is not None:
            if not isinstance(name, str):
                raise InvalidDefinition(f"tracking_name must be text, got {name!r}")
            tracking.name = name
        if isinstance(redact, str):
            raise InvalidDefinition(f"tracking_redact must be a collection of names, got the text {redact!r}")
        tracking.hide(redact)
        if clock is not None:
            tracking.clock, tracking.now = clock, clock.time
        if auto_convert is not None:
            tracking.auto_convert = bool(auto_convert)
        self._tracking_settle_children()
        tracking.ready = True
        if capture_snapshots is not None:
            self.tracking_capture_snapshots = capture_snapshots
        if capture_stack is not None:
            self.tracking_capture_stack = capture_stack
        for observer in observers:
            self.tracking_add_observer(observer)
        if tracking.observers is not None and tracking.observers.hear_init():
            tracking.observers.tell(tracking.entry(tracking.born(self)))

    def _tracking_take(self, value: Any) -> Any:
        """Return a value as this container stores it: converted where that was asked for."""
        if value.__class__ in ATOMIC or not self._tracking.auto_convert:
            return value
        return convert(value, inherited(self._tracking))

    def _tracking_adopt(self, value: Any, key: Any) -> None:
        """Note that a value has come; a tracked one reports here from now on."""
        if value.__class__ not in ATOMIC and isinstance(value, TrackedContainer):
            adopt(self, value, key)

    def _tracking_release(self, value: Any) -> None:
        """Note that a value has gone; a tracked one reports here no longer."""
        if value.__class__ not in ATOMIC and isinstance(value, TrackedContainer):
            value._tracking.let_go_by(self)

    def _tracking_before_removal(self) -> None:
        """Let a batch note the order of things, where there is one."""
        tracking = self._tracking
        if tracking.busy:
            for owner, _ in tracking.owners(self):
                if owner.batch is not None:
                    owner.batch.note_order(self)
                    return

    def _tracking_tree(self) -> Iterator[TrackedContainer]:
        """Iterate over this container and all tracked ones in it, each once."""
        pending: list[TrackedContainer] = [self._tracking_holder()]
        seen: set[int] = set()
        while pending:
            container = pending.pop()
            if id(container) not in seen:
                seen.add(id(container))
                yield container
                pending += [
                    child._tracking_holder()
                    for child in container._tracking_values()
                    if isinstance(child, TrackedContainer)
                ]

    def _tracking_holder(self) -> TrackedContainer:
        """Return the container that holds the values."""
        return self

    def _tracking_change(self, action: str, location: Any, old: Any, new: Any) -> None:
        """Change this container as :func:`milepost.changes.edits.edit` does, and log it."""
        tracking = self._tracking
        if tracking.locked:
            tracking.refuse()
        with gate:
            self._tracking_edit(location, old, new)
            heard = tracking.record(self, action, location, kept(old), kept(new))
        if heard:
            tell(heard)

    @abstractmethod
    def _tracking_settle_children(self) -> None:
        """Convert and adopt what is already here."""

    @abstractmethod
    def _tracking_values(self) -> Iterable[Any]:
        """Return the values in which tracked containers may be."""

    @abstractmethod
    def _tracking_keys_of(self, child: Any, link: Link) -> list[Any]:
        """Return where a child is."""

    @abstractmethod
    def _tracking_edit(self, location: Any, old: Any, new: Any) -> None:
        """Change this container as :func:`milepost.changes.edits.edit` does, without logging it."""

    @abstractmethod
    def _tracking_blank(self) -> Self:
        """Return an empty container of this type, with these settings."""

    def _tracking_reorder(self, order: list[Any]) -> None:
        """Put keys into an order again."""
