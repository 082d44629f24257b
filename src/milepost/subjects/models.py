"""``TrackedModel``: a Pydantic model that is stored as a subject, with hooks around and events of its operations."""

from __future__ import annotations

import re
from inspect import isawaitable
from typing import Any, ClassVar, Literal

from milepost.errors import InvalidDefinition, ModelNotFound
from milepost.events.types import Event
from milepost.subjects.commands import SubjectWork
from milepost.subjects.finding import FoundModel
from milepost.subjects.hooks import hooks_of
from milepost.subjects.model_work import DeleteModel, Identity, WriteModel, Written
from milepost.subjects.stored_model import event_name_of

__all__ = ["TrackedModel"]


class TrackedModel(FoundModel):
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

    _on_conflict: ClassVar[Literal["error", "merge"]] = "error"
    _hooks: ClassVar[dict[tuple[str, str], tuple[str, ...]]] = {}

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

    def _identity(self) -> Identity:
        return Identity(type(self).__name__, event_name_of(type(self)), self.id)

    @property
    def _merges(self) -> bool:
        return self._on_conflict == "merge"


def _find_hooks(cls: type[Any]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the names of hook methods, those of base classes first, in the order of definition."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for base in reversed(cls.__mro__):
        for name, attribute in vars(base).items():
            for hook in hooks_of(attribute):
                found.setdefault((hook.when, hook.operation), {})[name] = None
    return {key: tuple(names) for key, names in found.items()}
