"""What the driver raises, and what it means: whether to try again, and what milepost raises."""

from __future__ import annotations

from typing import Final

from milepost.errors import CacheUnavailable, MissingExtra

try:
    import redis.exceptions as driver
except ModuleNotFoundError as error:
    if error.name != "redis":
        raise
    raise MissingExtra("redis", "redis") from None

__all__ = ["DRIVER_ERRORS", "REFUSED_FOR_NOW", "driver", "is_final", "unavailable"]

DRIVER_ERRORS: Final = (driver.RedisError, driver.RedisClusterException, driver.ChildDeadlockedError, OSError)
"""Everything that a call of the driver may raise."""

REFUSED_FOR_NOW: Final = (
    driver.AskError,  # MovedError is one
    driver.TryAgainError,
    driver.ClusterDownError,  # MasterDownError is one
    driver.ReadOnlyError,
    driver.BusyLoadingError,
    driver.SlotNotCoveredError,
    driver.MaxConnectionsError,
)
"""The server did not carry out what it was asked, and may do so in a moment or elsewhere."""

_PREFIXES_FOR_NOW: Final = ("BUSY ", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOREPLICAS", "READONLY", "TRYAGAIN")
_FINAL: Final = (driver.AuthenticationError, driver.AuthorizationError, driver.NoPermissionError)


def is_final(error: BaseException) -> bool:
    """Whether trying again would not help: what the server refuses for good, or who we are."""
    if isinstance(error, _FINAL):
        return True
    if isinstance(error, REFUSED_FOR_NOW):
        return False
    return isinstance(error, driver.ResponseError) and not str(error).startswith(_PREFIXES_FOR_NOW)


def unavailable(where: str, error: BaseException) -> CacheUnavailable:
    """Return what milepost raises for an error of the driver.

    Args:
        where: which Redis.
        error: what the driver raised.
    """
    return CacheUnavailable(f"Redis at {where}: {str(error) or type(error).__name__}")
