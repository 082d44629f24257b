"""Conditions made of conditions: ``AllOf``, ``AnyOf``, ``Not``, also written ``&``, ``|``, ``~``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from milepost._kinds import AsList, items_of, one_of
from milepost.conditions.base import BaseCondition, Test

__all__ = ["AllOf", "AnyOf", "Not"]

_Parts = Annotated[tuple[BaseCondition, ...], PlainValidator(items_of(BaseCondition, least=1)), AsList()]


def _settled_by(answer: bool, conditions: Sequence[BaseCondition]) -> Test:
    """Return a test that one condition with this answer settles, in whatever order they stand.

    That holds also where another one raises; only where none settles it is the error raised.
    """
    tests = [condition.compiled() for condition in conditions]

    def test(data: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
        raised: Exception | None = None
        for part in tests:
            try:
                if bool(part(data, context)) is answer:
                    return answer
            except Exception as error:
                raised = raised or error
        if raised is not None:
            raise raised
        return not answer

    return test


class AllOf(BaseCondition):
    """True when every one of its conditions is.

    Args:
        *conditions: at least one condition.

    Raises:
        InvalidDefinition: when there is none, or something that is no condition.
    """

    conditions: _Parts

    def __init__(self, *conditions: BaseCondition) -> None:
        super().__init__(conditions=conditions)

    def compiled(self) -> Test:
        return _settled_by(False, self.conditions)

    def conjuncts(self) -> tuple[BaseCondition, ...]:
        return tuple(part for condition in self.conditions for part in condition.conjuncts())

    def check(self, data: Any, /, *args: Any, **kwargs: Any) -> bool:
        return self.compiled()(data, kwargs)


class AnyOf(BaseCondition):
    """True when at least one of its conditions is.

    Args:
        *conditions: at least one condition.

    Raises:
        InvalidDefinition: when there is none, or something that is no condition.
    """

    conditions: _Parts

    def __init__(self, *conditions: BaseCondition) -> None:
        super().__init__(conditions=conditions)

    def compiled(self) -> Test:
        return _settled_by(True, self.conditions)

    def check(self, data: Any, /, *args: Any, **kwargs: Any) -> bool:
        return self.compiled()(data, kwargs)


class Not(BaseCondition):
    """True when its condition is not.

    Args:
        condition: the condition to turn round.

    Raises:
        InvalidDefinition: when it is no condition.
    """

    condition: Annotated[BaseCondition, PlainValidator(one_of(BaseCondition))] = Field()

    def compiled(self) -> Test:
        test = self.condition.compiled()
        return lambda data, context: not test(data, context)

    def check(self, data: Any, /, *args: Any, **kwargs: Any) -> bool:
        return self.compiled()(data, kwargs)
