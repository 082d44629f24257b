"""What ``find`` is asked for: fields and values, and what of it a store can be asked for by the text of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, cast, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from milepost.codec import to_jsonable
from milepost.lookups import LONGEST_TEXT, RowIs
from milepost.subjects.rows import PROPERTY, SubjectRow

__all__ = ["Query"]

_ONE_TEXT: Final = (str, int, UUID, NoneType)
"""Types of whose values equal ones are stored as equal texts. Not so decimals, times and floats."""


class Query(NamedTuple):
    """A question by equality of fields."""

    wanted: Mapping[str, Any]
    """The values, as the fields would have them."""
    conditions: Sequence[RowIs]
    """What a store can be asked for."""
    is_whole: bool
    """Whether the conditions say all there is to be said."""

    @classmethod
    def of(cls, model: type[BaseModel], given: Mapping[str, Any]) -> Query:
        """Return the question whether fields of a model equal these.

        Raises:
            TypeError: for a name that is no field.
        """
        wanted: dict[str, Any] = {}
        conditions = [] if "id" in given else [RowIs(PROPERTY + "id", ())]
        is_whole = True
        for name, value in given.items():
            field = model.model_fields.get(name)
            if field is None:
                raise TypeError(f"{model.__name__} has no field {name!r}")
            texts: tuple[str, ...] = ()
            try:
                wanted[name] = TypeAdapter[Any](cast(Any, field.annotation)).validate_python(value)
                texts = _texts_of(model, name, field, wanted[name])
            except ValueError:  # not a value of the field's, or not one that can be stored
                wanted[name] = value
            if texts:
                or_absent = name != "id" and _may_be_absent(field, wanted[name])
                conditions.append(RowIs(PROPERTY + name, texts, or_absent))
            is_known = name == "id" or field.default_factory is None  # else an absent field may be anything
            is_whole = is_whole and bool(texts) and is_known
        return cls(wanted, conditions, is_whole)

    def holds_for(self, model: BaseModel) -> bool:
        """Whether a model is one of those that are asked for."""
        return all(getattr(model, name) == value for name, value in self.wanted.items())


def _texts_of(model: type[BaseModel], name: str, field: FieldInfo, value: Any) -> tuple[str, ...]:
    """Return the texts that the rows of all equal values have; none where that cannot be told.

    Raises:
        ValueError: when the value cannot be stored.
    """
    kinds = _kinds(field.annotation) - {NoneType}
    if len(kinds) != 1 or not kinds <= {*_ONE_TEXT, Enum}:  # 1 equals True, and is stored as another text
        return ()
    form = model.model_construct(**{name: value}).model_dump(mode="json", include={name}, warnings=False)[name]
    forms = [form]
    if type(form) is int:  # somebody may have set the property to another spelling of it
        forms += [str(form), float(form)]
    texts = tuple(SubjectRow(name, to_jsonable(one, name)).encoded() for one in forms)
    return texts if all(len(text) <= LONGEST_TEXT for text in texts) else ()


def _kinds(annotation: Any) -> set[Any]:
    """Return the types that an annotation is made of; every enumeration of texts and whole numbers counts as one."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kinds(arguments[0])
    if origin in (Union, UnionType):
        return set().union(*map(_kinds, arguments))
    if origin is Literal:
        return {type(value) for value in arguments}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return {Enum} if all(type(item.value) in (str, int) for item in annotation) else {annotation}
    return {annotation}


def _may_be_absent(field: FieldInfo, value: Any) -> bool:
    """Whether a model that was stored before it had the field would have this value."""
    if field.is_required():
        return False
    return field.default_factory is not None or bool(field.default == value)
