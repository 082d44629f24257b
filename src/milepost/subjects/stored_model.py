"""A Pydantic model's fields as a subject's properties, and back."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, Field, PrivateAttr, ValidationError
from pydantic.fields import FieldInfo

from milepost._naming import SUBJECTS
from milepost.codec import canonical, dumps, to_jsonable
from milepost.subjects.model_work import Forms, forms_in
from milepost.subjects.rows import SubjectRow, key_of, plain

__all__ = ["StoredModel", "event_name_of"]


class _State:
    """What a model knows of what is stored. Models of the same fields are equal, whatever they have been through."""

    def __init__(self) -> None:
        self.base: Forms = {}
        self.revision: tuple[int, int] | None = None
        self.told: dict[str, tuple[str, dict[str, Any]]] = {}
        """Id and payload of the event that told of the present revision, by its type."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _State)

    __hash__ = object.__hash__


class StoredModel(BaseModel):
    """A model that may begin incomplete, and is stored as JSON, one property for each field."""

    _collection: ClassVar[str] = ""

    id: str = Field(default_factory=lambda: uuid.uuid4().hex)

    _state: _State = PrivateAttr(default_factory=_State)

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            if any(problem["type"] != "missing" or len(problem["loc"]) > 1 for problem in error.errors()):
                raise
            self._begin_incomplete(data)

    # so that Pydantic validates without it, and so the whole
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]

    def _begin_incomplete(self, data: dict[str, Any]) -> None:
        """Take over what is there; the rest is left to before-hooks."""
        names = {_input_name(name, field): name for name, field in type(self).model_fields.items()}
        made = type(self).model_construct()
        for attribute in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"):
            object.__setattr__(self, attribute, getattr(made, attribute))
        for given, value in data.items():
            name = names.get(given, given if given in names.values() else None)
            if name is not None:
                self.__pydantic_validator__.validate_assignment(self, name, value)

    @classmethod
    def _key_of(cls, id: Any) -> str:
        return key_of(f"{cls._collection}:{id}")

    @property
    def _subject_name(self) -> str:
        return self._key_of(self.id)[len(SUBJECTS) :]

    def _validate(self) -> Forms:
        """Validate the whole, take over what validation made of it, and return it as it is stored.

        Raises:
            ValidationError: when it is not valid.
        """
        fields = type(self).model_fields
        values = {_input_name(name, field): vars(self)[name] for name, field in fields.items() if name in vars(self)}
        valid = type(self).model_validate({**values, **(self.__pydantic_extra__ or {})})
        vars(self).update(vars(valid))
        stored = valid.model_dump(mode="json", round_trip=True)
        forms = {name: to_jsonable(value, f"{type(self).__name__}.{name}") for name, value in stored.items()}
        for name, before in self._state.base.items():
            if isinstance(getattr(self, name, None), set | frozenset) and _same_items(forms.get(name), before):
                forms[name] = before  # a set has no order, and the list that is stored for it has one
        return forms

    @classmethod
    def _from_forms(cls, forms: Forms) -> Self:
        """Return the model that stored fields make.

        Raises:
            ValidationError: when they make none.
        """
        names = {name: _input_name(name, field) for name, field in cls.model_fields.items()}
        keeps_extra = cls.model_config.get("extra") == "allow"
        values = {names.get(name, name): plain(form) for name, form in forms.items() if name in names or keeps_extra}
        try:
            return cls.model_validate_json(dumps(values))
        except ValidationError as error:
            error.add_note(f"in what is stored of the {cls.__name__} with the id {plain(forms.get('id'))!r}")
            raise

    @classmethod
    def _loaded(cls, rows: Mapping[str, SubjectRow], revision: tuple[int, int] | None) -> Self | None:
        forms = forms_in(rows)
        if "id" not in forms:
            return None
        model = cls._from_forms(forms)
        model._state.base, model._state.revision = forms, revision
        return model

    @classmethod
    def _describe(cls, forms: Forms) -> dict[str, Any]:
        return cls._from_forms(forms)._payload()

    def _payload(self) -> dict[str, Any]:
        """Return the fields for an event."""
        return self.model_dump(mode="json", warnings=False)


def event_name_of(model: type[Any] | str) -> str:
    """Return what the types of a model's events begin with: ``order_item`` for the class ``OrderItem``."""
    name = model if isinstance(model, str) else model.__name__
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _input_name(name: str, field: FieldInfo) -> str:
    """Return the name under which Pydantic takes a field."""
    alias = field.validation_alias or field.alias
    return alias if isinstance(alias, str) else name


def _same_items(one: Any, other: Any) -> bool:
    if not isinstance(one, list) or not isinstance(other, list):
        return False
    return sorted(map(canonical, one)) == sorted(map(canonical, other))
