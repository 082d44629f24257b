"""The statements that decide a commit: where records stand, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from milepost.records import Commit, Revision

if TYPE_CHECKING:
    import aiosqlite

__all__ = ["PUT_RECORD", "PUT_ROW", "Standing", "among", "read_epoch_and_standings", "read_standings"]

_ID: Final = 16
_COMMITS_OF_A_RECORD: Final = 16

_STANDINGS: Final = "SELECT key, incarnation, counter, serial, shrunk, deadline, commits FROM records WHERE key "
_EPOCH: Final = "SELECT NULL, value, 0, 0, 0, NULL, NULL FROM meta WHERE name = 'epoch' UNION ALL "

PUT_RECORD: Final = (
    "INSERT INTO records (key, incarnation, counter, serial, shrunk, deadline, commits) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (key) DO UPDATE SET incarnation = excluded.incarnation, counter = excluded.counter, "
    "serial = excluded.serial, shrunk = max(shrunk * (incarnation = excluded.incarnation), excluded.shrunk), "
    "deadline = excluded.deadline, "
    f"commits = coalesce(substr(CAST(excluded.commits || commits AS BLOB), 1, {_ID * _COMMITS_OF_A_RECORD}), x'')"
)
PUT_ROW: Final = (
    "INSERT INTO rows (key, name, counter, body) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (key, name) DO UPDATE SET counter = excluded.counter, body = excluded.body"
)


class Standing:
    """Where a record stands, as a transaction found it."""

    __slots__ = ("_commits", "deadline", "revision", "serial", "shrunk")

    def __init__(self, row: tuple[Any, ...]) -> None:
        _, incarnation, counter, self.serial, self.shrunk, self.deadline, self._commits = row
        self.revision = Revision(incarnation, counter)

    def commit_ids(self) -> list[bytes]:
        """Return the ids of the last commits, the newest first."""
        return [self._commits[start : start + _ID] for start in range(0, len(self._commits), _ID)]

    def has_applied(self, commit: Commit) -> bool:
        """Whether a commit is among the last ones; one whose base still stands cannot be."""
        return commit.base != self.revision and commit.id in self.commit_ids()


def among(values: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """Return ``IN (?, ...)`` for values, and the values to bind.

    The number of marks is a power of two, so that few statements have to be compiled; the
    last value fills up. (A JSON list would be one mark, but ends at the first NUL in a text.)
    """
    if not values:
        return "IN ()", values
    size = 1 << (len(values) - 1).bit_length()
    return f"IN ({','.join('?' * size)})", [*values, *[values[-1]] * (size - len(values))]


async def read_standings(connection: aiosqlite.Connection, keys: Sequence[str]) -> dict[str, Standing]:
    """Return where records stand; those that do not exist are absent."""
    where, values = among(keys)
    rows = await connection.execute_fetchall(_STANDINGS + where, values)
    return {row[0]: Standing(tuple(row)) for row in rows}


async def read_epoch_and_standings(
    connection: aiosqlite.Connection, keys: Sequence[str]
) -> tuple[int, dict[str, Standing]]:
    """Return the epoch and where records stand, in one statement."""
    where, values = among(keys)
    (_, epoch, *_), *rows = await connection.execute_fetchall(_EPOCH + _STANDINGS + where, values)
    return epoch, {row[0]: Standing(tuple(row)) for row in rows}
