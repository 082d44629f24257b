"""What an event caused, as a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from milepost.bus.envelope import Envelope
from milepost.events.types import Event

__all__ = ["TraceNode", "tree_of"]


@dataclass(frozen=True, slots=True)
class TraceNode:
    """An event and what it caused."""

    event: Event
    children: list[TraceNode] = field(default_factory=list)

    def __iter__(self) -> Iterator[TraceNode]:
        """Iterate over this node and all below it, causes before what they caused."""
        yield self
        for child in self.children:
            yield from child

    def __str__(self) -> str:
        return "\n".join(self._lines(0))

    def _lines(self, depth: int) -> Iterator[str]:
        about = "" if self.event.subject is None else f" of {self.event.subject}"
        yield f"{'  ' * depth}{self.event.type}{about}"
        for child in self.children:
            yield from child._lines(depth + 1)


def tree_of(id: str, chain: Sequence[Envelope]) -> TraceNode | None:
    """Return an event with all that it caused.

    Args:
        id: the event's id.
        chain: the events of its chain, in the order of publishing.
    """
    nodes = {envelope.id: TraceNode(envelope.event()) for envelope in chain}
    for envelope in chain:
        cause = nodes.get(envelope.cause or "")
        if cause is not None:
            cause.children.append(nodes[envelope.id])
    return nodes.get(id)
