"""What Redis holds, whatever the partitions: filled with one of each kind, and read back to be compared."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, NamedTuple

import redis as driver

from milepost import AccumulationTracker, CountTracker, RedisDataCache, TrackingManager
from milepost._partitions import partition_of
from milepost.backends.redis.keys import Keys
from milepost.data_stores.base import BaseDataStore


class Contents(NamedTuple):
    """Everything under a prefix, by record."""

    records: dict[str, dict[str, Any]]
    unsaved: dict[str, float]
    deadlines: dict[str, float]
    events: dict[str, list[str]]
    ids: dict[bytes, str]
    definitions: dict[str, str]


def manager_over(
    url: str, prefix: str, partitions: int, store: BaseDataStore | None = None, **settings: Any
) -> TrackingManager:
    """Return a manager, not started."""
    cache = RedisDataCache.from_url(url, key_prefix=prefix, partitions=partitions)
    return TrackingManager(cache, store, **settings)


async def fill(manager: TrackingManager, groups: int) -> None:
    """Have groups of each kind: moved, limited, expiring, with event ids, removed, large; and subjects."""
    for n in range(groups):
        group = f"g{n}"
        trackers = [CountTracker("n", [2, 1000]), AccumulationTracker("sum", 10_000 + n % 7, key="amount")]
        await manager.add_trackers(group, trackers, expire=86_400 if n % 3 == 0 else None)
        for times in range(1 + n % 4):
            await manager.track(group, {"amount": n}, event_id=f"{n} {times}" if n % 2 else None)
        if n % 10 == 9:
            await manager.remove_tracker(group)
    await manager.add_trackers("large", [CountTracker(f"t{n}", 5) for n in range(1500)])
    await manager.track("large", {})
    for n in range(10):
        await (await manager.subject(f"s{n}")).set("value", n)
    await manager.settle()


def connect(url: str) -> Any:
    """Return a client that waits."""
    if "+cluster" in url:
        return driver.RedisCluster.from_url(url.replace("+cluster", ""))
    return driver.Redis.from_url(url)


def contents(url: str, prefix: str, partitions: int) -> Contents:
    """Read everything, and check that all of it is in the partition where it belongs."""
    client = connect(url)
    try:
        return _contents(client, Keys(prefix, partitions), partitions)
    finally:
        client.close()


def _contents(client: Any, keys: Keys, partitions: int) -> Contents:
    generation = int(client.hget(keys.state(0), "generation"))
    keys = keys.in_generation(generation)
    found = Contents(defaultdict(dict), {}, {}, defaultdict(list), {}, {})
    needed: dict[int, set[str]] = defaultdict(set)
    for name in client.scan_iter(match=keys.pattern("?"), count=1000):
        kind, its_generation, key = Keys.parse(name)
        if kind in ("", "e", "d", "i", "o", "u", "t"):
            continue
        assert its_generation == generation, name
        number = keys.partition_by_tag(name)
        assert number == partition_of(key, partitions), f"{name!r} is in a partition where it does not belong"
        record = found.records[key]
        if kind == "r":
            record[kind] = client.hgetall(name)
            for field, text in record[kind].items():
                if field.startswith(b"r") and text.startswith(b"["):
                    needed[number].add(json.loads(text)[0])
        else:
            record[kind] = client.zrange(name, 0, -1, withscores=True) if kind == "l" else client.lrange(name, 0, -1)
        record[kind + " ends"] = client.pttl(name) > 0
    for number in range(partitions):
        _read_partition(client, keys, number, needed[number], found)
    return found


def _read_partition(client: Any, keys: Keys, number: int, needed: set[str], found: Contents) -> None:
    there = {hash.decode(): text.decode() for hash, text in client.hgetall(keys.of(number, "d")).items()}
    assert needed <= there.keys(), "a partition lacks definitions that its rows need"
    found.definitions.update({hash: there[hash] for hash in needed})
    for index, kind in ((found.unsaved, "u"), (found.deadlines, "t")):
        for name, score in client.zrange(keys.of(number, kind), 0, -1, withscores=True):
            assert partition_of(name.decode(), keys.partitions) == number
            index[name.decode()] = score
    texts = {}
    for position, fields in client.xrange(keys.of(number, "o")):
        texts[position] = text = fields[b"e"].decode()
        found.events[json.loads(text)["subject"]].append(text)
    for id, where in client.hgetall(keys.of(number, "i")).items():
        found.ids[id] = texts[where[8:]]


def leftovers(url: str, prefix: str, before: int, after: int) -> list[bytes]:
    """Return keys of the old partitions that are still there, apart from what turns late processes away."""
    client = connect(url)
    old, new = Keys(prefix, before), Keys(prefix, after)
    try:
        return [
            name
            for name in client.scan_iter(match=old.pattern("?"), count=1000)
            if not new.has(name) and Keys.parse(name)[0] != "e"
        ]
    finally:
        client.close()
