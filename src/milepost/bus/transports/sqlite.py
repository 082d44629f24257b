"""placeholder"""

from milepost.bus.transports.memory import MemoryTransport as SQLiteTransport  # noqa
