"""dictrack 2.1.5 with its memory cache, repaired just enough to track and not a step slower.

Two things stand between its memory cache and a first count:

* The cache sets ``tracker.dirtied = False`` after every move, but ``dirtied`` is a property without
  a setter: the first datum that matches raises AttributeError. Here it gets the setter.
* The only data store is MongoDB, and a manager needs one. Here it gets one that keeps trackers in a
  dict; ``track`` does not come near it once a group is cached.

Whatever else it does is its own code. It is called as it is meant to be, without asyncio, and so pays
for no coroutine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

__all__ = [
    "MISSING_NOTE",
    "dictrack_is_installed",
    "dictrack_manager",
    "dictrack_manager_on_redis",
    "dictrack_tracker",
]

MISSING_NOTE = 'dictrack is not installed: pip install "dictrack[memory]==2.1.5"'


def dictrack_is_installed() -> bool:
    """Whether the peer is there."""
    return find_spec("dictrack") is not None


def _give_dirtied_a_setter() -> None:
    from dictrack.trackers.base import BaseTracker  # type: ignore[import-untyped]

    def set_dirtied(tracker: Any, value: bool) -> None:
        tracker._dirtied = value

    if BaseTracker.dirtied.fset is None:
        BaseTracker.dirtied = BaseTracker.dirtied.setter(set_dirtied)


def _dict_store() -> Any:
    from dictrack.data_stores.base import BaseDataStore  # type: ignore[import-untyped]

    class DictStore(BaseDataStore):  # type: ignore[misc]  # dictrack has no types
        def __init__(self) -> None:
            super().__init__()
            self.groups: dict[str, dict[str, Any]] = {}

        def store(self, group_id: str, tracker: Any, **settings: Any) -> None:
            self.groups.setdefault(group_id, {})[tracker.name] = tracker

        def store_all(self, group_id: str, trackers: list[Any], **settings: Any) -> None:
            self.groups.setdefault(group_id, {}).update((tracker.name, tracker) for tracker in trackers)

        def load(self, group_id: str, name: str | None = None, **settings: Any) -> tuple[bool, list[Any]]:
            found = self.groups.get(group_id, {})
            return True, [tracker for tracker in found.values() if name is None or tracker.name == name]

        def remove(self, group_id: str, name: str | None = None, **settings: Any) -> None:
            if name is None:
                self.groups.pop(group_id, None)
            else:
                self.groups.get(group_id, {}).pop(name, None)

        def flush(self) -> None:
            self.groups.clear()

        def _check_expire(self) -> None:
            pass

    return DictStore()


@contextmanager
def dictrack_manager() -> Iterator[Any]:
    """A manager of dictrack's over memory alone; its schedulers are stopped at the end."""
    from dictrack.data_caches.memory import MemoryDataCache  # type: ignore[import-untyped]
    from dictrack.manager import TrackingManager  # type: ignore[import-untyped]

    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    _give_dirtied_a_setter()
    manager = TrackingManager(MemoryDataCache(), _dict_store())
    try:
        yield manager
    finally:
        manager.data_cache.scheduler.shutdown(wait=False)
        manager.data_store.scheduler.shutdown(wait=False)


@contextmanager
def dictrack_manager_on_redis(port: int) -> Iterator[Any]:
    """A manager of dictrack's with its Redis cache, as it is; None where what that needs is not installed."""
    try:
        from dictrack.data_caches.redis import RedisDataCache  # type: ignore[import-untyped]
        from dictrack.manager import TrackingManager
    except ImportError:
        yield None
        return
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    manager = TrackingManager(RedisDataCache(host="127.0.0.1", port=port), _dict_store())
    try:
        yield manager
    finally:
        manager.data_cache.scheduler.shutdown(wait=False)
        manager.data_store.scheduler.shutdown(wait=False)


def dictrack_tracker() -> Callable[[str, int, str, Any], Any]:
    """Return what makes a count tracker of a name, a target, and one condition's key and value."""
    from dictrack.conditions.keys import KeyValueEQ  # type: ignore[import-untyped]
    from dictrack.trackers.numerics.count import CountTracker  # type: ignore[import-untyped]

    def make(name: str, target: int, key: str, value: Any) -> Any:
        return CountTracker(name, [KeyValueEQ(key, value)], target)

    return make
