"""Keys and names may be any text."""

from __future__ import annotations

from typing import Final

import pytest

from milepost.records import Committed, Conflict, Revision
from milepost.testing.suites.material import INCARNATION, commit_to, read, send, texts
from milepost.testing.suites.opening import AdapterSuite

__all__ = ["NamingSuite"]

STRANGE: Final = {
    "quotes": 'it\'s "quoted" `back` \\ slash',
    "sql": "'; DROP TABLE records; --",
    "wildcards": "100%_*?[a-z]{1}",
    "braces": "{tag}:{other}",
    "newlines": "line\nline\r\nline\ttab",
    "controls": "\x01\x1f\x7f\x85\u2028",
    "null": "before\0after",
    "only null": "\0",
    "space": " ",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈",
    "right to left": "\u202eabc\u202c עברית",
    "beyond the plane": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U0010ffff",
    "no character": "\ufffe\uffff\ufeff",
    "number": "1",
    "json": '{"$decimal": "1"}',
    "long": "x" * 100_000,
    "long and wide": "ü€😀" * 30_000,
}

ALIKE: Final = [
    "é",
    "e\u0301",
    "É",
    "E\u0301",
    "a",
    "A",
    "a ",
    " a",
    "a\0",
    "a\0b",
    "a\0c",
    "1",
    "01",
    "1.0",
    "ß",
    "ss",
]


class NamingSuite(AdapterSuite):
    """What keys, names and rows may hold."""

    @pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE.keys())
    async def test_any_text_is_a_key_and_a_name(self, text: str) -> None:
        """It is stored, compared, found, changed and removed like any other."""
        async with self.opened() as records:
            now = self.clock().time()
            await send(records, text, None, {text: "1", "other": "1"}, deadline=now + 5)
            assert (await read(records, text)).rows == texts({text: "1", "other": "1"})
            assert isinstance(await send(records, text, None, {text: "again"}), Conflict)
            revision = Revision(INCARNATION, 1)
            assert isinstance(await send(records, text, revision, {text: "2"}, deadline=now + 5), Committed)
            late = await send(records, text, revision, {text: "late"})
            assert isinstance(late, Conflict)
            assert late.now.rows.keys() >= {text}
            assert (await read(records, text)).rows == texts({text: "2", "other": "1"})
            assert [key async for key in records.keys("*")] == [text]
            assert await records.due(now + 5) == [text]
            revision = Revision(INCARNATION, 2)
            assert isinstance(await send(records, text, revision, drops=(text,)), Committed)
            assert (await read(records, text)).rows == texts({"other": "1"})
            revision = Revision(INCARNATION, 3)
            assert isinstance(await send(records, text, revision, drops=("other",), removes=True), Committed)
            assert await records.load([text]) == {}

    async def test_texts_that_look_alike_are_different(self) -> None:
        """Case, accents, spaces and what follows a NUL make another key, and another name."""
        async with self.opened() as records:
            epoch = await records.epoch()
            rows = {name: name for name in ALIKE}
            answers = await records.commit([commit_to(key, None, {**rows, "me": key}, epoch=epoch) for key in ALIKE])
            assert answers == [Committed()] * len(ALIKE)
            assert sorted([key async for key in records.keys("*")]) == sorted(ALIKE)
            for key in ALIKE:
                assert (await read(records, key)).rows == texts({**rows, "me": key})
                if "*" not in key:
                    assert [found async for found in records.keys(key)] == [key]

    async def test_large_rows_and_many_rows(self) -> None:
        """A row of a megabyte and a record of a thousand rows come back as they were."""
        async with self.opened() as records:
            bodies = {"large": "y" * 1_000_000, **{f"row {n}": f"{n}" for n in range(1000)}}
            await send(records, "a", None, bodies)
            assert (await read(records, "a")).rows == texts(bodies)
