"""Running users' methods that change ``self``, without their changing anything.

A limiter or tracker may keep state in ordinary attributes. Its definition is the
attributes it had when it was handed over; its state is those that differ later. Methods
run on a working copy made of both, and what differs afterwards is the new state.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from milepost._kinds import Definable
from milepost.codec import canonical, to_jsonable

__all__ = ["NO_STATE", "Prototype"]

NO_STATE: Final[Mapping[str, Any]] = MappingProxyType({})

_IMMUTABLE: Final = (str, int, float, bool, type(None), Decimal)


class Prototype:
    """A definition from which working copies are made.

    Args:
        definable: the object whose attributes are the definition; deep copies are kept.
    """

    __slots__ = ("_plain", "cls", "values")

    def __init__(self, definable: Definable) -> None:
        self.cls = type(definable)
        self.values: dict[str, Any] = copy.deepcopy(definable.own_values())
        self._plain = all(type(value) in _IMMUTABLE for value in self.values.values())

    def working_copy(self, state: Mapping[str, Any]) -> Any:
        """Return an object with this definition and that state, free to be changed."""
        made = object.__new__(self.cls)
        attributes = vars(made)
        attributes.update(self.values if self._plain else copy.deepcopy(self.values))
        if state:
            attributes.update(copy.deepcopy(dict(state)))
        return made

    def state_of(self, worked: Any) -> Mapping[str, Any]:
        """Return the attributes of a working copy that differ from the definition.

        Raises:
            InvalidDefinition: when one of them cannot be stored; the message names it.
        """
        values = self.values
        state: dict[str, Any] = {}
        for name, value in vars(worked).items():
            if name.startswith("_milepost_"):
                continue
            if name in values and values[name] is value:
                continue
            if _is_simple(value):
                if name in values and type(values[name]) is type(value) and repr(values[name]) == repr(value):
                    continue
            else:
                jsonable = to_jsonable(value, f"{self.cls.__name__}.{name}")
                if name in values and canonical(jsonable) == canonical(to_jsonable(values[name], name)):
                    continue
            state[name] = value
        return state or NO_STATE


def _is_simple(value: Any) -> bool:
    if type(value) is int:
        return -(2**63) <= value < 2**63
    return value is None or type(value) is bool or (type(value) is float and math.isfinite(value))
