"""A commit is carried out, and the network cuts its reply off."""

from __future__ import annotations

import asyncio
import json

import pytest

from milepost import CommitUncertain, CountTracker, ManagerClosed, TrackerStageCompleted
from tests.interleavings.setups import OVER_A_NETWORK, SetUp, progress_of

over_a_network = pytest.mark.parametrize("setup", OVER_A_NETWORK, indirect=True)


def announces(request: bytes) -> bool:
    """Whether a request carries the milestone of these tests."""
    return b"tracker.stage_completed" in request


async def milestones_in_the_outbox(setup: SetUp) -> list[str]:
    """Return the ids of the milestones that were committed, as another process reads them."""
    async with setup.manager() as other:
        bodies = [json.loads(text) for _, text in await other._authority.outbox()]
    return [body["id"] for body in bodies if body["type"] == "tracker.stage_completed"]


@over_a_network
async def test_it_counts_once_and_is_announced_once(setup: SetUp) -> None:
    """The caller is told that it is done, listeners hear of the milestone once, and it is once in the outbox."""
    heard: list[str] = []
    async with setup.proxied() as (manager, proxy):
        manager.on_event(TrackerStageCompleted)(lambda event: heard.append(event.id))
        await manager.add_tracker("g", CountTracker("n", [2, 10]))
        await manager.track("g", {})
        proxy.lose_reply_to(announces)
        result = await manager.track("g", {})
        assert proxy.lost_replies == 1
        assert [tracker.progress for tracker in result.dirtied] == [2]
        assert await progress_of(manager) == {"n": 2}
    assert heard == [event.id for event in result.events] == await milestones_in_the_outbox(setup)
    assert len(heard) == 1


@over_a_network
async def test_it_counts_once_also_where_another_won_the_next_race(setup: SetUp) -> None:
    """Before the commit is asked for again another process has changed the group: it is known all the same."""
    async with setup.proxied() as (manager, proxy), setup.manager() as other:
        await manager.add_tracker("g", CountTracker("n", [2, 100]))
        await manager.track("g", {})
        lost = asyncio.Event()

        def announces_and_waits(request: bytes) -> bool:
            if not announces(request):
                return False
            lost.set()
            return True

        proxy.lose_reply_to(announces_and_waits)
        tracking = asyncio.ensure_future(manager.track("g", {}))
        await lost.wait()
        others = [await other.track("g", {}) for _ in range(5)]
        assert (await tracking).dirtied[0].progress in (2, 3)
        assert all(result.dirtied for result in others)
        assert await progress_of(manager) == await progress_of(other) == {"n": 7}
    ids = await milestones_in_the_outbox(setup)
    assert len(ids) == len(set(ids)) == 1


@over_a_network
async def test_an_event_id_settles_what_cannot_be_learned(setup: SetUp) -> None:
    """However often a caller asks again with the id of what happened, it counts once."""
    async with setup.proxied() as (manager, proxy):
        await manager.add_tracker("g", CountTracker("n", [2, 10]))
        await manager.track("g", {}, event_id="first")
        proxy.lose_reply_to(announces)
        await manager.track("g", {}, event_id="second")
        for _ in range(3):
            assert (await manager.track("g", {}, event_id="second")).duplicate
        assert await progress_of(manager) == {"n": 2}


@pytest.mark.parametrize("setup", ["redis"], indirect=True)
async def test_closing_meanwhile_tells_who_waits(setup: SetUp) -> None:
    """Whoever waits when the manager is closed is told: what was sent may have been applied, the rest was not."""
    async with setup.proxied(close_timeout=0.01) as (manager, proxy):
        await manager.add_tracker("g", CountTracker("sought", 10))
        await manager.track("g", {})
        held = proxy.hold_reply_to(lambda request: b"sought" in request)
        sent = asyncio.ensure_future(manager.track("g", {}))
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(manager.track("g", {}))
        await held
        await manager.aclose()
        with pytest.raises(CommitUncertain):
            await sent
        with pytest.raises(ManagerClosed):
            await waiting
