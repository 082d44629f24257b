"""State that remembers: containers that log every change, observers and exporters."""

from milepost.changes.actors import tracking_actor as tracking_actor
from milepost.changes.attributes import TrackedAttributes as TrackedAttributes
from milepost.changes.dicts import TrackedDict as TrackedDict
from milepost.changes.entries import ChangeLogEntry as ChangeLogEntry
from milepost.changes.lists import TrackedList as TrackedList
from milepost.changes.sets import TrackedSet as TrackedSet
