"""``TrackedModel``: a Pydantic model that is stored as a subject, with hooks around and events of its operations."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Mapping
from inspect import isawaitable
from typing import Any, ClassVar, Final, Literal, Self, cast

from pydantic import BaseModel, Field, PrivateAttr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from milepost.codec import canonical, dumps, to_jsonable
from milepost.errors import InvalidDefinition, ModelNotFound
from milepost.events.types import Event
from milepost.subjects.commands import Loaded, ReadSubject, SubjectWork
from milepost.subjects.environment import Environment, current_environment
from milepost.subjects.hooks import hooks_of
from milepost.subjects.model_work import DeleteModel, Forms, Identity, WriteModel, Written, forms_in
from milepost.subjects.rows import SUBJECTS, SubjectRow, decode_subject_row, key_of, plain

__all__ = ["TrackedModel", "event_name_of"]

_PAGE: Final = 500


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


class TrackedModel(BaseModel):
    """A Pydantic model that is stored as a subject: ``users:1`` for the id ``1`` in the collection ``users``.

    ::

        class User(TrackedModel):
            _collection = "users"

            username: str
            created_at: datetime

            @before_create
            async def _stamp(self) -> None:
                self.created_at = datetime.now(UTC)


        user = User(username="ada")
        await user.create()
        await user.update(username="grace")
        assert await User.find_one(username="grace") == user

    Required fields may be missing until a before-hook has filled them: the whole is validated before it is stored.
    Before-hooks run in the order save, write, create or update; after-hooks in the reverse order, after the commit.
    A before-hook that raises stops the operation; the error of an after-hook reaches the caller and undoes nothing.
    Events are ``user.created``, ``user.updated`` and ``user.deleted``, after the class's name.

    A class may set ``_collection``, and ``_on_conflict = "merge"``: then what others have stored since the model was
    loaded is merged with what was changed here, field by field, and only a field that both changed is a conflict.
    """

    _collection: ClassVar[str] = ""
    _on_conflict: ClassVar[Literal["error", "merge"]] = "error"
    _hooks: ClassVar[dict[tuple[str, str], tuple[str, ...]]] = {}
    _bound: ClassVar[Environment | None] = None

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
    def __pydantic_init_subclass__(cls, **named: Any) -> None:
        super().__pydantic_init_subclass__(**named)
        for setting in ("_collection", "_on_conflict"):
            private = cls.__private_attributes__.pop(setting, None)
            if private is not None:  # `_collection = "users"` without an annotation
                setattr(cls, setting, private.default)
        if "_collection" not in vars(cls) and not cls._collection:
            cls._collection = event_name_of(cls)
        if not isinstance(cls._collection, str) or not re.fullmatch(r"[^:*?]+", cls._collection):
            raise InvalidDefinition(f"_collection must be text without ':', '*' and '?', got {cls._collection!r}")
        if cls._on_conflict not in ("error", "merge"):
            raise InvalidDefinition(f'_on_conflict must be "error" or "merge", got {cls._on_conflict!r}')
        cls._hooks = _find_hooks(cls)

    # --- around it ----------------------------------------------------------------------------

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

    # --- operations -------------------------------------------------------------------------

    async def create(self) -> None:
        """Store a new model.

        Raises:
            ModelExists: when there is one of this id.
            ValidationError: when the whole is not valid, after the before-hooks; nothing was stored.
            BackendUnavailable: when the cache or the store does not answer.
        """
        await self._write("create")

    async def save(self) -> None:
        """Store the model as it is: create it where it is new, else update it.

        Raises:
            ModelExists: when it is new, and there is one of this id.
            StaleModelError: when others stored or deleted it since it was loaded; nothing was stored.
            ValidationError: when the whole is not valid, after the before-hooks; nothing was stored.
            BackendUnavailable: when the cache or the store does not answer.
        """
        await self._write("create" if self._state.revision is None else "update")

    async def update(self, **changes: Any) -> None:
        """Change fields and store the model. Where it is not stored, its fields are as they were.

        Args:
            **changes: fields and their values.

        Raises:
            TypeError: for a name that is no field.
            ModelNotFound: when it was not created.
            StaleModelError: when others stored or deleted it since it was loaded; nothing was stored.
            ValidationError: when the whole is not valid, after the before-hooks; nothing was stored.
            BackendUnavailable: when the cache or the store does not answer.
        """
        unknown = [name for name in changes if name not in type(self).model_fields]
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {unknown[0]!r}")
        before, revision = dict(vars(self)), self._state.revision
        try:
            for name, value in changes.items():
                setattr(self, name, value)
            await self._write("update")
        except BaseException:
            if self._state.revision == revision:
                vars(self).update({name: before[name] for name in changes if name in before})
            raise

    async def delete(self) -> None:
        """Delete the model with all that is stored of it.

        Raises:
            ModelNotFound: when it is stored nowhere.
            StaleModelError: when others stored it since it was loaded; nothing was deleted.
            BackendUnavailable: when the cache or the store does not answer.
        """
        await self._run_hooks("before", "delete")
        identity, state = self._identity(), self._state
        keeper = self._environment().keeper
        work = DeleteModel(identity, state.revision, self._merges, self._payload(), keeper.cause())
        self._take(await self._run(work), f"{identity.event}.deleted")
        await self._run_hooks("after", "delete")

    async def reload(self) -> None:
        """Take over what is stored now; what was changed here is gone.

        Raises:
            ModelNotFound: when it is stored nowhere.
            BackendUnavailable: when the cache or the store does not answer.
        """
        fresh = await type(self).get(self.id)
        if fresh is None:
            raise ModelNotFound(type(self).__name__, self.id)
        vars(self).update(vars(fresh))
        self._state = fresh._state

    async def _write(self, kind: Literal["create", "update"]) -> None:
        state, keeper = self._state, self._environment().keeper
        if kind == "update" and state.revision is None:
            raise ModelNotFound(type(self).__name__, self.id)
        for operation in ("save", "write", kind):
            await self._run_hooks("before", operation)
        forms = self._validate()
        if "id" in state.base and forms["id"] != state.base["id"]:
            raise InvalidDefinition(f"the id of a {type(self).__name__} does not change, got {self.id!r}")
        identity = self._identity()
        work = WriteModel(
            identity, kind == "create", forms, state.base, state.revision, self._merges, self._describe, keeper.cause()
        )
        written = await self._run(work)
        self._take(written, f"{identity.event}.{kind}d")
        if written.forms != forms:  # merged with what others stored
            vars(self).update(vars(self._from_forms(written.forms)))
        for operation in (kind, "write", "save"):
            await self._run_hooks("after", operation)

    async def _run(self, work: SubjectWork) -> Written:
        written: Written = await self._environment().keeper.run(self._key_of(self.id), work)
        return written

    def _take(self, written: Written, event_type: str) -> None:
        state = self._state
        state.base, state.revision = written.forms, written.revision
        if written.event is not None:
            state.told = {event_type: (written.event, written.payload)}

    async def _run_hooks(self, when: str, operation: str) -> None:
        for name in self._hooks.get((when, operation), ()):
            answer = getattr(self, name)()
            if isawaitable(answer):
                await answer

    async def _publish(self, event_type: str) -> None:
        """Publish an event about the model as it is."""
        event = Event(event_type, self._payload(), subject=self._subject_name)
        await self._environment().event_bus.publish(event)

    # --- finding ------------------------------------------------------------------------------

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

    # --- between fields and rows --------------------------------------------------------------

    @classmethod
    def _key_of(cls, id: Any) -> str:
        return key_of(f"{cls._collection}:{id}")

    @property
    def _subject_name(self) -> str:
        return self._key_of(self.id)[len(SUBJECTS) :]

    def _identity(self) -> Identity:
        return Identity(type(self).__name__, event_name_of(type(self)), self.id)

    @property
    def _merges(self) -> bool:
        return self._on_conflict == "merge"

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


def _find_hooks(cls: type[Any]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the names of hook methods, those of base classes first, in the order of definition."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for base in reversed(cls.__mro__):
        for name, attribute in vars(base).items():
            for hook in hooks_of(attribute):
                found.setdefault((hook.when, hook.operation), {})[name] = None
    return {key: tuple(names) for key, names in found.items()}


def _input_name(name: str, field: FieldInfo) -> str:
    """Return the name under which Pydantic takes a field."""
    alias = field.validation_alias or field.alias
    return alias if isinstance(alias, str) else name


def _as_field(field: FieldInfo, value: Any) -> Any:
    """Return a value as the field would have it, so that ``"1.50"`` finds a decimal; as it is, if it cannot be one."""
    try:
        return TypeAdapter[Any](cast(Any, field.annotation)).validate_python(value)
    except ValidationError:
        return value


def _same_items(one: Any, other: Any) -> bool:
    if not isinstance(one, list) or not isinstance(other, list):
        return False
    return sorted(map(canonical, one)) == sorted(map(canonical, other))


def _as_row(key: str, name: str, row: Any) -> SubjectRow:
    return decode_subject_row(key, name, row) if isinstance(row, str) else cast(SubjectRow, row)
