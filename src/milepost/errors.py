"""Every exception that milepost raises, as one tree.

::

    MilepostError
    ├── InvalidDefinition          (also ValueError)   a tracker, condition, limiter or setting is wrong
    ├── UnknownEventError          (also ValueError)   an event code that does not exist
    ├── ConflictingNameError       (also ValueError)   the group already has a tracker of that name
    ├── TrackerNotFound            (also LookupError)  the group has no tracker of that name
    ├── ModelExists                (also ValueError)   a model of that id was created before
    ├── ModelNotFound              (also LookupError)  a model that is stored nowhere
    ├── StaleModelError                                somebody else stored the model since it was loaded
    ├── AmbiguousState                                 an object that was added to several groups was asked for state
    ├── UndecodableError                               stored data that cannot be read; it stays where it is
    │   └── UnknownKindError                           ... because its kind is registered nowhere in this process
    ├── CommitConflict                                 others were always faster; nothing was changed
    ├── BackendUnavailable                             something outside does not answer
    │   ├── CacheUnavailable
    │   │   └── CommitUncertain                        the reply was lost; the change may or may not be there
    │   ├── StoreUnavailable
    │   │   └── BacklogFull                            the store is too far behind; nothing was changed
    │   └── BrokerUnavailable                          a message broker does not take what is published
    ├── StoreLeased                                    another process holds the store for itself
    ├── RecordTooLarge             (also ValueError)   larger than cache or store can keep; nothing was changed
    ├── CascadeLimit                                   events that cause events without end
    ├── CircuitOpen                                    a handler that failed too often is not tried for a while
    ├── JobNotFound                (also LookupError)  no failed delivery of that id
    ├── OutboxFull                                     a durable consumer is too far behind, commits are refused
    ├── QueueOverflow                                  a subscription with ``Overflow.ERROR`` ran full
    ├── ContainerLocked            (also RuntimeError)  a tracked container was changed while it was locked
    ├── ManagerClosed                                  a call after ``aclose()``
    └── MissingExtra               (also ImportError)  an optional dependency is not installed

Wrong argument types raise the built-in ``TypeError``, as everywhere in Python.
"""

from __future__ import annotations

from collections.abc import Sequence

from milepost._naming import spoken


class MilepostError(Exception):
    """The base of every error that milepost raises on purpose."""


class InvalidDefinition(MilepostError, ValueError):
    """A definition or a setting is wrong; the message names the field and what is allowed."""


class UnknownEventError(MilepostError, ValueError):
    """An event code or class that milepost does not know."""


class ConflictingNameError(MilepostError, ValueError):
    """The group already has a tracker of this name. Nothing was overwritten."""

    def __init__(self, group_id: str, name: str) -> None:
        super().__init__(
            f'group {group_id!r} already has a tracker named {name!r}; pass if_exists="keep" or "replace" to allow that'
        )
        self.group_id = group_id
        self.name = name


class TrackerNotFound(MilepostError, LookupError):
    """The group has no tracker of this name."""

    def __init__(self, group_id: str, name: str) -> None:
        super().__init__(f"group {group_id!r} has no tracker named {name!r}")
        self.group_id = group_id
        self.name = name


class ModelExists(MilepostError, ValueError):
    """A model of this id is stored already. Nothing was overwritten."""

    def __init__(self, model: str, id: object) -> None:
        super().__init__(f"there is a {model} with the id {id!r} already")
        self.model = model
        self.id = id


class ModelNotFound(MilepostError, LookupError):
    """There is no model of this id stored: it was never created, or was deleted."""

    def __init__(self, model: str, id: object) -> None:
        super().__init__(f"there is no {model} with the id {id!r}")
        self.model = model
        self.id = id


class StaleModelError(MilepostError):
    """Somebody else stored or deleted the model since it was loaded. Nothing was changed.

    ``fields`` names what both changed, where the model merges; it is empty where it does not.
    """

    def __init__(self, model: str, id: object, fields: Sequence[str] = ()) -> None:
        both = f"; both changed {', '.join(fields)}" if fields else ""
        super().__init__(f"the {model} with the id {id!r} was stored by somebody else since it was loaded{both}")
        self.model = model
        self.id = id
        self.fields = tuple(fields)


