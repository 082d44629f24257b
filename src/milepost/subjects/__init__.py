"""State that remembers: subjects and models. The door: modules inside import from the leaves."""

from milepost.events.codes import SUBJECT_DELETED, SUBJECT_PROPERTY_CHANGED, SUBJECT_PROPERTY_DELETED
from milepost.subjects.subject import Change, Subject

__all__ = ["SUBJECT_DELETED", "SUBJECT_PROPERTY_CHANGED", "SUBJECT_PROPERTY_DELETED", "Change", "Subject"]
