"""How keys are named in Redis, and which partition a record belongs to.

Everything of one partition shares a hash tag, so that a script reaches it in one slot of a
cluster: the state of the partition, its definitions, its outbox and its indexes, and of
each record the hash that holds it and what belongs to that. The tags are chosen so that
partition ``i`` of ``n`` lies in the ``i``-th part of the slots, and the nodes of a cluster share
the partitions evenly.

::

    {milepost}n                 how many partitions there are
    {milepost}v                 while it is there, nobody looks for idle records
    {milepost}F, R, J:...       jobs that failed, those to be run again, what they are
    {milepost}M:consumer        which processes work for a durable consumer
    {milepost}h                 while it is there, somebody compares all records with the store after a loss
    {milepost:3.17}e            epoch and generation of the partition
    {milepost:3.17}d0           definitions by hash            (0 is the generation: a flush begins the next)
    {milepost:3.17}o0           outbox, a stream; the bus publishes into it too
    {milepost:3.17}i0           ids of what the bus published
    {milepost:3.17}y0           delayed events by when they are due
    {milepost:3.17}x0           ... and what they are
    {milepost:3.17}K            the outbox's keeper: its last position, when to trim it
    {milepost:3.17}W            durable consumers: how far they are, and who works for them
    {milepost:3.17}u0           keys of records that the store has not seen as they are
    {milepost:3.17}t0           deadlines
    {milepost:3.17}k0           after a loss: which records have been compared with the store
    {milepost:3.17}r0:user:1    a record: its numbers, the ids of its last commits and its rows
    {milepost:3.17}s0:user:1    ... the event ids that it remembers
    {milepost:3.17}c0:user:1    ... ids of earlier commits, for a while
    {milepost:3.17}l0:user:1    ... which rows changed when, where there are many
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from functools import cache
from itertools import count
from typing import Final

from milepost._naming import SUBJECTS
from milepost._partitions import partition_of_bytes

__all__ = ["SLOTS", "Keys", "slot_of", "to_bytes", "to_text"]

SLOTS: Final = 16384
"""The slots of a Redis cluster."""

_SUBJECTS: Final = SUBJECTS.encode()
_NAME: Final = re.compile(rb"\{[^}]*\}([a-z])(\d*)(?::(.*))?\Z", re.DOTALL)


def to_bytes(text: str) -> bytes:
    """Return text as Redis keeps it."""
    return text.encode("utf-8", "surrogatepass")


def to_text(value: bytes) -> str:
    """Return the text that was kept."""
    return value.decode("utf-8", "surrogatepass")


def slot_of(tag: bytes) -> int:
    """Return the slot of a hash tag: CRC-16/XMODEM, as the Redis Cluster specification has it."""
    return crc_hqx(tag, 0) % SLOTS


class Keys:
    """The names of keys.

    Args:
        prefix: what they all begin with.
        partitions: how many partitions there are.
        generation: how many flushes there were.
    """

    def __init__(self, prefix: str, partitions: int, generation: int = 0) -> None:
        self.prefix = prefix
        self.partitions = partitions
        self.generation = generation
        self.tags: tuple[bytes, ...] = _tags(prefix, partitions)
        self.number = b"{%s}n" % to_bytes(prefix)
        """The name of the key that says how many partitions there are."""
        self._numbers = {tag: n for n, tag in enumerate(self.tags)}
        self._records = tuple(tag + b"r%d:" % generation for tag in self.tags)

    @property
    def all_tags(self) -> tuple[bytes, ...]:
        """The tags of the partitions, and then that of what belongs to none."""
        return (*self.tags, self.number[:-1])

    def in_generation(self, generation: int) -> Keys:
        """Return the names after another number of flushes."""
        return Keys(self.prefix, self.partitions, generation)

    def partition(self, key: str) -> int:
        """Return the partition of a record."""
        return _partition(to_bytes(key), self.partitions)

    def record(self, key: str) -> bytes:
        """Return the name of a record's hash."""
        encoded = to_bytes(key)
        return self._records[_partition(encoded, self.partitions)] + encoded

    def beside(self, key: str, kind: str) -> bytes:
        """Return the name of what belongs to a record: ``s``, ``c`` or ``l``."""
        encoded = to_bytes(key)
        tag = self.tags[_partition(encoded, self.partitions)]
        return b"%s%s%d:%s" % (tag, kind.encode(), self.generation, encoded)

    def state(self, partition: int) -> bytes:
        """Return the name of a partition's state."""
        return self.tags[partition] + b"e"

    def of(self, partition: int, kind: str) -> bytes:
        """Return the name of a key of a partition: ``d``, ``o``, ``u``, ``t``, ``i``, ``x``, ``y`` or ``k``."""
        return self.tags[partition] + b"%s%d" % (kind.encode(), self.generation)

    def keeper(self, partition: int) -> bytes:
        """Return the name of the keeper of a partition's outbox."""
        return self.tags[partition] + b"K"

    def consumers(self, partition: int) -> bytes:
        """Return the name of what durable consumers have in a partition."""
        return self.tags[partition] + b"W"

    def shared(self, name: str) -> bytes:
        """Return the name of a key that belongs to no partition."""
        return self.number[:-1] + to_bytes(name)

    def pattern(self, kind: str) -> bytes:
        """Return a pattern that the names of one kind of key match, in all partitions; ``?`` is any kind."""
        return b"{%s:*}%s*" % (_escaped(to_bytes(self.prefix)), kind.encode())

    def has(self, name: bytes) -> bool:
        """Whether a name is of one of these partitions."""
        return _tag_in(name) in self._numbers

    def is_past(self, name: bytes) -> bool:
        """Whether a name is of an earlier generation."""
        kind, generation, _ = self.parse(name)
        return kind not in ("", "e", "n") and generation < self.generation and _tag_in(name) in self._numbers

    def partition_by_tag(self, name: bytes) -> int:
        """Return the partition that a name's tag stands for."""
        return self._numbers[_tag_in(name)]

    @staticmethod
    def parse(name: bytes) -> tuple[str, int, str]:
        """Return the kind, the generation and the record's key that a name stands for; ``("", 0, "")`` for others."""
        found = _NAME.match(name)
        if found is None:
            return "", 0, ""
        return found[1].decode(), int(found[2] or 0), to_text(found[3] or b"")


def _partition(encoded: bytes, partitions: int) -> int:
    """Return the partition of a record: a subject's is that of its name, where its events are."""
    if encoded.startswith(_SUBJECTS):
        encoded = encoded[len(_SUBJECTS) :]
    return partition_of_bytes(encoded, partitions)


@cache
def _tags(prefix: str, partitions: int) -> tuple[bytes, ...]:
    return tuple(b"{%s}" % _tag(prefix, partition, partitions) for partition in range(partitions))


def _tag(prefix: str, partition: int, partitions: int) -> bytes:
    """Return the first tag whose slot lies in the partition's part of the slots."""
    first, end = partition * SLOTS // partitions, (partition + 1) * SLOTS // partitions
    tags = (f"{prefix}:{partition}.{salt}".encode() for salt in count())
    return next(tag for tag in tags if first <= slot_of(tag) < end)


def _tag_in(name: bytes) -> bytes:
    return name[: name.index(b"}") + 1]


def _escaped(name: bytes) -> bytes:
    return b"".join(b"\\" + bytes((byte,)) if byte in b"*?[]^\\" else bytes((byte,)) for byte in name)
