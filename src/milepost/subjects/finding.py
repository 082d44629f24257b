"""Finding stored models: by id, and by equality of their fields."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Final, Self, cast

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from milepost.errors import InvalidDefinition
from milepost.subjects.commands import Loaded, ReadSubject
from milepost.subjects.environment import Environment, current_environment
from milepost.subjects.rows import SubjectRow, decode_subject_row
from milepost.subjects.stored_model import StoredModel

__all__ = ["FoundModel"]

_PAGE: Final = 500


class FoundModel(StoredModel):
    """A model that knows where models of its kind are."""

    _bound: ClassVar[Environment | None] = None

    @classmethod
    def bind(cls, manager: Any, services: Mapping[str, Any] | None = None) -> None:
        """Let this class, and those that inherit from it, use a manager of their own.

        Args:
            manager: a ``TrackingManager``; None for the one that ``milepost.init`` has made.
            services: what hooks find in ``self._env``, by name.
        """
        cls._bound = None if manager is None else Environment(manager, services)

    @classmethod
    def _environment(cls) -> Environment:
        environment = cls._bound or current_environment()
        if environment is None:
            raise InvalidDefinition(f"{cls.__name__} has no manager: call milepost.init(), or {cls.__name__}.bind(...)")
        return environment

    @property
    def _env(self) -> Environment:
        """What there is around it: ``event_bus``, ``manager``, and the services by name."""
        return self._environment()

    @classmethod
    async def get(cls, id: Any) -> Self | None:
        """Return the model of an id; None where there is none.

        Raises:
            UndecodableError: when what is stored cannot be read.
            ValidationError: when what is stored is no such model.
            BackendUnavailable: when the cache or the store does not answer.
        """
        loaded: Loaded = await cls._environment().keeper.run(cls._key_of(id), ReadSubject())
        for error in loaded.broken.values():
            raise error
        return cls._loaded(loaded.rows, loaded.revision)

    @classmethod
    async def find(cls, query: Mapping[str, Any] | None = None, /, **fields: Any) -> list[Self]:
        """Return the models whose fields equal these, sorted by id; all of them for no fields.

        Args:
            query: fields and their values.
            **fields: more of them.

        Raises:
            TypeError: for a name that is no field.
            BackendUnavailable: when the cache or the store does not answer.
        """
        return [model async for model in cls._matching(query, fields)]

    @classmethod
    async def find_one(cls, query: Mapping[str, Any] | None = None, /, **fields: Any) -> Self | None:
        """Return the first of those that :meth:`find` returns; None where there is none."""
        async for model in cls._matching(query, fields):
            return model
        return None

    @classmethod
    async def count(cls, query: Mapping[str, Any] | None = None, /, **fields: Any) -> int:
        """Return how many models :meth:`find` would return."""
        return len([model async for model in cls._matching(query, fields)])

    @classmethod
    async def _matching(cls, query: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> AsyncIterator[Self]:
        wanted = {**(query or {}), **fields}
        for name, value in wanted.items():
            if name not in cls.model_fields:
                raise TypeError(f"{cls.__name__} has no field {name!r}")
            wanted[name] = _as_field(cls.model_fields[name], value)
        async for model in cls._all():
            if all(getattr(model, name) == value for name, value in wanted.items()):
                yield model

    @classmethod
    async def _all(cls) -> AsyncIterator[Self]:
        """Iterate over the models of the collection, sorted by id, a page at a time."""
        keeper = cls._environment().keeper
        await keeper.ready()
        prefix = cls._key_of("")
        keys = sorted([key async for key in keeper.authority.keys(f"{prefix}*") if key.startswith(prefix)])
        for start in range(0, len(keys), _PAGE):
            page = keys[start : start + _PAGE]
            found = await keeper.authority.load(page)
            for key in page:
                if key in found:
                    rows = {name: _as_row(key, name, row) for name, row in found[key].rows.items()}
                    model = cls._loaded(rows, found[key].state.revision)
                    if model is not None:
                        yield model


def _as_field(field: FieldInfo, value: Any) -> Any:
    """Return a value as the field would have it, so that ``"1.50"`` finds a decimal; as it is, if it cannot be one."""
    try:
        return TypeAdapter[Any](cast(Any, field.annotation)).validate_python(value)
    except ValidationError:
        return value


def _as_row(key: str, name: str, row: Any) -> SubjectRow:
    return decode_subject_row(key, name, row) if isinstance(row, str) else cast(SubjectRow, row)
