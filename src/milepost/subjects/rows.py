"""A subject as records keep it: its key, and one row of JSON for each property.

The key is the subject's name behind a prefix that no group id may begin with. A row is named ``p:`` and
the property's name, ``e:`` for an extended one; its text is ``{"v": value}``, where a tracker's row is a list.
"""

from __future__ import annotations

from typing import Any, Final

from milepost._naming import SUBJECTS, spoken
from milepost.codec import canonical, dumps, from_jsonable, loads, to_jsonable
from milepost.errors import UndecodableError

__all__ = [
    "EXTENDED",
    "PROPERTY",
    "SubjectRow",
    "check_subject_name",
    "decode_subject_row",
    "key_of",
    "name_of",
    "plain",
    "property_row",
    "same",
]

PROPERTY: Final = "p:"
EXTENDED: Final = "e:"


def check_subject_name(name: Any) -> str:
    """Return a subject's name.

    Raises:
        TypeError: when it is no text.
        ValueError: when it is empty, or not valid Unicode.
    """
    return _text("a subject's name", name)


def property_row(kind: str, name: Any) -> str:
    """Return the name of the row that a property is kept in.

    Args:
        kind: ``PROPERTY`` or ``EXTENDED``.
        name: the property's name.

    Raises:
        TypeError: when it is no text.
        ValueError: when it is empty, or not valid Unicode.
    """
    return kind + _text("a property's name", name)


def _text(what: str, name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, got {name!r}")
    if not name:
        raise ValueError(f"{what} must not be empty")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} must be valid Unicode text, got {name!r}") from None
    return name


def key_of(name: str) -> str:
    """Return the key of a subject's record."""
    return SUBJECTS + name


def name_of(key: str) -> str:
    """Return the name of the subject that a record belongs to."""
    return key[len(SUBJECTS) :]


class SubjectRow:
    """A property's value as it is stored. Immutable by convention.

    Args:
        name: the row's name.
        form: the value as what JSON can carry.
    """

    __slots__ = ("form", "name")

    definition_hash: Final = ""
    """A property needs no definition."""

    def __init__(self, name: str, form: Any) -> None:
        self.name = name
        self.form = form

    @classmethod
    def of(cls, name: str, value: Any, where: str) -> SubjectRow:
        """Return the row for a value.

        Args:
            name: the row's name.
            value: what users hand in.
            where: how an error names it.

        Raises:
            InvalidDefinition: when the value cannot be stored.
        """
        return cls(name, to_jsonable(value, where))

    def value(self) -> Any:
        """Return the value; what can be changed about it is the caller's own."""
        return from_jsonable(self.form)

    def encoded(self) -> str:
        """Return the row as ASCII text."""
        return dumps({"v": self.form})

    def __repr__(self) -> str:
        return f"<{self.name} = {self.form!r}>"


def same(one: SubjectRow | None, other: SubjectRow | None) -> bool:
    """Whether two rows hold the same value of the same type: 1, 1.0 and True are three."""
    if one is None or other is None:
        return one is other
    return one is other or canonical(one.form) == canonical(other.form)


def decode_subject_row(key: str, name: str, text: str) -> SubjectRow:
    """Return the row that a text holds.

    Raises:
        UndecodableError: when it holds none.
    """
    try:
        body = loads(text)
        if set(body) != {"v"}:
            raise ValueError("it is no property")
        from_jsonable(body["v"])
    except (ValueError, TypeError) as error:
        reason = f"{error} in {text[:80]!r}"
        told = f"property {name[2:]!r} of {spoken(key)} cannot be read: {reason}"
        raise UndecodableError(key, name, reason, told) from error
    return SubjectRow(name, body["v"])


def plain(form: Any) -> Any:
    """Return a stored value as plain JSON for an event's payload: decimals and times are text, sets are lists."""
    if isinstance(form, list):
        return [plain(item) for item in form]
    if not isinstance(form, dict):
        return form
    if len(form) == 1:
        ((tag, inner),) = form.items()
        if tag in ("$decimal", "$datetime", "$date", "$time"):
            return inner
        if tag in ("$tuple", "$set", "$frozenset"):
            return [plain(item) for item in inner]
        if tag == "$timedelta":
            return from_jsonable(form).total_seconds()
        if tag == "$dict":
            return {key: plain(item) for key, item in inner}
    return {key: plain(item) for key, item in form.items()}
