"""A process that is killed: what was acknowledged is in the store, and a retry with the same event id counts once."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.durability.doses import dose, seeded
from tests.durability.workers import Worker, check_milestones, look_at

TARGETS = [10, 20, 50, 100, 150, 10_000]
GROUPS = ("g0", "g1", "g2")


@pytest.mark.survival
@pytest.mark.slow
def test_killed_in_mid_stream(shared_place: Path | str) -> None:
    """Nothing acknowledged is lost, nothing retried is counted twice, no milestone is missing or comes twice."""
    chance = seeded("killed in mid-stream")
    kills = dose(5, 150)
    total = kills * 60
    events = {f"event {n}": GROUPS[n % len(GROUPS)] for n in range(total)}
    acknowledged: dict[str, str] = {}
    tried: set[str] = set()
    caused: list[str] = []
    mid_stream = 0
    for _ in range(kills):
        left = [(group, id) for id, group in events.items() if id not in acknowledged]
        worker = Worker(shared_place, left, targets=TARGETS, tasks=chance.randint(1, 8), synchronous="FULL")
        worker.begin()
        worker.wait_for("done", chance.randint(1, 40))
        time.sleep(chance.random() * 0.002)  # another moment of the commit each time
        done = worker.kill()
        mid_stream += "finished" not in worker.words
        tried.update(id for _, id in left[: len(done) + 8])
        for item in done:
            assert item.id not in acknowledged
            acknowledged[item.id] = item.group
            caused += item.caused
        found = look_at(shared_place, TARGETS)
        counted, told = Counter(found.progress), Counter(acknowledged.values())
        for group in GROUPS:
            attempted = sum(events[id] == group for id in tried)
            assert told[group] <= counted[group] <= attempted, f"{group}: acknowledged, in the store, attempted"
        check_milestones(found, TARGETS)
        assert set(caused) <= {id for id, *_ in found.milestones}, "a milestone was told that is not in the outbox"
    left = [(group, id) for id, group in events.items() if id not in acknowledged]
    worker = Worker(shared_place, left, targets=TARGETS)
    worker.begin()
    worker.finish()
    found = look_at(shared_place, TARGETS)
    print(f"{kills} kills, {mid_stream} in mid-stream, {total} events: {found.progress}")
    assert mid_stream
    assert found.progress == Counter(events.values())
    check_milestones(found, TARGETS)
