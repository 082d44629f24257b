"""A tracker's definition as a frozen value: what it is, apart from how far it got."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, PrivateAttr

from milepost.conditions.base import BaseCondition
from milepost.limiters.base import BaseLimiter
from milepost.trackers.policies import ResetPolicy

if TYPE_CHECKING:
    from milepost.trackers.base import BaseTracker

__all__ = ["TrackerDefinition"]


class TrackerDefinition(BaseModel):
    """What a tracker is. ``hash`` is the same wherever the definition is the same."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    kind: str
    name: str
    targets: tuple[Any, ...]
    conditions: tuple[BaseCondition, ...] = ()
    limiters: tuple[BaseLimiter, ...] = ()
    reset_policy: ResetPolicy = ResetPolicy.DEFAULT
    loop_forever: bool = False
    init_progress: Any = 0
    on_completed: Literal["keep", "remove"] = "keep"
    fields: dict[str, Any] = {}
    """What the class has beyond the common fields, such as an accumulation's ``key``."""
    hash: str = ""
    """BLAKE2b, 128 bits, of the canonical definition; 22 characters."""

    _text: str = PrivateAttr(default="")

    def to_tracker(self) -> BaseTracker:
        """Return a new tracker object of this definition."""
        from milepost.trackers.blueprint import tracker_from_text

        return tracker_from_text(self._text)
