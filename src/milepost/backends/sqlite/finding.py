"""Looking records up by their rows, through an index over short properties. All of it blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from milepost.lookups import RowIs, end_of

__all__ = ["find_after"]

_PAGE: Final = 500

_INDEXED: Final = "substr(name, 1, 2) = 'p:' AND length(body) <= 200"
"""The conditions of the index, as it has them."""
_HAS_ROW: Final = "EXISTS (SELECT 1 FROM rows AS own WHERE own.key = found.key{})"


def find_after(connection: sqlite3.Connection, prefix: str, conditions: Sequence[RowIs], after: str) -> list[str]:
    """Return the next keys, in order, of records for which all conditions hold; none where there are no more.

    Args:
        connection: within a transaction.
        prefix: what the keys begin with.
        conditions: on their rows.
        after: the last key that was found; empty at the beginning.
    """
    bounds = f"key {'>' if after else '>='} ? AND key < ?"
    within = [after or prefix, end_of(prefix)]
    every = f"SELECT key FROM records AS found WHERE {bounds} AND {_HAS_ROW.format('')}"
    looked_up = sorted((one for one in conditions if one.texts), key=_says_little)
    if not looked_up:
        filters, values = _filters(conditions)
        return _keys(connection, [f"{every}{filters}"], [*within, *values])
    first = looked_up[0]
    filters, values = _filters([one for one in conditions if one is not first])
    parts: list[str] = []
    arguments: list[Any] = []
    for text in first.texts:  # each by the index, so that all are in order
        parts.append(f"SELECT key FROM rows AS found WHERE name = ? AND body = ? AND {_INDEXED} AND {bounds}{filters}")
        arguments += [first.name, text, *within, *values]
    if first.or_absent:
        parts.append(f"{every} AND NOT {_HAS_ROW.format(' AND own.name = ?')}{filters}")
        arguments += [*within, first.name, *values]
    return _keys(connection, parts, arguments)


def _says_little(condition: RowIs) -> tuple[bool, int]:
    """Return what sorts conditions: those come first by which few records should be found."""
    return condition.or_absent, -len(condition.texts[0])


def _keys(connection: sqlite3.Connection, parts: Sequence[str], arguments: Sequence[Any]) -> list[str]:
    rows = connection.execute(f"{' UNION ALL '.join(parts)} ORDER BY key LIMIT {_PAGE}", arguments)
    return [key for (key,) in rows]


def _filters(conditions: Sequence[RowIs]) -> tuple[str, list[Any]]:
    """Return further conditions on the record ``found``, and their values."""
    clauses = ""
    values: list[Any] = []
    for name, texts, or_absent in conditions:
        body = f" AND own.body IN ({', '.join('?' * len(texts))})" if texts else ""
        clause = _HAS_ROW.format(f" AND own.name = ?{body}")
        values += [name, *texts]
        if or_absent:
            clause = f"({clause} OR NOT {_HAS_ROW.format(' AND own.name = ?')})"
            values.append(name)
        clauses += f" AND {clause}"
    return clauses, values
