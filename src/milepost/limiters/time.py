"""A limiter on when a tracker may move."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import Field, PlainValidator

from milepost._clock import epoch_seconds
from milepost.errors import InvalidDefinition
from milepost.limiters.base import BaseLimiter

__all__ = ["TimeLimiter"]


_LONGEST: Final = 1e11
"""Seconds: some three thousand years."""


def _seconds(value: Any) -> float | int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST:
        raise ValueError(f"must be a number of seconds greater than 0, got {value!r}")
    return value


def _moment(value: Any) -> float | None:
    try:
        return None if value is None else epoch_seconds(value, "must be")
    except (TypeError, ValueError):
        raise ValueError(f"must be epoch seconds or an aware datetime, got {value!r}") from None


_Seconds = Annotated[
    float | None,
    PlainValidator(_seconds, json_schema_input_type=Annotated[float | None, Field(gt=0)]),
]
_Moment = Annotated[
    float | datetime | None,
    PlainValidator(_moment, json_schema_input_type=float | None),
]


class TimeLimiter(BaseLimiter):
    """Lets a tracker move within a window of time, both bounds included.

    It looks at the time each time: outside the window the tracker is limited, inside it is
    not. A reset starts a window of the same length now, or of ``reset_seconds``.

    Args:
        seconds: how long the window is; give this, ``interval`` or ``end_ts``.
        interval: the same as a timedelta.
        end_ts: when the window ends, epoch seconds or an aware datetime.
        start_ts: when it starts; by default when the tracker is added.

    Raises:
        InvalidDefinition: when not exactly one of the three is given, or the end is not after the start.
    """

    latched: ClassVar[bool] = False

    seconds: _Seconds = None
    interval: timedelta | None = None
    end_ts: _Moment = None
    start_ts: _Moment = None

    if TYPE_CHECKING:

        @property
        def start(self) -> float | None:
            """When the window starts, epoch seconds; None before the tracker is added."""
            ...

        @start.setter
        def start(self, value: float | None) -> None: ...

        @property
        def end(self) -> float | None:
            """When the window ends, epoch seconds; None before the tracker is added."""
            ...

        @end.setter
        def end(self, value: float | None) -> None: ...

    def _validated(self) -> None:
        given = [name for name in ("seconds", "interval", "end_ts") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InvalidDefinition(
                f"TimeLimiter needs exactly one of seconds, interval and end_ts, got {' and '.join(given) or 'none'}"
            )
        if self.interval is not None and self.interval <= timedelta(0):
            raise InvalidDefinition(f"TimeLimiter.interval must be longer than 0, got {self.interval!r}")
        start, end = self._window(self.start_ts)
        if start is not None and end is not None and end <= start:
            raise InvalidDefinition(f"TimeLimiter.end_ts must be later than start_ts, got {end!r} and {start!r}")

    def _absent(self, name: str) -> Any:
        if name in ("start", "end"):
            return self._window(self.start_ts)[name == "end"]
        return super()._absent(name)

    def _length(self) -> float | None:
        if self.interval is not None:
            return self.interval.total_seconds()
        return self.seconds

    def _window(self, start: Any) -> tuple[float | None, float | None]:
        if self.end_ts is not None:
            end: Any = self.end_ts
            return start, end
        length = self._length()
        return start, None if start is None or length is None else start + length

    def on_added(self, now_ts: float) -> None:
        if self.start_ts is None:
            self.start, self.end = self._window(now_ts)

    def pre_track(
        self, data: Mapping[str, Any], tracker: Any, /, *args: Any, now_ts: float = 0.0, **kwargs: Any
    ) -> bool:
        start, end = self.start, self.end
        return (start is None or now_ts >= start) and (end is None or now_ts <= end)

    def reset(
        self, *args: Any, now_ts: float = 0.0, reset_seconds: float | timedelta | None = None, **kwargs: Any
    ) -> bool:
        """Start the window again, now.

        Args:
            *args: unused.
            now_ts: epoch seconds.
            reset_seconds: how long the new window is, in seconds or as a timedelta; by default as long as the first.
            **kwargs: unused.

        Returns:
            False where the first window had ended before the tracker was added, so that its length says nothing.

        Raises:
            ValueError: when ``reset_seconds`` is no number greater than 0.
        """
        if isinstance(reset_seconds, timedelta):
            reset_seconds = reset_seconds.total_seconds()
        if reset_seconds is not None:
            try:
                _seconds(reset_seconds)
            except ValueError as error:
                raise ValueError(f"reset_seconds {error}") from None
        length = reset_seconds if reset_seconds is not None else self._length()
        if length is None:
            first, last = self.start, self.end
            length = (last - first) if first is not None and last is not None else 0.0
            if length <= 0:  # it had ended before the tracker was added: there is no window to start again
                return False
        self.start, self.end = now_ts, now_ts + length
        return True
