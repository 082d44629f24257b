"""Where each tracker lies in a document that this process has read or written, as long as nobody else changes it.

A tracker's sub-document is written by its position. A layout belongs to one revision, and
every write is guarded by that revision, so a position is never taken from another state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from milepost.backends.mongodb.documents import Document, is_removed, names_in, revision_of
from milepost.backends.mongodb.driver import encode
from milepost.records import Revision

__all__ = ["Layout", "Layouts"]

_NAMES: Final = 1_000_000
"""How many positions to remember in all, which takes some 100 MB at most."""


@dataclass(slots=True)
class Layout:
    """The positions of a record's trackers by name, and about how many bytes the document takes, if that is known."""

    revision: Revision
    positions: dict[str, int]
    size: int | None

    def without(self, names: Iterable[str], revision: Revision) -> Layout:
        """Return what is left when trackers are dropped: those behind them move up."""
        gone = set(names)
        left = [name for name in self.positions if name not in gone]
        return Layout(revision, {name: n for n, name in enumerate(left)}, self.size)


class Layouts:
    """Layouts by key; those used least recently are forgotten."""

    def __init__(self) -> None:
        self._layouts: OrderedDict[str, Layout] = OrderedDict()
        self._names = 0

    def find(self, key: str, revision: Revision) -> Layout | None:
        """Return the layout that a record has at a revision, None where it is not known."""
        layout = self._layouts.get(key)
        if layout is None or layout.revision != revision:
            return None
        self._layouts.move_to_end(key)
        return layout

    def latest(self, key: str) -> Revision | None:
        """Return the revision at which a record was seen last."""
        layout = self._layouts.get(key)
        return layout.revision if layout is not None else None

    def keep(self, key: str, layout: Layout | None) -> None:
        """Remember a layout; None forgets the one that is known."""
        before = self._layouts.pop(key, None)
        if before is not None:
            self._names -= len(before.positions) + 1
        if layout is not None:
            self._layouts[key] = layout
            self._names += len(layout.positions) + 1
            while self._names > _NAMES and len(self._layouts) > 1:
                _, oldest = self._layouts.popitem(last=False)
                self._names -= len(oldest.positions) + 1

    def learn(self, document: Document, *, part: bool = False) -> None:
        """Remember the layout of a document that was read.

        Args:
            document: the document.
            part: there is more in it than was read.
        """
        if is_removed(document):
            self.keep(document["_id"], None)
            return
        positions = {name: n for n, name in enumerate(names_in(document["trackers"]))}
        size = None if part else len(encode(document))
        self.keep(document["_id"], Layout(revision_of(document), positions, size))

    def clear(self) -> None:
        """Forget all layouts."""
        self._layouts.clear()
        self._names = 0
