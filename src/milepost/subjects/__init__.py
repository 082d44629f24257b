"""State that remembers: subjects and models. The door: names are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milepost.errors import ModelExists as ModelExists
    from milepost.errors import ModelNotFound as ModelNotFound
    from milepost.errors import StaleModelError as StaleModelError
    from milepost.events.codes import SUBJECT_DELETED as SUBJECT_DELETED
    from milepost.events.codes import SUBJECT_PROPERTY_CHANGED as SUBJECT_PROPERTY_CHANGED
    from milepost.events.codes import SUBJECT_PROPERTY_DELETED as SUBJECT_PROPERTY_DELETED
    from milepost.subjects.dispatching import dispatch_model_batch_event as dispatch_model_batch_event
    from milepost.subjects.dispatching import dispatch_model_event as dispatch_model_event
    from milepost.subjects.dispatching import model_event_handler as model_event_handler
    from milepost.subjects.environment import Environment as Environment
    from milepost.subjects.hooks import after_create as after_create
    from milepost.subjects.hooks import after_delete as after_delete
    from milepost.subjects.hooks import after_save as after_save
    from milepost.subjects.hooks import after_update as after_update
    from milepost.subjects.hooks import after_write as after_write
    from milepost.subjects.hooks import before_create as before_create
    from milepost.subjects.hooks import before_delete as before_delete
    from milepost.subjects.hooks import before_save as before_save
    from milepost.subjects.hooks import before_update as before_update
    from milepost.subjects.hooks import before_write as before_write
    from milepost.subjects.models import TrackedModel as TrackedModel
    from milepost.subjects.subject import Subject as Subject
    from milepost.subjects.unit_of_work import Change as Change

_NAMES = {
    "milepost.errors": "ModelExists ModelNotFound StaleModelError",
    "milepost.events.codes": "SUBJECT_DELETED SUBJECT_PROPERTY_CHANGED SUBJECT_PROPERTY_DELETED",
    "milepost.subjects.dispatching": "dispatch_model_batch_event dispatch_model_event model_event_handler",
    "milepost.subjects.environment": "Environment",
    "milepost.subjects.hooks": (
        "after_create after_delete after_save after_update after_write "
        "before_create before_delete before_save before_update before_write"
    ),
    "milepost.subjects.models": "TrackedModel",
    "milepost.subjects.subject": "Subject",
    "milepost.subjects.unit_of_work": "Change",
}

_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "SUBJECT_DELETED",
    "SUBJECT_PROPERTY_CHANGED",
    "SUBJECT_PROPERTY_DELETED",
    "Change",
    "Environment",
    "ModelExists",
    "ModelNotFound",
    "StaleModelError",
    "Subject",
    "TrackedModel",
    "after_create",
    "after_delete",
    "after_save",
    "after_update",
    "after_write",
    "before_create",
    "before_delete",
    "before_save",
    "before_update",
    "before_write",
    "dispatch_model_batch_event",
    "dispatch_model_event",
    "model_event_handler",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'milepost.subjects' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