class AmbiguousState(MilepostError):
    """A tracker or limiter object lives in several places, so it has no one state to read."""

    def __init__(self, what: str, attribute: str) -> None:
        super().__init__(
            f"{what} was added to more than one place, so its {attribute!r} is ambiguous; "
            f"read it from `await manager.get_tracker(group_id, name)`"
        )


class UndecodableError(MilepostError):
    """Stored data that this process cannot read. It is left as it is."""

    def __init__(self, key: str, name: str, reason: str, told: str | None = None) -> None:
        if told is None:
            told = f"tracker {name!r} of {spoken(key)} cannot be read: {reason}" if name else reason
        super().__init__(told)
        self.key = key
        self.name = name
        self.reason = reason


class UnknownKindError(UndecodableError):
    """Stored data of a class that is not registered in this process."""

    def __init__(self, kind: str, key: str = "", name: str = "") -> None:
        super().__init__(
            key,
            name,
            f"nothing is registered under the kind {kind!r}; "
            f"import the module that defines it before the tracker is used",
        )
        self.kind = kind


class CommitConflict(MilepostError):
    """Other writers won every race within the time allowed. Nothing was changed."""

    def __init__(self, key: str, attempts: int) -> None:
        super().__init__(f"{spoken(key)}: gave way to other writers {attempts} times; nothing was changed")
        self.key = key
        self.attempts = attempts


class BackendUnavailable(MilepostError):
    """A cache or a store does not answer. Nothing was changed, :class:`CommitUncertain` apart."""


class CacheUnavailable(BackendUnavailable):
    """The cache does not answer."""


class CommitUncertain(CacheUnavailable):
    """The outcome of a commit could not be learned; with an ``event_id`` simply call again."""


class StoreUnavailable(BackendUnavailable):
    """The store does not answer."""

    keys: frozenset[str] = frozenset()
    """The groups that would have to be read from the store, where others can be worked on without it."""


class BrokerUnavailable(BackendUnavailable):
    """A message broker does not answer, or does not confirm what was published."""


class BacklogFull(StoreUnavailable):
    """The store that follows is too far behind for one more group to change. Nothing was changed.

    Groups that it has not seen as they are can still change; ``max_backlog`` of the cache is the bound.
    """

    def __init__(self, where: str, backlog: int, bound: int, cause: str | None) -> None:
        super().__init__(
            f"{where} holds {backlog} groups that the store has not seen as they are, and {bound} are allowed "
            f"(max_backlog); nothing was changed. {cause or 'The store does not keep up.'}"
        )
        self.backlog = backlog
        self.bound = bound
        self.cause = cause


class StoreLeased(MilepostError):
    """Another process has the store open in a way that excludes this one."""


class RecordTooLarge(MilepostError, ValueError):
    """A group would outgrow what its cache or store can hold. Nothing was changed."""


class CascadeLimit(MilepostError):
    """A chain of events grew too long; the message names it."""

    def __init__(self, limit: int, chain: Sequence[str]) -> None:
        super().__init__(f"a chain of events is longer than {limit}: {' -> '.join(chain)}")
        self.limit = limit
        self.chain = tuple(chain)


class CircuitOpen(MilepostError):
    """A circuit breaker does not let the handler be tried."""

    def __init__(self, handler: str, subject: str) -> None:
        super().__init__(f"the circuit of {handler} is open for {subject!r}: it failed too often")
        self.handler = handler
        self.subject = subject


class JobNotFound(MilepostError, LookupError):
    """There is no failed delivery of this id."""

    def __init__(self, id: str) -> None:
        super().__init__(f"there is no failed delivery with the id {id!r}")
        self.id = id


class OutboxFull(MilepostError):
    """A durable consumer is too far behind and commits are refused, as was asked for."""


class QueueOverflow(MilepostError):
    """A subscription opened with ``Overflow.ERROR`` had no room for an event."""


class ContainerLocked(MilepostError, RuntimeError):
    """A tracked container is locked. Nothing was changed."""

    def __init__(self, container: str) -> None:
        super().__init__(f"{container} is locked and cannot be changed; call unlock() first")


class ManagerClosed(MilepostError):
    """The manager was closed; open a new one."""

    def __init__(self) -> None:
        super().__init__("this TrackingManager was closed; create a new one")


class MissingExtra(MilepostError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, extra: str, module: str) -> None:
        super().__init__(f'{module} is not installed; run: pip install "milepost[{extra}]"')
        self.extra = extra
