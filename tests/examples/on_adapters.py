"""Runs a program with other adapters: ``on_adapters.py PROGRAM CACHE DATABASE MONGODB_PORT [REDIS_PORT]``.

Every manager that the program makes gets a cache, ``memory`` or ``redis``, and a MongoDB store, also where
the program gives it a SQLite file.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

import milepost


def main(program: str, cache: str, database: str, *ports: str) -> None:
    """Put the adapters in place and run the program."""

    def new_cache() -> milepost.BaseDataCache:
        if cache == "memory":
            return milepost.MemoryDataCache()
        return milepost.RedisDataCache(host="127.0.0.1", port=int(ports[1]), db=0, key_prefix=database)

    class Manager(milepost.TrackingManager):
        """A manager over other adapters."""

        def __init__(self, *args: Any, **settings: Any) -> None:
            store = milepost.MongoDBDataStore(host="127.0.0.1", port=int(ports[0]), database=database)
            super().__init__(*args, **{**settings, "data_cache": new_cache(), "data_store": store})

    milepost.TrackingManager = Manager  # type: ignore[misc]
    sys.argv = [program]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
