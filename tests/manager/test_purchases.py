"""Real data: the CDNOW purchases give the answers that were worked out independently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from importlib.resources import files

from milepost import (
    AccumulationTracker,
    CountTracker,
    MemoryDataCache,
    TrackerAllCompleted,
    TrackerEvent,
    TrackerStageCompleted,
    TrackItem,
)
from tests.conftest import Place

SPEND = {50: 1059, 100: 615, 250: 224, 500: 76, 1000: 20}
ORDERS = {2: 1152, 5: 388, 10: 111, 25: 13}
SPENT = Decimal("233104.02")
"""What all spend trackers add up to: a customer's stops with the purchase that reaches the last target."""
TOTAL = Decimal("244091.94")
"""What all purchases add up to, by ``awk '{s += $5} END {printf "%.2f", s}'``."""
CUSTOMERS = 2357
PURCHASES = 6919


def purchases() -> Iterator[TrackItem]:
    """One group per customer; each line is an event with an id of its own."""
    text = files("milepost.cli.demo_data").joinpath("CDNOW_sample.txt").read_text("ascii")
    for number, line in enumerate(text.splitlines()):
        _, customer, _, _, amount = line.split()
        yield TrackItem(f"customer:{customer}", {"amount": amount}, f"line {number}")


async def test_every_customer_reaches_what_they_reached(place: Place) -> None:
    """Spend and orders of every customer are exact, over a restart in the middle and with everything sent twice."""
    items = list(purchases())
    assert len(items) == PURCHASES
    reached: Counter[tuple[str, object]] = Counter()

    def note(event: TrackerEvent) -> None:
        reached[event.name, event.tracker.target] += 1

    runs = [items[:4000], items[3000:], items[:500]]
    for run in runs:
        async with place.manager(data_cache=MemoryDataCache(max_groups=500)) as manager:
            manager.declare(
                "customer:*",
                AccumulationTracker("spend", [*SPEND], exact=True),
                CountTracker("orders", [*ORDERS]),
            )
            for code in (TrackerStageCompleted, TrackerAllCompleted):
                manager.add_listener(code, note)
            results = await manager.track_many(run)
            assert all(result.ok or result.duplicate for result in results)
            assert not any(result.rejected for result in results)
            if run is runs[1]:
                assert sum(result.duplicate for result in results) == 1000
    assert reached == {**{("spend", t): n for t, n in SPEND.items()}, **{("orders", t): n for t, n in ORDERS.items()}}
    async with place.manager() as manager:
        groups = [group async for group in manager.groups()]
        spent = [(await manager.get_trackers(group, "spend"))[0].progress for group in groups]
    assert len(groups) == CUSTOMERS
    assert sum(map(Decimal, spent)) == SPENT


async def test_the_total_is_exact_to_the_cent(place: Place) -> None:
    """All amounts as one exact sum are the total of the file, whatever order they come in."""
    async with place.manager() as manager:
        await manager.add_tracker("shop", AccumulationTracker("spend", 10**9, exact=True))
        await manager.track_many(("shop", item.data) for item in reversed(list(purchases())))
        (tracker,) = await manager.get_trackers("shop")
        assert tracker.progress == TOTAL
