"""Things with a definition: the common ground of conditions, limiters and trackers.

A subclass either annotates its fields, and gets an ``__init__`` that validates them with
Pydantic, or is a plain class with an ``__init__`` of its own and ordinary attributes. Both
have a *definition*: a JSON form under the class's ``kind``, from which an equal object can
be built in another process. A Pydantic ``BaseModel`` cannot be the base here: it refuses
plain attributes, so users could not write plain classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Protocol, Self, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, PlainValidator, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, core_schema

from milepost._keypaths import MISSING
from milepost.codec import Encodable, canonical, from_jsonable, register_tag, to_jsonable
from milepost.errors import AmbiguousState, InvalidDefinition, UnknownKindError

__all__ = ["AsList", "Definable", "Live", "Text", "Value", "Values", "items_of", "load_definition", "one_of"]

_LIVE: Final = "_milepost_live"
_RESERVED: Final = frozenset({"kind", "attributes"})
_registry: Final[dict[tuple[str, str], type[Definable]]] = {}


class Live(Protocol):
    """What stands behind an object that was handed to a manager: its definition and its state."""

    values: dict[str, Any]

    def read(self, owner: Definable, name: str) -> Any:
        """Return the attribute's present value, or MISSING.

        Raises:
            AmbiguousState: when the object lives in several places.
        """
        ...


class AsList:
    """Marks a field whose tuple is written as a JSON list, because its validator restores it."""


class Definable(Encodable):
    """The base of everything that has a definition.

    Subclasses register under a kind, by default their class name::

        class Weekday(BaseCondition, kind="acme.weekday"): ...

    Raises:
        InvalidDefinition: when a class is made whose kind another class already has.
    """

    kind: ClassVar[str]
    hooks: ClassVar[tuple[str, ...]] = ("check", "measure", "on_added", "post_track", "pre_track", "reset")
    """The methods of users' own that the tracking step calls."""

    def __init_subclass__(
        cls, *, kind: str | None = None, family: str | None = None, abstract: bool = False, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        cls._own_fields = _take_field_infos(cls)
        if family is not None:
            cls.family = family
            cls.kind = family
            return
        cls.kind = kind or cls.__name__
        if abstract:  # a base of several, of which there are no objects
            return
        taken = _registry.get((cls.family, cls.kind))
        if taken is not None and (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InvalidDefinition(
                f"{cls.__module__}.{cls.__qualname__} and {taken.__module__}.{taken.__qualname__} are both of the "
                f'{cls.family} kind {cls.kind!r}; give one a name of its own: class {cls.__name__}(..., kind="...")'
            )
        for hook in cls.hooks:
            if iscoroutinefunction(vars(cls).get(hook)):
                raise InvalidDefinition(
                    f"{cls.__name__}.{hook} must be a plain method, not async: it is part of the pure tracking step; "
                    f"what waits belongs into a listener"
                )
        _registry[cls.family, cls.kind] = cls

    _own_fields: ClassVar[dict[str, FieldInfo]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        cls = type(self)
        spec = spec_of(cls)
        if not args and not kwargs and spec.plain:
            return  # a plain class that calls super().__init__() to be polite
        if len(args) > len(spec.fields):
            raise InvalidDefinition(f"{cls.__name__} takes {len(spec.fields)} values, got {len(args)}")
        values = dict(zip(spec.fields, args, strict=False))
        for name, value in kwargs.items():
            if name in values:
                raise InvalidDefinition(f"{cls.__name__}.{name} is given twice")
            values[name] = value
        vars(self).update(spec.validate(values))
        self._validated()

    def _validated(self) -> None:
        """Check what concerns several fields at once; for subclasses inside milepost."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Read what is not in the instance: live state, an unset field's default."""
            if name.startswith(("__", "_milepost_")):
                raise AttributeError(name)
            live = self.__dict__.get(_LIVE)
            if live is not None:
                value = live.read(self, name)
                if value is not MISSING:
                    return value
            value = self._absent(name)
            if value is MISSING:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return value

    def _absent(self, name: str) -> Any:
        """Return what an attribute reads as that was never set, or MISSING."""
        info = spec_of(type(self)).model.model_fields.get(f"f_{name}")
        return MISSING if info is None or info.is_required() else info.default

    def __setattr__(self, name: str, value: Any) -> None:
        if _LIVE in self.__dict__ and not name.startswith("_milepost_"):
            raise AttributeError(
                f"{type(self).__name__}.{name} cannot be set: its tracker was added, and definitions do not change; "
                f"pass a changed tracker to `await manager.update_tracker(group_id, tracker)`"
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        spec = spec_of(type(self))
        shown = ", ".join(
            f"{name}={self._shown(name, value)!r}"
            for name, value in self.own_values().items()
            if name not in spec.fields or not spec.is_default(name, value)
        )
        return f"{type(self).__name__}({shown})"

    def _shown(self, name: str, value: Any) -> Any:
        """Return an attribute as it is now, where it has one value."""
        try:
            return getattr(self, name, value)
        except AmbiguousState:
            return value

    @classmethod
    def _field_names(cls) -> Sequence[str]:
        """Return the names of the annotated fields that are validated when an object is made."""
        spec = spec_of(cls)
        return () if spec.plain else spec.fields

    def own_values(self) -> dict[str, Any]:
        """Return the attributes that make up the definition, fields first."""
        live: Live | None = self.__dict__.get(_LIVE)
        if live is not None:
            return dict(live.values)
        return {name: value for name, value in vars(self).items() if not name.startswith("_milepost_")}

    def to_definition(self, where: str = "") -> dict[str, Any]:
        """Return the definition as JSON: the kind, the fields that differ from their defaults, other attributes.

        Raises:
            InvalidDefinition: when an attribute cannot be stored; the message names it.
        """
        cls = type(self)
        spec = spec_of(cls)
        values = self.own_values()
        fields = spec.validate({name: values[name] for name in spec.fields if name in values})
        definition: dict[str, Any] = {"kind": cls.kind}
        for name, value in fields.items():
            if not spec.is_default(name, value):
                definition[name] = spec.encode(name, value)
        extras = {name: value for name, value in values.items() if name not in fields}
        if extras:
            definition["attributes"] = {
                name: to_jsonable(value, f"{cls.__name__}.{name}") for name, value in extras.items()
            }
        return definition

    def _go_live(self, live: Live) -> None:
        """Empty the instance; from now on its attributes are read through ``live``."""
        vars(self).clear()
        vars(self)[_LIVE] = live

    @classmethod
    def _from_values(cls, values: Mapping[str, Any]) -> Self:
        made = object.__new__(cls)
        vars(made).update(values)
        return made

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def accept(value: Any) -> Any:
            try:
                return _accept(cls, value)
            except UnknownKindError as error:
                raise ValueError(str(error)) from None

        return core_schema.no_info_plain_validator_function(
            accept,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: value.to_definition(), return_schema=core_schema.dict_schema()
            ),
            metadata={"pydantic_js_functions": [lambda _schema, _handler: json_schema(cls)]},
        )


def _accept(family: type[Definable], value: Any) -> Any:
    if isinstance(value, family):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("kind"), str):
        loaded = load_definition(family.family, value)
        if isinstance(loaded, family):
            return loaded
    raise ValueError(f"must be a {family.__name__}, got {value!r}")


def json_schema(cls: type[Definable]) -> dict[str, Any]:
    """Return the JSON schema of a class's definitions; for a family, of all its registered kinds."""
    if cls.kind == cls.family:
        return {"oneOf": [json_schema(member) for key, member in sorted(_registry.items()) if key[0] == cls.family]}
    schema = spec_of(cls).model.model_json_schema(by_alias=True)
    schema["properties"] = {"kind": {"const": cls.kind}, **schema.get("properties", {}), "attributes": {}}
    schema["required"] = ["kind", *schema.get("required", ())]
    return schema


def load_definition(family: str, definition: Mapping[str, Any]) -> Definable:
    """Build the object that a definition describes, without running its ``__init__``.

    Raises:
        UnknownKindError: when nothing is registered under the kind.
        InvalidDefinition: when the values do not fit the class.
    """
    kind = definition.get("kind")
    cls = _registry.get((family, kind)) if isinstance(kind, str) else None
    if cls is None:
        raise UnknownKindError(str(kind))
    spec = spec_of(cls)
    given = {name: value for name, value in definition.items() if name not in _RESERVED}
    values = spec.validate({name: spec.decode(name, value) for name, value in given.items()})
    attributes = definition.get("attributes", {})
    if not isinstance(attributes, Mapping):
        raise InvalidDefinition(f"{cls.__name__}: attributes must be a dict, got {attributes!r}")
    values.update({name: from_jsonable(value) for name, value in attributes.items()})
    made = cls._from_values(values)
    made._validated()
    return made


register_tag("$kind", lambda pair: load_definition(pair[0], pair[1]))


class Spec:
    """What a class's fields are, read from its annotations once."""

    def __init__(self, cls: type[Definable]) -> None:
        self.cls = cls
        self.plain = cls.__init__ is not Definable.__init__
        self.fields: list[str] = []
        self.lists: set[str] = set()
        columns: dict[str, Any] = {}
        hints = get_type_hints(cls, include_extras=True)
        for name in _field_names(cls):
            hint = hints[name]
            if name in _RESERVED:
                raise InvalidDefinition(f"{cls.__name__}.{name}: a field may not be called {name!r}")
            if any(isinstance(mark, AsList) for mark in getattr(hint, "__metadata__", ())):
                self.lists.add(name)
            self.fields.append(name)
            # inside the model a field has another name, which shadows nothing of Pydantic's
            columns[f"f_{name}"] = (Annotated[hint, Field(alias=name)], _field_info(cls, name))
        self.model: type[BaseModel] = create_model(
            cls.__name__,
            __config__=ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True),
            **columns,
        )

    def validate(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all fields, checked, with defaults filled in."""
        try:
            made = self.model.model_validate(dict(values))
        except ValidationError as error:
            raise InvalidDefinition(_explain(self, error)) from None
        return {name: getattr(made, f"f_{name}") for name in self.fields}

    def is_default(self, name: str, value: Any) -> bool:
        default = self.model.model_fields[f"f_{name}"].default
        if default is PydanticUndefined or type(default) is not type(value):
            return False
        return default is value or canonical(self.encode(name, default)) == canonical(self.encode(name, value))

    def encode(self, name: str, value: Any) -> Any:
        where = f"{self.cls.__name__}.{name}"
        if isinstance(value, Definable):
            return value.to_definition(where)
        if name in self.lists:
            return [
                item.to_definition(where) if isinstance(item, Definable) else to_jsonable(item, where) for item in value
            ]
        return to_jsonable(value, where)

    def decode(self, name: str, value: Any) -> Any:
        if isinstance(value, dict) and "kind" in value:
            return value
        if name in self.lists and isinstance(value, list):
            return [item if isinstance(item, dict) and "kind" in item else from_jsonable(item) for item in value]
        return from_jsonable(value)


@cache
def spec_of(cls: type[Definable]) -> Spec:
    """Return the class's :class:`Spec`, made at its first use."""
    return Spec(cls)


def _take_field_infos(cls: type) -> dict[str, FieldInfo]:
    """Move the defaults of annotated fields off the class, so that reading one asks the instance."""
    taken: dict[str, FieldInfo] = {}
    for name in _annotated_here(cls):
        value = vars(cls).get(name, PydanticUndefined)
        taken[name] = value if isinstance(value, FieldInfo) else FieldInfo(default=value)
        if name in vars(cls):
            delattr(cls, name)
    return taken


def _annotated_here(cls: type) -> Iterable[str]:
    for name, annotation in vars(cls).get("__annotations__", {}).items():
        text = annotation if isinstance(annotation, str) else ""
        is_class_variable = text.startswith(("ClassVar", "typing.ClassVar")) or get_origin(annotation) is ClassVar
        if not is_class_variable and annotation is not ClassVar and not name.startswith("_"):
            yield name


def _field_names(cls: type[Definable]) -> Iterable[str]:
    seen: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        seen.update(dict.fromkeys(vars(base).get("_own_fields", ())))
    return seen


def _field_info(cls: type[Definable], name: str) -> FieldInfo:
    for base in cls.__mro__:
        taken = vars(base).get("_own_fields", {})
        if name in taken:
            found: FieldInfo = copy.copy(taken[name])
            return found
    return FieldInfo()


_MUST_BE: Final = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "True or False",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a dict",
    "time_delta_type": "a timedelta",
}


def _explain(spec: Spec, error: ValidationError) -> str:
    """Say what is wrong as "KeyExists.key must be a string, got 3"."""
    found = error.errors(include_url=False)
    first = next((item for item in found if item["type"] == "extra_forbidden"), found[0])
    name, kind, given, context = ".".join(map(str, first["loc"])), first["type"], first["input"], first.get("ctx", {})
    label = spec.cls.__name__
    if kind == "extra_forbidden":
        return f"{label} has no field {name!r}; its fields are {', '.join(spec.fields) or '(none)'}"
    where = f"{label}.{name}"
    if kind == "missing":
        return f"{where} is required"
    if kind == "value_error":
        message = str(context["error"])
        return f"{where} {message}" if message.startswith("must") else message
    if kind in _MUST_BE:
        return f"{where} must be {_MUST_BE[kind]}, got {given!r}"
    for bound, words in (("gt", "greater than"), ("ge", "at least"), ("lt", "less than"), ("le", "at most")):
        if bound in context:
            return f"{where} must be {words} {context[bound]}, got {given!r}"
    if "expected" in context:
        return f"{where} must be {context['expected']}, got {given!r}"
    return f"{where}: {first['msg']}, got {given!r}"


def items_of(family: type[Definable], *, least: int = 0) -> Callable[[Any], tuple[Any, ...]]:
    """Return a validator for an iterable of conditions or limiters; the result is a tuple."""

    def validate(value: Any) -> tuple[Any, ...]:
        if isinstance(value, str | bytes | Mapping | Definable) or not isinstance(value, Iterable):
            raise ValueError(f"must be a list of {family.__name__} objects, got {value!r}")
        items = tuple(value)
        for item in items:
            if not isinstance(item, family) and not (isinstance(item, Mapping) and "kind" in item):
                raise ValueError(f"must hold {family.__name__} objects only, got {item!r}")
        if len(items) < least:
            raise ValueError(f"must hold at least {least}, got {len(items)}")
        return tuple(_accept(family, item) for item in items)

    return validate


def one_of(family: type[Definable]) -> Callable[[Any], Any]:
    """Return a validator for one condition or limiter."""
    return lambda value: _accept(family, value)


def _copied(value: Any) -> Any:
    try:
        return from_jsonable(to_jsonable(value, "value"))
    except InvalidDefinition as error:
        raise ValueError(str(error).replace("value", "must be storable: it", 1)) from None


def _copied_values(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ValueError(f"must be a list of values, got {value!r}")
    return tuple(_copied(item) for item in value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, got {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"must be valid Unicode text, got {value!r}") from None
    return value


Text = Annotated[str, PlainValidator(_text, json_schema_input_type=str)]
"""Text that can be stored."""

Value = Annotated[Any, PlainValidator(_copied)]
"""Any storable value, copied when the object is made."""

Values = Annotated[Sequence[Any], PlainValidator(_copied_values), AsList()]
"""A list of storable values, copied when the object is made."""
