"""Rows of subjects: JSON objects that need no definition, beside the lists that trackers are kept as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from milepost.codec import dumps
from milepost.records import Commit, Committed, Conflict, Outcome, Revision
from milepost.testing.suites.material import INCARNATION, SuiteEvent, SuiteProperty, commit_to, read
from milepost.testing.suites.opening import AdapterSuite

__all__ = ["BODIES", "KEY", "PropertySuite", "properties", "property_texts"]

KEY: Final = "$subject:user-1"
FIRST: Final = Revision(INCARNATION, 1)

BODIES: Final[dict[str, Any]] = {
    "p:name": "Ada",
    "p:of.dots$and\0nul": None,
    "p:nested": {"a": [1, 2.5, True, None, {"$decimal": "1.50"}], "": {}},
    "p:wide": "ü€😀\u2028",
    "p:large": 2**63 - 1,
    "e:name": [],
}


def properties(bodies: Mapping[str, Any]) -> dict[str, SuiteProperty]:
    """Return rows by name."""
    return {name: SuiteProperty(name, dumps({"v": body})) for name, body in bodies.items()}


def property_texts(bodies: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of rows by name."""
    return {name: row.encoded() for name, row in properties(bodies).items()}


class PropertySuite(AdapterSuite):
    """What records promise that hold properties."""

    async def _send(
        self, records: Any, base: Revision | None, bodies: Mapping[str, Any], **fields: Any
    ) -> tuple[Outcome, Commit]:
        commit = commit_to(KEY, base, epoch=await records.epoch(), **fields)
        commit.puts = properties(bodies)
        (outcome,) = await records.commit([commit])
        return outcome, commit

    async def test_properties_need_no_definition(self) -> None:
        """They are stored, changed, dropped and read back as the text they are, while no definition is there."""
        async with self.opened() as records:
            await records.flush()
            outcome, _ = await self._send(records, None, BODIES, events=[SuiteEvent("changed", "subject.changed")])
            assert outcome == Committed()
            assert (await read(records, KEY)).rows == property_texts(BODIES)
            outcome, _ = await self._send(records, FIRST, {"p:name": "Grace"}, drops=("p:nested",))
            assert outcome == Committed()
            rest = {name: body for name, body in BODIES.items() if name != "p:nested"}
            now = await read(records, KEY)
            assert now.rows == property_texts({**rest, "p:name": "Grace"})
            assert now.revision == Revision(INCARNATION, 2)

    async def test_properties_of_a_lost_race(self) -> None:
        """Who comes too late is told what changed; the same commit again is committed already."""
        async with self.opened() as records:
            outcome, commit = await self._send(records, None, BODIES)
            assert outcome == Committed()
            assert await records.commit([commit]) == [Committed()]
            await self._send(records, FIRST, {"p:name": "Grace"})
            late, _ = await self._send(records, FIRST, {"p:name": "late"})
            assert isinstance(late, Conflict)
            told = {name: row if isinstance(row, str) else row.encoded() for name, row in late.now.rows.items()}
            assert told["p:name"] == '{"v":"Grace"}'
            assert late.now.state.revision == Revision(INCARNATION, 2)

    async def test_properties_and_trackers_in_one_commit_batch(self) -> None:
        """A round may carry records of both kinds; each has its own rows."""
        async with self.opened() as records:
            epoch = await records.epoch()
            subject = commit_to(KEY, None, epoch=epoch)
            subject.puts = properties(BODIES)
            group = commit_to("group", None, {"x": "1"}, epoch=epoch)
            assert await records.commit([subject, group]) == [Committed(), Committed()]
            assert (await read(records, KEY)).rows == property_texts(BODIES)
            assert (await read(records, "group")).rows.keys() == {"x"}
            assert sorted([key async for key in records.keys("*")]) == [KEY, "group"]
            assert [key async for key in records.keys("$subject:*")] == [KEY]

    async def test_a_subject_that_is_removed(self) -> None:
        """With its last row it is gone."""
        async with self.opened() as records:
            await self._send(records, None, BODIES)
            outcome, _ = await self._send(records, FIRST, {}, drops=tuple(BODIES), removes=True)
            assert outcome == Committed()
            assert await records.load([KEY]) == {}
