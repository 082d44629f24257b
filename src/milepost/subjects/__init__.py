"""State that remembers: subjects and models. The door: modules inside import from the leaves."""

from milepost.errors import ModelExists, ModelNotFound, StaleModelError
from milepost.events.codes import SUBJECT_DELETED, SUBJECT_PROPERTY_CHANGED, SUBJECT_PROPERTY_DELETED
from milepost.subjects.dispatching import dispatch_model_batch_event, dispatch_model_event, model_event_handler
from milepost.subjects.environment import Environment
from milepost.subjects.hooks import (
    after_create,
    after_delete,
    after_save,
    after_update,
    after_write,
    before_create,
    before_delete,
    before_save,
    before_update,
    before_write,
)
from milepost.subjects.models import TrackedModel
from milepost.subjects.subject import Change, Subject

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
