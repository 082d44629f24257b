"""``TrackingManager``: the face of the engine. Everything it does is done by a module below it."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain, cycle, repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, Unpack

import anyio

import milepost.arguments as arguments
from milepost._clock import Clock, SystemClock
from milepost._life import Life
from milepost._naming import SUBJECTS
from milepost._tasks import Tasks
from milepost._working import NO_STATE
from milepost.adapters import Write, arrange, cache_from_url, store_from_url
from milepost.bus.announcer import Announcer
from milepost.bus.dispatcher import Dispatcher, delivered
from milepost.committer import Committer
from milepost.data_caches.base import BaseDataCache, MendingCache
from milepost.data_caches.memory import MemoryDataCache
from milepost.data_stores.base import BaseDataStore, RelayedOutbox
from milepost.data_stores.memory import MemoryDataStore
from milepost.errors import BackendUnavailable, InvalidDefinition, ManagerClosed, MilepostError
from milepost.live import LiveObjects
from milepost.maintenance.expiry import Sweeper
from milepost.maintenance.flushing import Flusher
from milepost.maintenance.healing import Healer
from milepost.records import ImmediateAuthority, Record
from milepost.status import ManagerStatus
from milepost.subjects.candidates import Candidates
from milepost.subjects.subject import Subject, SubjectKeeper
from milepost.trackers.base import BaseTracker
from milepost.trackers.blueprint import blueprint_of
from milepost.trackers.policies import ResetPolicy
from milepost.trackers.snapshot import TrackerSnapshot
from milepost.tracking.commands import (
    AddTrackers,
    ExplainDatum,
    IfExists,
    ReadTrackers,
    RemoveTrackers,
    ResetTracker,
    TrackDatum,
    UpdateTracker,
)
from milepost.tracking.explain import Explanation
from milepost.tracking.plan import PlanBook
from milepost.tracking.result import FullTrackResult, TrackResult
from milepost.waiting import Waiting

if TYPE_CHECKING:
    from milepost.bus.bus import EventBus
    from milepost.bus.handlers import Handler, HowToRun
    from milepost.bus.transports.base import Transport
    from milepost.events.types import Event

__all__ = ["ManagerStatus", "TrackItem", "TrackingManager"]

_log = logging.getLogger("milepost")

_CALLS_PER_BREATH: Final = 256
_SWEEP_EVERY: Final = 10.0


class TrackItem(NamedTuple):
    """One item of ``track_many``.

    ``now`` is epoch seconds or an aware datetime; ``context`` reaches custom conditions and limiters.
    """

    group_id: str
    data: Mapping[str, Any]
    event_id: str | None = None
    now: float | datetime | None = None
    context: Mapping[str, Any] = NO_STATE


class TrackingManager(Announcer, Life):
    """Tracks what happens to groups, and tells when something is reached.

    ::

        async with TrackingManager(data_store=SQLiteDataStore("track.db")) as manager:
            await manager.add_tracker("user_001", CountTracker(name="logins", target=[10, 50, 100]))
            ok, dirtied, completed, limited = await manager.track("user_001", {"event_type": "login"})

    Listeners can be registered and trackers declared before the start and without a loop;
    the first awaited call starts a manager that was not started.

    Args:
        data_cache: where this process works; by default memory.
        data_store: where records last; by default memory, which does not.
        bus: the event bus, or the transport of one; by default a bus in memory, which goes on in the Redis of the
            cache, if that is one, when a durable consumer is declared. The manager starts and closes it.
        write: ``"through"``: a call is acknowledged when the store has committed.
            ``"behind"``: when the cache has; the store follows ``flush_interval`` later.
        clock: what time it is; by default the machine's. :class:`milepost.testing.ManualClock` is for tests.
        dedup_window: how many event ids each group remembers.
        commit_timeout: for how many seconds a call may lose races before it raises ``CommitConflict``.
        flush_interval: seconds between flushes with ``write="behind"``.
        close_timeout: for how many seconds ``aclose`` waits for listeners.

    Raises:
        InvalidDefinition: when a setting is wrong, or cache and store cannot work together that way.
    """

    def __init__(
        self,
        data_cache: BaseDataCache | None = None,
        data_store: BaseDataStore | None = None,
        *,
        bus: EventBus | Transport | None = None,
        write: Write | None = None,
        clock: Clock | None = None,
        dedup_window: int = 256,
        commit_timeout: float = 10.0,
        flush_interval: float = 1.0,
        close_timeout: float = 10.0,
    ) -> None:
        self.data_cache: BaseDataCache = MemoryDataCache() if data_cache is None else data_cache
        self.data_store: BaseDataStore = MemoryDataStore() if data_store is None else data_store
        arguments.check_type("data_cache", self.data_cache, BaseDataCache)
        arguments.check_type("data_store", self.data_store, BaseDataStore)
        self._clock: Clock = SystemClock() if clock is None else arguments.clock(clock)
        self._window = arguments.whole("dedup_window", dedup_window)
        self._close_timeout = arguments.seconds("close_timeout", close_timeout)
        arranged = arrange(self.data_cache, self.data_store, write)
        self._authority, self._table = arranged.authority, arranged.table
        self._leader, self._alone = arranged.leader, arranged.alone
        self.write: Write = arranged.write
        self._tasks = Tasks()
        self._book = PlanBook()
        super().__init__(Dispatcher(self._tasks, on_wants_changed=self._forget_plans), self._bus_to_be)
        self._bus_given = bus
        self._committer = Committer(
            self._authority,
            self._table,
            self._book,
            self._dispatcher,
            self._tasks,
            self._clock,
            window=self._window,
            timeout=arguments.seconds("commit_timeout", commit_timeout),
        )
        followed = isinstance(self._authority, ImmediateAuthority) and self._authority.followed
        self._track_now = self._committer.track_unless_full if followed else self._committer.track_now
        self._live = LiveObjects(self._find)
        self._committer.on_gone = self._live.gone
        self._table.on_evicted = lambda record: self._live.evicted(record.key, record.rows.values())
        self._sweeper = Sweeper(self._authority, self._committer.run, self._clock, _SWEEP_EVERY)
        self._committer.on_deadline = self._sweeper.note
        interval = arguments.seconds("flush_interval", flush_interval)
        self._flusher: Flusher | None = None
        if self._leader is not None:
            self._flusher = Flusher(self._leader, self.data_store, self._clock, interval)
        self._healer: Healer | None = None
        if isinstance(self._authority, MendingCache):
            self._healer = Healer(self._authority, self._clock, self._announce)
            self._committer.on_replicas_forgotten = self._healer.heal
            self._authority.tell_of_epochs(self._note_epoch)
        self._keeper = SubjectKeeper(
            self._committer,
            self._authority,
            Candidates(self._authority, self._leader, self.data_store),
            ready=self._begun,
            is_ready=lambda: self._running and not self._closed,
            delivered=delivered,
            is_quick=isinstance(self._authority, ImmediateAuthority) and not self._authority.followed,
        )
        Life.__init__(self)
        self._closing: asyncio.Task[None] | None = None
        if bus is not None:
            _ = self.bus
        self._breath = cycle(chain(repeat(False, _CALLS_PER_BREATH - 1), (True,)))

    def _bus_to_be(self) -> EventBus:
        """Return the bus that was given, or one over the transport that was; in memory where neither was."""
        from milepost.bus.bus import EventBus
        from milepost.bus.run import current_cause
        from milepost.bus.transports.urls import transport_beside

        given = self._bus_given
        bus = (
            given
            if isinstance(given, EventBus)
            else EventBus(given, clock=self._clock, close_timeout=self._close_timeout)
        )
        bus.store = self.data_store if isinstance(self.data_cache, MemoryDataCache) else self.data_cache
        if given is None and not isinstance(self.data_cache, MemoryDataCache):
            bus.offer = transport_beside(self.data_cache)
        bus.subjects = self._keeper
        self._keeper.cause = current_cause
        bus.authority = self._authority
        return bus

    @classmethod
    def open(
        cls,
        cache_url: str = "memory://",
        store_url: str = "memory://",
        bus_url: str | None = None,
        **settings: Any,
    ) -> Self:
        """Build a manager from URLs: ``memory://``, ``redis://localhost:6379/0``, ``sqlite:///track.db``.

        Args:
            cache_url: where this process works.
            store_url: where records last.
            bus_url: where events of the bus are kept: ``memory://``, ``sqlite:///events.db`` or a Redis; None for
                memory. The Redis of ``cache_url`` has tracker events in the stream with what caused them.
            **settings: as for the class.

        Raises:
            InvalidDefinition: for a URL that names nothing.
            MissingExtra: when a driver is not installed.
        """
        if bus_url is not None:
            from milepost.bus.transports.urls import transport_from_url

            settings["bus"] = transport_from_url(bus_url)
        return cls(cache_from_url(cache_url), store_from_url(store_url), **settings)

    # --- life ------------------------------------------------------------------------------

    async def _start(self) -> None:
        opened: list[BaseDataCache | BaseDataStore] = []
        try:
            for adapter in (self.data_store, self.data_cache):
                await adapter.open(self._clock, self._window)
                opened.append(adapter)
            await self.data_store.lease(exclusive=self._alone)
            await self._committer.start()
            if self._bus is not None:
                if isinstance(self._authority, RelayedOutbox):
                    await self._bus.relay_from(self._authority)
                await self._bus.start()
                await self._bus.look_at_store()
        except BaseException:
            for adapter in reversed(opened):
                await adapter.aclose()
            raise
        _ = self._tasks.spawn(self._sweeper.run(), "expiry")
        if self._flusher is not None:
            _ = self._tasks.spawn(self._flusher.run(), "flushing")
        if self._healer is not None:
            _ = self._tasks.spawn(self._healer.run(), "healing")
        self._running = True

    async def aclose(self) -> None:
        """Finish what is on its way, deliver, flush, and disconnect. Doing it twice is harmless.

        Raises:
            StoreUnavailable: with ``write="behind"``, when what was not flushed could not be; it is lost with
                the process then.
            RuntimeError: in a listener, which would wait for itself.
        """
        self._dispatcher.refuse_from_listener("aclose()")
        if self._bus is None:
            self._closed = True
        else:
            self._bus.refuse_from_handler("aclose()")
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._aclose())
        await asyncio.shield(self._closing)

    async def _aclose(self) -> None:
        if self._bus is not None:
            await self._bus.aclose()  # first: until its handlers have ended they may track
            self._closed = True
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if not self._running:
            return
        self._running = False
        try:
            with anyio.move_on_after(self._close_timeout):
                await self._settle()
            if self._flusher is not None:
                await self._last_flush(self._flusher)
        finally:
            self._dispatcher.close()
            await self._tasks.aclose()
            self._committer.close()
            self._dispatcher.give_up()
            try:
                await self.data_cache.aclose()
            finally:
                await self.data_store.aclose()

    def _note_epoch(self, epoch: int) -> None:
        """Begin an epoch that is learned of otherwise than from a commit: what is held should be offered soon."""
        if self._running and not self._closed:
            _ = self._tasks.spawn(self._committer.begin_epoch(epoch), "healing")

    async def _last_flush(self, flusher: Flusher) -> None:
        try:
            await flusher.flush()
        except BackendUnavailable as error:
            if self._alone:
                raise
            _log.warning("closing while the store is behind, which others may mend: %s", error)

    async def _ready(self, group_id: str) -> None:
        arguments.group(group_id)
        if not self._running or self._closed:
            await self.start()
        if next(self._breath):
            await asyncio.sleep(0)

    async def _begun(self) -> None:
        if not self._running or self._closed:
            await self.start()

    def _forget_plans(self) -> None:
        self._committer.forget_plans()

    def _find(self, key: str) -> Record | None:
        return self._table.records.get(key)

    # --- what is tracked ----------------------------------------------------------------

    def declare(self, groups: str, *trackers: BaseTracker) -> None:
        """Give trackers to every group whose id matches, without a row for each.

        A row is written when a tracker first moves, is limited or is changed. A row that is
        there keeps the definition it has. Works before the start and without a loop.

        Args:
            groups: a pattern: ``*`` is anything, ``?`` one character.
            *trackers: what to track; names are unique among them.

        Raises:
            InvalidDefinition: for a tracker that is not complete or meant for one group, or a name that is taken twice.
            TypeError: for something that is no tracker, or a pattern that is no string.
            ValueError: for an empty pattern.
        """
        if not isinstance(groups, str):
            raise TypeError(f"groups must be a pattern, got {groups!r}")
        if not groups:
            raise ValueError("groups must be a pattern such as 'user:*', got an empty string, which matches no group")
        blueprints = tuple(blueprint_of(arguments.tracker_object(tracker)) for tracker in trackers)
        for tracker in trackers:
            arguments.meant_for(tracker, groups)
        names = [blueprint.name for blueprint in blueprints]
        for name in names:
            if names.count(name) > 1:
                raise InvalidDefinition(f"two trackers declared for {groups!r} are named {name!r}")
        self._book.declare(groups, blueprints)
        for tracker in trackers:
            self._live.declare(groups, tracker)
        self._committer.forget_plans()

    async def add_tracker(
        self,
        group_id: str,
        tracker: BaseTracker,
        *,
        expire: float | None = None,
        expire_at: float | datetime | None = None,
        if_exists: IfExists = "error",
    ) -> TrackerSnapshot:
        """Add a tracker to a group.

        The object stays live: it reads the state it has in the first group it was added to.

        Args:
            group_id: the group.
            tracker: what to track.
            expire: after how many seconds it expires.
            expire_at: when it expires, epoch seconds or an aware datetime; wins over ``expire``.
            if_exists: what to do about a tracker of the same name: raise an ``"error"``, ``"keep"`` it, or
                ``"replace"`` it and begin anew.

        Returns:
            The tracker as it is now.

        Raises:
            ConflictingNameError: when the name is taken; nothing was overwritten.
            InvalidDefinition: when the tracker is not complete, or meant for another group.
            ValueError: when it would expire at once.
            RecordTooLarge: when the cache or the store cannot keep it; nothing was changed.
            UndecodableError: when the tracker that is there cannot be read; it stays as it is.
            BackendUnavailable: when the cache or the store does not answer.
        """
        (added,) = await self.add_trackers(
            group_id, (tracker,), expire=expire, expire_at=expire_at, if_exists=if_exists
        )
        return added

    async def add_trackers(
        self,
        group_id: str,
        trackers: Iterable[BaseTracker],
        *,
        expire: float | None = None,
        expire_at: float | datetime | None = None,
        if_exists: IfExists = "error",
    ) -> list[TrackerSnapshot]:
        """Add trackers to a group, all or none. Otherwise like :meth:`add_tracker`."""
        await self._ready(group_id)
        objects = arguments.tracker_objects(trackers)
        if if_exists not in ("error", "keep", "replace"):
            raise ValueError(f'if_exists must be "error", "keep" or "replace", got {if_exists!r}')
        blueprints = [blueprint_of(tracker) for tracker in objects]
        for tracker in objects:
            arguments.meant_for(tracker, group_id)
        command = AddTrackers(blueprints, arguments.expiry(expire, expire_at, self._clock.time()), if_exists)
        added: list[TrackerSnapshot] = await self._committer.run(group_id, command)
        for tracker, row in zip(objects, added, strict=True):
            self._live.bind(group_id, tracker, row)
        return added

    async def get_trackers(self, group_id: str, name: str | Sequence[str] | None = None) -> list[TrackerSnapshot]:
        """Return a group's trackers in the order of adding, declared ones first.

        Args:
            group_id: the group.
            name: a name or a list of names; None for all.

        Raises:
            UndecodableError: when one of them cannot be read; it stays as it is.
            BackendUnavailable: when the cache or the store does not answer.
        """
        await self._ready(group_id)
        found: list[TrackerSnapshot] = await self._committer.run(group_id, ReadTrackers(arguments.names(name)))
        if not found:
            self._note_unknown(group_id)
        return found

    async def get_tracker(self, group_id: str, name: str) -> TrackerSnapshot | None:
        """Return one tracker, or None. Otherwise like :meth:`get_trackers`."""
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        found = await self.get_trackers(group_id, name)
        return found[0] if found else None

    async def groups(self, pattern: str = "*") -> AsyncIterator[str]:
        """Iterate over the ids of groups that hold rows.

        Args:
            pattern: ``*`` is anything, ``?`` one character.
        """
        if not isinstance(pattern, str):
            raise TypeError(f"pattern must be a string, got {pattern!r}")
        await self._ready("*")
        async for key in self._authority.keys(pattern):
            if not key.startswith(SUBJECTS):
                yield key

    async def update_tracker(self, group_id: str, tracker: BaseTracker) -> TrackerSnapshot:
        """Give a tracker a changed definition under the same name; its committed state stays.

        Args:
            group_id: the group.
            tracker: the changed definition.

        Returns:
            The tracker as it is now.

        Raises:
            TrackerNotFound: when the group has none of that name.
            InvalidDefinition: when the tracker is not complete, or meant for another group.
            RecordTooLarge: when the cache or the store cannot keep it; nothing was changed.
            UndecodableError: when the tracker that is there cannot be read; it stays as it is.
            BackendUnavailable: when the cache or the store does not answer.
        """
        await self._ready(group_id)
        blueprint = blueprint_of(arguments.tracker_object(tracker))
        arguments.meant_for(tracker, group_id)
        row: TrackerSnapshot = await self._committer.run(group_id, UpdateTracker(blueprint))
        self._live.bind(group_id, tracker, row)
        return row

    async def reset_tracker(
        self, group_id: str, name: str, reset_policy: ResetPolicy | None = None, **context: Any
    ) -> bool:
        """Reset a tracker and announce it.

        With ``ResetPolicy.PROGRESS`` it returns to the first stage and its ``init_progress``.

        Args:
            group_id: the group.
            name: the tracker.
            reset_policy: what is reset; None for the tracker's own policy.
            **context: reaches each limiter's ``reset``: ``reset_count``, ``reset_seconds``, ``now_ts``, …

        Returns:
            Whether it was found.

        Raises:
            ValueError: when the policy is none, or a limiter refuses its value; nothing was changed.
            UndecodableError: when the tracker that is there cannot be read; it stays as it is.
            BackendUnavailable: when the cache or the store does not answer.
        """
        await self._ready(group_id)
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        policy = arguments.policy(reset_policy)
        now = arguments.moment(context.get("now"), context.get("now_ts"))
        found: bool = await self._committer.run(group_id, ResetTracker(name, policy, context, now))
        if not found:
            self._note_unknown(group_id)
        return found

    async def remove_tracker(self, group_id: str, name: str | Sequence[str] | None = None) -> bool:
        """Remove trackers; a declared one stays away from this group then.

        Args:
            group_id: the group.
            name: a name or a list of names; None for all.

        Returns:
            Whether any was found.

        Raises:
            BackendUnavailable: when the cache or the store does not answer.
        """
        await self._ready(group_id)
        removed: bool = await self._committer.run(group_id, RemoveTrackers(arguments.names(name)))
        if not removed:
            self._note_unknown(group_id)
        return removed

    async def flush(self, confirm: bool = False) -> bool:
        """Delete all of milepost's data, in the cache and in the store.

        Args:
            confirm: must be True; otherwise a warning is given and nothing is done.

        Returns:
            Whether it was done.

        Raises:
            BackendUnavailable: when the cache or the store does not answer.
        """
        if confirm is not True:
            warnings.warn("flush deletes everything; call flush(confirm=True) to do it", stacklevel=2)
            return False
        await self._ready("*")
        for record in self._table.records.values():
            self._live.gone(record.key, record.rows.values())
        if self._flusher is None:
            await self._authority.flush()
        else:
            await self._flusher.clear()
        if self._bus is not None:
            await self._bus.transport.flush()
        self._table.clear()
        await self._committer.start()
        return True

    # --- what happens ---------------------------------------------------------------------

    async def track(
        self,
        group_id: str,
        data: Mapping[str, Any],
        *,
        event_id: str | None = None,
        now: float | datetime | None = None,
        now_ts: float | None = None,
        **context: Any,
    ) -> TrackResult:
        """Apply something that happened to a group.

        Args:
            group_id: the group; one that has no trackers is no error.
            data: what happened; not changed.
            event_id: applied twice with the same id, it counts once (among the last ``dedup_window`` ids).
            now: when it happened, epoch seconds or an aware datetime; by default now.
            now_ts: the older spelling of ``now``.
            **context: reaches custom conditions and limiters.

        Returns:
            What it did; unpacks into ``(ok, dirtied, completed, limited)``.

        Raises:
            TypeError: when ``data`` is no mapping; nothing was changed.
            CommitConflict: when other writers won every race for too long; nothing was changed.
            UndecodableError: when one of the group's trackers cannot be read; nothing was changed.
            RecordTooLarge: when the state of a custom tracker or limiter has outgrown the store; nothing was changed.
            BackendUnavailable: when the cache or the store does not answer; nothing was changed.
            CommitUncertain: when it cannot be learned whether it was applied; call again with the ``event_id``.
        """
        if next(self._breath):
            await asyncio.sleep(0)
        if event_id is None and now is None and now_ts is None and not context and data.__class__ is dict:
            result = self._track_now(group_id, data)
            if result is not None:
                if result.__class__ is not TrackResult and isinstance(result, FullTrackResult):
                    await delivered(result.delivery)
                return result
        arguments.group(group_id)
        if not self._running or self._closed:
            await self.start()
        command = self._track_command(data, event_id, now, now_ts, context)
        applied: TrackResult = await self._committer.run(group_id, command)
        if not applied.dirtied:
            self._note_unknown(group_id)
        return applied

    def _track_command(self, data: Any, event_id: Any, now: Any, now_ts: Any, context: Mapping[str, Any]) -> TrackDatum:
        return TrackDatum(
            arguments.datum(data),
            arguments.moment(now, now_ts),
            context,
            arguments.event_id_hash(event_id),
            self._dispatcher.wants_progressed,
        )

    def _note_unknown(self, group_id: str) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            record = self._table.records.get(group_id)
            if (record is None or not record.rows) and not self._book.declared_for(group_id):
                _log.debug("group %r has no trackers", group_id)

    async def track_many(self, items: Iterable[TrackItem | tuple[str, Mapping[str, Any]]]) -> list[TrackResult]:
        """Apply many things that happened, with far fewer round trips.

        Args:
            items: ``(group_id, data)`` pairs or :class:`TrackItem`.

        Returns:
            Results in order. One that could not be applied has its ``error``; the others are applied.

        Raises:
            ManagerClosed: after ``aclose``.
        """
        await self._ready("*")
        pending: list[TrackResult | tuple[str, Waiting]] = []
        for item in items:
            pending.append(await self._begin(item))
        return [begun if isinstance(begun, TrackResult) else await self._end(*begun) for begun in pending]

    async def _end(self, group_id: str, begun: Waiting) -> TrackResult:
        """Wait for the end of one item of many."""
        delivery = await begun.future
        if begun.error is not None:
            return TrackResult.refused(error=begun.error)
        await delivered(delivery)
        result: TrackResult = begun.value
        if not result.dirtied:
            self._note_unknown(group_id)
        return result

    async def _begin(self, item: Any) -> TrackResult | tuple[str, Waiting]:
        """Begin one item of many: its result where it is done at once, else what to wait for."""
        try:
            whole = item if isinstance(item, TrackItem) else TrackItem(*arguments.pair(item))
            await self._ready(whole.group_id)
            command = self._track_command(whole.data, whole.event_id, whole.now, None, whole.context)
            done = self._committer.run_now(whole.group_id, command)
        except ManagerClosed:
            raise
        except (TypeError, ValueError, MilepostError) as error:
            return TrackResult.refused(error=error)
        if done is None:
            return whole.group_id, self._committer.submit(whole.group_id, command)
        result: TrackResult = done[0]
        delivery = done[1]
        await delivered(delivery)
        if not result.dirtied:
            self._note_unknown(whole.group_id)
        return result

    def feed(
        self,
        *patterns: str,
        group: Callable[[Event], str | None] | None = None,
        data: Callable[[Event], Mapping[str, Any]] | None = None,
        **how: Unpack[HowToRun],
    ) -> Handler:
        """Let events of the bus drive trackers: each is tracked once, its id serving as ``event_id``.

        Subjects and models announce their changes there. What a container's observer is told of can be tracked in
        the same way, with ``entry.id`` as ``event_id`` (``examples/33_changes_by_actor.py``).

        Args:
            *patterns: of event types.
            group: says which group an event belongs to; None for none. By default the event's subject.
            data: says what is tracked; by default the event's payload.
            **how: ``durable="name"``, ``retry=...`` and what else ``bus.register`` takes.

        Returns:
            The handler that does it, for ``bus.unregister``.

        Raises:
            InvalidDefinition: when a pattern or a setting is wrong.
        """

        async def feed(event: Event) -> None:
            group_id = event.subject if group is None else group(event)
            if group_id is not None:
                await self.track(group_id, event.data if data is None else data(event), event_id=event.id)

        how.setdefault("name", f"feed {' '.join(map(str, patterns))}")
        return self.bus.register(feed, patterns, takes_event=True, **how)

    async def explain(
        self,
        group_id: str,
        data: Mapping[str, Any],
        *,
        now: float | datetime | None = None,
        now_ts: float | None = None,
        **context: Any,
    ) -> Explanation:
        """Say what a datum would do, and which condition or limiter says no. Changes nothing.

        Args:
            group_id: the group.
            data: what might happen.
            now: when, epoch seconds or an aware datetime; by default now.
            now_ts: the older spelling of ``now``.
            **context: reaches custom conditions and limiters.

        Raises:
            TypeError: when ``data`` is no mapping.
            UndecodableError: when one of the group's trackers cannot be read.
            BackendUnavailable: when the cache or the store does not answer.
        """
        await self._ready(group_id)
        command = ExplainDatum(arguments.datum(data), arguments.moment(now, now_ts), context)
        explanation: Explanation = await self._committer.run(group_id, command)
        if not explanation.trackers:
            self._note_unknown(group_id)
        return explanation

    # --- subjects ------------------------------------------------------------------------

    async def subject(self, name: str) -> Subject:
        """Return a subject, loaded as it is stored now; one that is stored nowhere has no properties.

        Args:
            name: its name.

        Raises:
            TypeError: when the name is no text.
            ValueError: when it is empty.
            BackendUnavailable: when the cache or the store does not answer.
            ManagerClosed: after ``aclose``.
        """
        return await self._keeper.load(name, held=False)

    # --- what goes on inside ------------------------------------------------------------

    def status(self) -> ManagerStatus:
        """Return what is going on inside."""
        dispatcher = self._dispatcher
        return ManagerStatus(
            started=self._running,
            closed=self._closed,
            write=self.write,
            replicas=len(self._table),
            evicted=self._table.evicted,
            waiting=self._committer.waiting,
            backlog=0 if self._leader is None else self._leader.backlog,
            store_error=None if self._flusher is None else self._flusher.last_error,
            max_backlog=None if self._leader is None else self._leader.max_backlog,
            restored=0 if self._healer is None else self._healer.restored,
            lost=0 if self._healer is None else self._healer.lost,
            conflicts=self._committer.conflicts,
            emitted=dispatcher.emitted,
            delivered=dispatcher.delivered,
            dropped=dispatcher.dropped,
            failed=dispatcher.failed,
            undelivered=dispatcher.waiting,
        )

    async def settle(self) -> None:
        """Wait until everything that was caused has been committed and delivered.

        Raises:
            ManagerClosed: after ``aclose``.
            RuntimeError: in a listener, which would wait for itself.
        """
        await self._ready("*")
        self._dispatcher.refuse_from_listener("settle()")
        if self._bus is not None:
            self._bus.refuse_from_handler("settle()")
        await self._settle()

    async def _settle(self) -> None:
        while True:
            await self._committer.settle()
            await self._dispatcher.settle()
            if self._bus is not None and not self._closed:
                await self._bus.settle()
            if not self._committer.waiting:
                return
