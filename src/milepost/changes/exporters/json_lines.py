"""Entries as lines of JSON in a file that may be rotated."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from milepost.changes.entries import ChangeLogEntry
from milepost.changes.exporters.base import Exporter
from milepost.errors import InvalidDefinition

__all__ = ["JsonLinesExporter"]


class JsonLinesExporter(Exporter):
    """Appends each entry to a file, as a line of JSON; ``milepost changes`` reads such files.

    A line that a crash cut short stays by itself: what is written next begins on a new line.

    Args:
        path: the file; it and its folders are made when they are needed.
        max_bytes: begin a new file before this one grows beyond that; the old one becomes ``path.1``, that
            one ``path.2``, and so on. None for one file without end.
        keep: how many old files to keep.
        fsync: wait for the disk after every batch, so that a loss of power loses no batch.
        settings: those of :class:`~milepost.changes.exporters.base.Exporter`.

    Raises:
        InvalidDefinition: when a setting is none.
    """

    def __init__(
        self, path: str | Path, *, max_bytes: int | None = None, keep: int = 5, fsync: bool = False, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.path = Path(path)
        for name, value, least in (("max_bytes", max_bytes, 1), ("keep", keep, 0)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise InvalidDefinition(f"{name} must be a whole number of at least {least}, got {value!r}")
        self.max_bytes = max_bytes
        self.keep = keep
        self.fsync = fsync

    async def send(self, entries: Sequence[ChangeLogEntry]) -> None:
        await self.blocking(self._write, entries)

    def _write(self, entries: Sequence[ChangeLogEntry]) -> None:
        lines = [entry.to_json().encode() + b"\n" for entry in entries]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while lines:
            size = self.path.stat().st_size if self.path.exists() else 0
            if size and self.max_bytes is not None and size + len(lines[0]) > self.max_bytes:
                self._rotate()
                size = 0
            number = self._that_fit(lines, size)
            self._append(b"".join(lines[:number]), size)
            del lines[:number]

    def _that_fit(self, lines: list[bytes], size: int) -> int:
        """Return how many lines go into this file: at least one."""
        if self.max_bytes is None:
            return len(lines)
        number = 0
        for line in lines:
            size += len(line)
            if number and size > self.max_bytes:
                break
            number += 1
        return number

    def _append(self, data: bytes, size: int) -> None:
        with self.path.open("a+b") as file:
            if size:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    data = b"\n" + data
            file.write(data)
            file.flush()
            if self.fsync:
                os.fsync(file.fileno())

    def _rotate(self) -> None:
        if not self.keep:
            self.path.unlink()
            return
        for number in range(self.keep - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self.path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
