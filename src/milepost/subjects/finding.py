"""Finding stored models: by id, and by equality of their fields."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Self, cast

from milepost.errors import InvalidDefinition
from milepost.subjects.commands import Loaded, ReadSubject
from milepost.subjects.environment import Environment, current_environment
from milepost.subjects.queries import Query
from milepost.subjects.rows import SubjectRow, decode_subject_row
from milepost.subjects.stored_model import StoredModel

__all__ = ["FoundModel"]

_PAGE: Final = 500
_FIRST_PAGE: Final = 1


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

        Fields of texts, whole numbers, enumerations and UUIDs are looked up by an index where the store has one; by
        others all models of the collection are looked through, a page at a time.

        Args:
            query: fields and their values.
            **fields: more of them.

        Raises:
            TypeError: for a name that is no field.
            BackendUnavailable: when the cache or the store does not answer.
        """
        found = [(key, model) async for key, model in cls._matching(cls._query(query, fields))]
        found.sort(key=lambda one: one[0])  # a cache without a store has no order
        return [model for _, model in found]

    @classmethod
    async def find_one(cls, query: Mapping[str, Any] | None = None, /, **fields: Any) -> Self | None:
        """Return the first of those that :meth:`find` returns; None where there is none."""
        first: tuple[str, Self] | None = None
        are_sorted = cls._environment().keeper.candidates.are_sorted
        async for one in cls._matching(cls._query(query, fields), page=_FIRST_PAGE if are_sorted else _PAGE):
            if first is None or one[0] < first[0]:
                first = one
            if are_sorted:
                break
        return None if first is None else first[1]

    @classmethod
    async def count(cls, query: Mapping[str, Any] | None = None, /, **fields: Any) -> int:
        """Return how many models :meth:`find` would return."""
        asked = cls._query(query, fields)
        number = 0
        if asked.is_whole and cls._environment().keeper.candidates.are_exact:
            async for _ in cls._candidates(asked):
                number += 1
        else:
            async for _ in cls._matching(asked):
                number += 1
        return number

    @classmethod
    def _query(cls, query: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> Query:
        return Query.of(cls, {**(query or {}), **fields})

    @classmethod
    async def _candidates(cls, query: Query) -> AsyncIterator[str]:
        keeper = cls._environment().keeper
        await keeper.ready()
        async for key in keeper.candidates.find(cls._key_of(""), query.conditions):
            yield key

    @classmethod
    async def _matching(cls, query: Query, page: int = _PAGE) -> AsyncIterator[tuple[str, Self]]:
        """Iterate over matching models and their keys, a page at a time."""
        keys: list[str] = []
        async for key in cls._candidates(query):
            keys.append(key)
            if len(keys) >= page:
                for found in await cls._load(keys):
                    if query.holds_for(found[1]):
                        yield found
                keys, page = [], _PAGE
        for found in await cls._load(keys):
            if query.holds_for(found[1]):
                yield found

    @classmethod
    async def _load(cls, keys: Sequence[str]) -> list[tuple[str, Self]]:
        """Return the models of these keys, as they are now."""
        records = await cls._environment().keeper.authority.load(keys) if keys else {}
        models: list[tuple[str, Self]] = []
        for key in keys:
            if key in records:
                rows = {name: _as_row(key, name, row) for name, row in records[key].rows.items()}
                model = cls._loaded(rows, records[key].state.revision)
                if model is not None:
                    models.append((key, model))
        return models


def _as_row(key: str, name: str, row: Any) -> SubjectRow:
    return decode_subject_row(key, name, row) if isinstance(row, str) else cast(SubjectRow, row)
