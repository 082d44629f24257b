"""Opening the database that a command works on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from milepost.adapters import store_from_url
from milepost.bus.bus import EventBus
from milepost.bus.transports.urls import transport_from_url
from milepost.cli.definitions import declared_in
from milepost.cli.failing import BadInput
from milepost.data_stores.base import BaseDataStore
from milepost.data_stores.memory import MemoryDataStore
from milepost.errors import MilepostError
from milepost.manager import TrackingManager

__all__ = ["bus_on", "import_modules", "manager_on", "shown"]


def manager_on(
    database: str,
    *,
    declare: Sequence[Path] | None = None,
    imports: Sequence[str] | None = None,
    must_exist: bool = False,
) -> TrackingManager:
    """Return a manager, not started, that writes through to a database.

    Args:
        database: the path of a SQLite file, or a store URL.
        declare: files with trackers for all groups of a pattern.
        imports: modules with kinds of the user's own.
        must_exist: do not make a SQLite file that is not there.

    Raises:
        BadInput: when the file does not exist, a module cannot be imported, a definition cannot be used.
        MilepostError: when the URL names nothing, or a driver is not installed.
    """
    import_modules(imports or ())
    store = store_from_url(database) if "://" in database else _sqlite(database)
    _check_file(store, must_exist=must_exist)
    manager = TrackingManager(data_store=store)
    for path in declare or ():
        for pattern, trackers in declared_in(path).items():
            try:
                manager.declare(pattern, *trackers)
            except (MilepostError, TypeError) as error:
                raise BadInput(f"{path}: {error}") from None
    return manager


def bus_on(database: str) -> EventBus:
    """Return a bus, not started, over a database that exists.

    Args:
        database: the path of a SQLite file, or the URL of a transport: ``sqlite:///track.db``, ``redis://…``.

    Raises:
        BadInput: when the file does not exist.
        MilepostError: when the URL names nothing, or a driver is not installed.
    """
    from milepost.bus.transports.sqlite import SQLiteTransport

    transport = transport_from_url(database) if "://" in database else SQLiteTransport(database)
    if isinstance(transport, SQLiteTransport):
        _check_path(transport.path, must_exist=True)
    return EventBus(transport)


def import_modules(names: Sequence[str]) -> None:
    """Import modules by name, from the current directory too.

    Raises:
        BadInput: when one cannot be imported.
    """
    if names and "" not in sys.path:
        sys.path.insert(0, "")
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # the module is the user's, and so is whatever it raises
            raise BadInput(f"cannot import {name!r}: {type(error).__name__}: {error}") from None


def shown(database: str) -> str:
    """Return how messages name a database: without a password."""
    scheme, there, rest = database.removeprefix("sqlite:///").partition("://")
    return scheme + there + rest.rpartition("@")[2] if there else scheme


def _sqlite(path: str) -> BaseDataStore:
    from milepost.data_stores.sqlite import SQLiteDataStore

    return SQLiteDataStore(path)


def _check_file(store: BaseDataStore, *, must_exist: bool) -> None:
    if isinstance(store, MemoryDataStore):
        return
    from milepost.data_stores.sqlite import SQLiteDataStore

    if isinstance(store, SQLiteDataStore):
        _check_path(store.path, must_exist=must_exist)


def _check_path(path: str, *, must_exist: bool) -> None:
    if path == ":memory:":
        return
    try:
        with Path(path).open("rb"):
            pass
    except FileNotFoundError:
        if must_exist:
            raise BadInput(
                f"there is no database {path}; --database names another, `milepost track` makes one"
            ) from None
    except OSError as error:
        raise BadInput(f"cannot open the database {path}: {error.strerror}") from None
