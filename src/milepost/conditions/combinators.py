"""Conditions made of conditions: ``AllOf``, ``AnyOf``, ``Not``, also written ``&``, ``|``, ``~``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator

from milepost._kinds import AsList, items_of, one_of
from milepost.conditions.base import BaseCondition, Test

__all__ = ["AllOf", "AnyOf", "Not"]

_Parts = Annotated[tuple[BaseCondition, ...], PlainValidator(items_of(BaseCondition, least=1)), AsList()]


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
        tests = [condition.compiled() for condition in self.conditions]
        return lambda data, context: all(test(data, context) for test in tests)

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
        tests = [condition.compiled() for condition in self.conditions]
        return lambda data, context: any(test(data, context) for test in tests)

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
