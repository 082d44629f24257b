"""What the driver raises, judged: worth another try or not, and whether a write may have happened all the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from milepost.backends.mongodb.driver import (
    AutoReconnect,
    BSONError,
    BulkWriteError,
    ConnectionFailure,
    CursorNotFound,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)

__all__ = ["DRIVER_ERRORS", "DUPLICATE_KEY", "TOO_LARGE", "Judgement", "cause_of", "judge"]

DRIVER_ERRORS: Final = (PyMongoError, BSONError, TimeoutError, OSError)
"""All that a call of the driver raises; ``InvalidDocument`` and its like are no ``PyMongoError``."""

DUPLICATE_KEY: Final = 11000

TOO_LARGE: Final = frozenset({10334, 17419})
"""BSONObjectTooLarge, and an update whose document would be."""

# Numbers from MongoDB's list of error codes; which of them pass by themselves is what drivers
# call retryable reads and writes, and a few that say that a time was up.
_PASSING: Final = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        50,  # MaxTimeMSExpired
        64,  # WriteConcernTimeout
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        100,  # UnsatisfiableWriteConcern: too few members are up
        112,  # WriteConflict
        134,  # ReadConcernMajorityNotAvailableYet
        189,  # PrimarySteppedDown
        262,  # ExceededTimeLimit
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13388,  # StaleConfig
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
    }
)
_CUT_SHORT: Final = frozenset({50, 64, 89, 91, 100, 189, 262, 9001, 11600, 11602})
"""Of these, the ones that may come when a part of the work is done."""


class Judgement(NamedTuple):
    """What an error means for who was answered with it."""

    passing: bool
    """Whether it is worth another try."""
    open: bool
    """Whether what was sent may have been done, or may still be."""


def judge(error: BaseException) -> Judgement:
    """Say what an error means."""
    if isinstance(error, ServerSelectionTimeoutError | WaitQueueTimeoutError):
        return Judgement(passing=True, open=False)  # nothing was sent
    if isinstance(error, NotPrimaryError):
        return Judgement(passing=True, open=_code(error) in _CUT_SHORT)
    if isinstance(error, BulkWriteError):
        return _judge_bulk(error)
    if isinstance(error, WriteConcernError):
        return Judgement(passing=True, open=True)  # it is written, but not where it would survive an election
    if isinstance(error, CursorNotFound):
        return Judgement(passing=True, open=False)
    if isinstance(error, OperationFailure):
        passing = error.code in _PASSING or error.has_error_label("RetryableWriteError")
        return Judgement(passing, open=error.code in _CUT_SHORT)
    if isinstance(error, ConnectionFailure | TimeoutError | OSError):
        return Judgement(passing=True, open=True)
    return Judgement(passing=False, open=False)  # the driver refused to send it


def _judge_bulk(error: BulkWriteError) -> Judgement:
    details: Mapping[str, Any] = error.details
    codes = {item.get("code") for item in details.get("writeErrors", ())}
    passing = codes <= _PASSING | {DUPLICATE_KEY}
    return Judgement(passing, open=True)  # some of it is done


def _code(error: AutoReconnect) -> int | None:
    return error.details.get("code") if isinstance(error.details, dict) else None


def cause_of(error: BaseException) -> str:
    """Return an error's own words, without the driver's pages about the topology."""
    words = str(error).split(", Timeout: ", 1)[0].split(" (configured timeouts:", 1)[0].strip()
    if isinstance(error, BulkWriteError):
        details: Mapping[str, Any] = error.details
        first: Mapping[str, Any] = next(
            iter((*details.get("writeErrors", ()), *details.get("writeConcernErrors", ()))), {}
        )
        words = str(first.get("errmsg", words))
    if isinstance(error, TimeoutError) and not words:
        words = "no answer came in time"
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
