"""Looking records up by what their rows hold: a capability that some stores have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

__all__ = ["LONGEST_TEXT", "RowIndex", "RowIs", "end_of"]

LONGEST_TEXT: Final = 200
"""Rows whose text is longer cannot be looked up by it."""


class RowIs(NamedTuple):
    """A condition on one row of a record."""

    name: str
    texts: Sequence[str]
    """What the row may be, as ``Row.encoded`` returns it; none: it must be there, whatever it is."""
    or_absent: bool = False
    """Whether a record without such a row is wanted too."""


class RowIndex(ABC):
    """A store that can be asked for records by their rows, without its reading them all."""

    @abstractmethod
    def find(self, prefix: str, conditions: Sequence[RowIs]) -> AsyncIterator[str]:
        """Iterate over the keys of records for which all conditions hold, sorted.

        Args:
            prefix: what their keys begin with.
            conditions: none for all records; their texts are at most ``LONGEST_TEXT`` long, and their names
                begin with ``p:``.

        Raises:
            StoreUnavailable: when the store does not answer.
        """


def end_of(prefix: str) -> str:
    """Return the first text that comes after all that begin with a prefix, in the order of code points."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
