"""Where events go: memory, or a place that outlives the process. The door: modules inside import from the leaves."""

from milepost.bus.transports.base import Transport
from milepost.bus.transports.memory import MemoryTransport

__all__ = ["MemoryTransport", "Transport"]
