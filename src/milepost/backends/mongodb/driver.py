"""What is used of PyMongo, or the word that it is not installed."""

from __future__ import annotations

from milepost.errors import MissingExtra

try:
    from bson import ObjectId, encode
    from bson.codec_options import CodecOptions
    from bson.errors import BSONError
    from pymongo import IndexModel, ReturnDocument, UpdateOne
    from pymongo.asynchronous.mongo_client import AsyncMongoClient
    from pymongo.errors import (
        AutoReconnect,
        BulkWriteError,
        ConfigurationError,
        ConnectionFailure,
        CursorNotFound,
        DuplicateKeyError,
        NotPrimaryError,
        OperationFailure,
        PyMongoError,
        ServerSelectionTimeoutError,
        WaitQueueTimeoutError,
        WriteConcernError,
    )
    from pymongo.read_concern import ReadConcern
    from pymongo.read_preferences import ReadPreference
    from pymongo.write_concern import WriteConcern
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in ("bson", "pymongo"):
        raise
    raise MissingExtra("mongodb", "pymongo") from None

__all__ = [
    "AsyncMongoClient",
    "AutoReconnect",
    "BSONError",
    "BulkWriteError",
    "CodecOptions",
    "ConfigurationError",
    "ConnectionFailure",
    "CursorNotFound",
    "DuplicateKeyError",
    "IndexModel",
    "NotPrimaryError",
    "ObjectId",
    "OperationFailure",
    "PyMongoError",
    "ReadConcern",
    "ReadPreference",
    "ReturnDocument",
    "ServerSelectionTimeoutError",
    "UpdateOne",
    "WaitQueueTimeoutError",
    "WriteConcern",
    "WriteConcernError",
    "encode",
]
