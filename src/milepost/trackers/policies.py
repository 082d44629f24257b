"""What a reset resets."""

from enum import IntFlag

__all__ = ["ResetPolicy"]


class ResetPolicy(IntFlag):
    """What a reset resets: nothing, the progress, the limiters, or both."""

    NONE = 0
    PROGRESS = 1
    LIMITER = 2
    ALL = PROGRESS | LIMITER
    DEFAULT = LIMITER
