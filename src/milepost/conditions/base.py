"""The base of conditions: pure questions about one datum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, dataclass_transform

from pydantic import Field

from milepost._calls import accepted
from milepost._kinds import Definable
from milepost.codec import canonical
from milepost.errors import InvalidDefinition

if TYPE_CHECKING:
    from milepost.conditions.combinators import AllOf, AnyOf, Not

__all__ = ["BaseCondition", "Lookup", "Test"]

Test = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
"""A condition made ready: called with the datum and the context of the call."""


class Lookup(NamedTuple):
    """How a tracker can be filed under a condition: by a key, and by values unless any will do."""

    path: tuple[str, ...]
    values: tuple[Any, ...] | None


@dataclass_transform(field_specifiers=(Field,))
class BaseCondition(Definable, family="condition"):
    """A pure question about a datum. Subclass it with annotated fields::

        class LongerThan(BaseCondition):
            key: str
            length: int = 10

            def check(self, data, **context):
                return len(data.get(self.key, "")) > self.length

    or as a plain class with an ``__init__`` of its own. ``check`` must depend on its
    arguments alone: it may run more than once for one datum.
    """

    def check(self, data: Mapping[str, Any], /, *args: Any, **kwargs: Any) -> bool:
        """Return whether the datum satisfies the condition.

        Args:
            data: the datum; not to be changed.
            *args: unused, for subclasses written for older systems.
            **kwargs: the context handed to ``track``, as far as the signature takes it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define check(self, data, **kwargs)")

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            if name in vars(self) and name in self._field_names():
                raise AttributeError(
                    f"{type(self).__name__}.{name} cannot be set: a condition does not change; make another one"
                )
            super().__setattr__(name, value)

    def compiled(self) -> Test:
        """Return the condition as one function of the datum and the context."""
        check, declared = self.check, type(self).check
        if declared is BaseCondition.check:
            raise InvalidDefinition(f"{type(self).__name__} must define check(self, data, **kwargs)")

        def test(data: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
            return bool(check(data, **accepted(declared, 2, context)))

        return test

    def lookups(self) -> tuple[Lookup, ...]:
        """Return ways to find this condition by a look-up, the most selective first."""
        return ()

    def conjuncts(self) -> tuple[BaseCondition, ...]:
        """Return the conditions that must all hold for this one to hold."""
        return (self,)

    def identity(self) -> bytes:
        """Return canonical bytes; two conditions are the same when these are."""
        return canonical(self.to_definition())

    def __and__(self, other: BaseCondition) -> AllOf:
        from milepost.conditions.combinators import AllOf

        return AllOf(self, other) if isinstance(other, BaseCondition) else NotImplemented

    def __or__(self, other: BaseCondition) -> AnyOf:
        from milepost.conditions.combinators import AnyOf

        return AnyOf(self, other) if isinstance(other, BaseCondition) else NotImplemented

    def __invert__(self) -> Not:
        from milepost.conditions.combinators import Not

        return Not(self)

    def __bool__(self) -> bool:
        raise TypeError(
            "a condition is neither true nor false; combine conditions with &, | and ~, not and, or and not"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BaseCondition):
            return NotImplemented
        return self.identity() == other.identity()

    def __hash__(self) -> int:
        return hash(self.identity())
