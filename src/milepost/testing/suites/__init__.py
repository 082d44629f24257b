"""What every cache, store and transport must pass, for adapters of your own too.

A suite names no backend. Yours says how to connect to it, and pytest does the rest::

    from milepost.testing.suites import DataStoreSuite


    class TestMyDataStore(DataStoreSuite):
        lasting = shared = True

        def connect(self) -> MyDataStore:
            return MyDataStore(self.folder / "mine.db")

The tests are coroutines: run them with pytest-asyncio in its auto mode, or mark your class
``pytest.mark.anyio``. This package needs pytest; nothing else in milepost does.
"""

import pytest

# Before they are imported, so that a failing assertion shows what it compared.
pytest.register_assert_rewrite(
    *(
        f"milepost.testing.suites.{module}"
        for module in (
            "committing",
            "data_caches",
            "data_stores",
            "following",
            "histories",
            "looking_up",
            "naming",
            "properties",
            "racing",
            "reading",
            "repeating",
            "transports",
        )
    )
)

from milepost.testing.suites.data_caches import DataCacheSuite  # noqa: E402
from milepost.testing.suites.data_stores import DataStoreSuite  # noqa: E402
from milepost.testing.suites.records import RecordSuite  # noqa: E402
from milepost.testing.suites.transports import TransportSuite  # noqa: E402

__all__ = ["DataCacheSuite", "DataStoreSuite", "RecordSuite", "TransportSuite"]
