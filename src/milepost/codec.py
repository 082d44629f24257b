"""Values to JSON and back, and the canonical bytes that definitions are known by.

JSON has no decimals, times, tuples or sets; those travel as an object with one key that
begins with ``$`` (``{"$decimal": "1.50"}``), and a user's dict that looks like one is wrapped.
Decoding builds values of a fixed list of types and runs no code of the data's own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Final

import pydantic_core

from milepost.errors import InvalidDefinition

__all__ = [
    "Encodable",
    "canonical",
    "content_hash",
    "dumps",
    "from_jsonable",
    "loads",
    "register_tag",
    "to_jsonable",
]

_MAX_DEPTH: Final = 64
_INT64: Final = 2**63


class Encodable(ABC):
    """A value that knows its own JSON form: a condition inside a user's condition, for one."""

    family: ClassVar[str]

    @abstractmethod
    def to_definition(self, where: str = "") -> dict[str, Any]:
        """Return the JSON form, a dict with a ``kind``."""


ALLOWED: Final = (
    "None, booleans, 64-bit integers, finite floats, Decimal, text, dates, times, timedeltas, "
    "and lists, tuples, sets and string-keyed dicts of these"
)


def to_jsonable(value: Any, where: str, depth: int = 0) -> Any:
    """Return ``value`` as what JSON can carry.

    Args:
        value: the value.
        where: how an error names it, such as ``"KeyValueEQ.value"``.
        depth: how deep we are; 64 levels are allowed.

    Raises:
        InvalidDefinition: for NaN, infinity, bytes, callables and every other type.
    """
    if value is None or value is True or value is False:
        return value
    if depth > _MAX_DEPTH:
        raise InvalidDefinition(f"{where} is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, Encodable):
        return {"$kind": [value.family, value.to_definition(where)]}
    if isinstance(value, Enum) and isinstance(value, str | int | float):
        value = value.value
    if isinstance(value, str):
        return _text(str(value), where)
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            raise InvalidDefinition(f"{where} must fit into 64 bits, got an integer of {value.bit_length()} bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidDefinition(f"{where} must be a finite number, got {value!r}")
        return float(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise InvalidDefinition(f"{where} must be a finite number, got {value!r}")
        return {"$decimal": str(value)}
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, time):
        return {"$time": value.isoformat()}
    if isinstance(value, timedelta):
        return {"$timedelta": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, list):
        return [to_jsonable(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"$tuple": [to_jsonable(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]}
    if isinstance(value, set | frozenset):
        items = [to_jsonable(item, where, depth + 1) for item in value]
        items.sort(key=canonical)
        return {"$frozenset" if isinstance(value, frozenset) else "$set": items}
    if isinstance(value, Mapping):
        return _mapping(value, where, depth)
    raise InvalidDefinition(f"{where} must be made of {ALLOWED}; got {_describe(value)}")


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidDefinition(f"{where} must be valid Unicode text, got {value!r}") from None
    return value


def _mapping(value: Mapping[Any, Any], where: str, depth: int) -> Any:
    plain: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidDefinition(f"{where} must have text keys, got the key {key!r}")
        plain[_text(str(key), where)] = to_jsonable(item, f"{where}[{key!r}]", depth + 1)
    if len(plain) == 1 and next(iter(plain)).startswith("$"):
        return {"$dict": [[key, item] for key, item in plain.items()]}
    return plain


def _describe(value: Any) -> str:
    kind = type(value).__name__
    if callable(value):
        return f"a callable ({kind})"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"bytes ({len(value)} of them)"
    return f"a {kind}"


_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {
    "$decimal": Decimal,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": lambda parts: timedelta(days=parts[0], seconds=parts[1], microseconds=parts[2]),
    "$tuple": lambda items: tuple(from_jsonable(item) for item in items),
    "$set": lambda items: {from_jsonable(item) for item in items},
    "$frozenset": lambda items: frozenset(from_jsonable(item) for item in items),
    "$dict": lambda pairs: {key: from_jsonable(item) for key, item in pairs},
}


def register_tag(tag: str, decode: Callable[[Any], Any]) -> None:
    """Let a module above this one decode a tag of its own."""
    _DECODERS[tag] = decode


def from_jsonable(value: Any) -> Any:
    """Undo :func:`to_jsonable`.

    Raises:
        ValueError: if a tagged value does not hold what its tag says.
    """
    if isinstance(value, list):
        return [from_jsonable(item) for item in value]
    if isinstance(value, dict):
        if len(value) == 1:
            ((tag, inner),) = value.items()
            decode = _DECODERS.get(tag)
            if decode is not None:
                try:
                    return decode(inner)
                except (ArithmeticError, LookupError, TypeError) as error:
                    raise ValueError(f"{tag} does not hold {inner!r}") from error
        return {key: from_jsonable(item) for key, item in value.items()}
    if value.__class__ is float and not math.isfinite(value):  # 1e400 is read as infinity
        raise ValueError(f"{value!r} is not a finite number")
    return value


def dumps(jsonable: Any) -> str:
    """Return compact JSON text, plain ASCII."""
    return json.dumps(jsonable, separators=(",", ":"), allow_nan=False)


def loads(text: str | bytes) -> Any:
    """Parse JSON text.

    Raises:
        ValueError: if it is not JSON, or holds the words NaN or Infinity.
    """
    return pydantic_core.from_json(text, allow_inf_nan=False)


def canonical(jsonable: Any) -> bytes:
    """Return bytes that are equal exactly when two values are of one type and one content.

    Every value carries a type tag, so ``1``, ``1.0`` and ``True`` differ although they are equal.
    """
    if jsonable is None:
        return b"n"
    if jsonable is True:
        return b"t"
    if jsonable is False:
        return b"f"
    if isinstance(jsonable, int):
        return b"i%d;" % jsonable
    if isinstance(jsonable, float):
        return b"d%s;" % repr(jsonable).encode()
    if isinstance(jsonable, str):
        encoded = jsonable.encode()
        return b"s%d:%s" % (len(encoded), encoded)
    if isinstance(jsonable, list):
        return b"[%s]" % b"".join(map(canonical, jsonable))
    pairs = sorted(jsonable.items())
    return b"{%s}" % b"".join(canonical(key) + canonical(item) for key, item in pairs)


def content_hash(data: bytes) -> str:
    """Return the 128-bit BLAKE2b hash of ``data`` as 22 characters of URL-safe base64."""
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return base64.urlsafe_b64encode(digest)[:22].decode()
