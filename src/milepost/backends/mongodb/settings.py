"""Where the database is, and how it is spoken to."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from milepost.backends.mongodb.driver import AsyncMongoClient
from milepost.errors import InvalidDefinition

__all__ = ["Settings", "parts_of_url"]

_NOT_IN_A_NAME: Final = frozenset('/\\. "$*<>:|?\0')


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a store, checked.

    Args:
        client: a client that is its owner's; None to open one.
        options: what ``AsyncMongoClient`` is given otherwise.
        name: how errors call the place.
        database: the database's name.
        prefix: what the names of the collections begin with.
        write_concern: how many members must have a write, or ``"majority"`` or a name of the replica set's.
        journal: whether they must have it in their journal.
        timeout: for how many seconds to go on trying while the server does not answer.
        lease_seconds: after how many seconds a process that does not answer loses its hold.
        outbox_size: how many events to keep for reading back.

    Raises:
        InvalidDefinition: when a setting is wrong.
    """

    client: Any
    options: Mapping[str, Any]
    name: str
    database: str
    prefix: str
    write_concern: int | str
    journal: bool
    timeout: float
    lease_seconds: float
    outbox_size: int

    def __post_init__(self) -> None:
        if self.client is not None and self.options:
            raise InvalidDefinition(f"a client has its own options; beside it there is {', '.join(self.options)}")
        if self.client is not None and not isinstance(self.client, _client_classes()):
            raise InvalidDefinition(f"client must be an AsyncMongoClient or an AsyncIOMotorClient, got {self.client!r}")
        if not isinstance(self.database, str) or not self.database or _NOT_IN_A_NAME & set(self.database):
            raise InvalidDefinition(
                f'database must be a name without spaces and any of /\\."$*<>:|?, got {self.database!r}'
            )
        if not isinstance(self.prefix, str) or "$" in self.prefix or "\0" in self.prefix:
            raise InvalidDefinition(f"prefix must be text without $, got {self.prefix!r}")
        concern = self.write_concern
        if isinstance(concern, bool) or not isinstance(concern, int | str) or not concern or concern in (0, ""):
            raise InvalidDefinition(
                f'write_concern must be "majority" or a number of members of at least 1, got {concern!r}'
            )
        if isinstance(concern, int) and concern < 1:
            raise InvalidDefinition(f"write_concern must be at least 1, got {concern!r}")
        if not isinstance(self.journal, bool):
            raise InvalidDefinition(f"journal must be True or False, got {self.journal!r}")
        for field in ("timeout", "lease_seconds"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise InvalidDefinition(f"{field} must be a number of seconds greater than 0, got {value!r}")
        size = self.outbox_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise InvalidDefinition(f"outbox_size must be a whole number of at least 0, got {size!r}")

    def client_options(self) -> dict[str, Any]:
        """Return what to open a client with: with times of our own where neither options nor URL have them."""
        millis = max(1, int(min(self.timeout, 10.0) * 1000))
        ours = {
            "appname": "milepost",
            "serverSelectionTimeoutMS": min(millis, 5000),
            "connectTimeoutMS": millis,
            "socketTimeoutMS": millis,
        }
        given = {name.lower() for name in self.options}
        given.update(name.lower() for name, _ in parse_qsl(urlsplit(str(self.options.get("host", ""))).query))
        return {**{name: value for name, value in ours.items() if name.lower() not in given}, **self.options}


def _client_classes() -> tuple[type, ...]:
    """Return the classes that a client may be of; who has one of Motor's has imported it."""
    motor = sys.modules.get("motor.motor_asyncio")
    return (AsyncMongoClient,) if motor is None else (AsyncMongoClient, motor.AsyncIOMotorClient)


def parts_of_url(url: str) -> tuple[str, str]:
    """Return the servers and the database in a MongoDB URL; credentials are in neither.

    Raises:
        InvalidDefinition: when it is no MongoDB URL.
    """
    if not isinstance(url, str):
        raise InvalidDefinition(f"a MongoDB URL reads mongodb://host:port/database, got {url!r}")
    parts = urlsplit(url)
    servers = parts.netloc.rpartition("@")[2]
    if "@" in parts.path:
        raise InvalidDefinition(
            "a MongoDB URL has /, ? and # in its user name and password written as %2F, %3F and %23"
        )
    if parts.scheme not in ("mongodb", "mongodb+srv") or not servers:
        raise InvalidDefinition(
            f"a MongoDB URL begins with mongodb:// or mongodb+srv:// and names a host, got one with {parts.scheme!r}"
        )
    return servers, unquote(parts.path[1:])
