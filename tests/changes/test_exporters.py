"""Exporters: what arrives where, in which batches, what happens when the other side fails, and at the end."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from milepost.changes import (
    ChangeLogEntry,
    Exporter,
    FailedExport,
    HttpExporter,
    JsonLinesExporter,
    KafkaExporter,
    RefusedExport,
    S3Exporter,
    TrackedList,
)
from milepost.errors import InvalidDefinition
from milepost.retries import RetryPolicy
from milepost.testing import ManualClock
from tests.changes.servers import Producer, s3_server, web_server

AT_ONCE = RetryPolicy(3, interval_start=0, interval_step=0)


class Kept(Exporter):
    """Keeps batches; fails as often as it is told to."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.batches: list[list[int]] = []
        self.failing: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, entries: Sequence[ChangeLogEntry]) -> None:
        await self.gate.wait()
        if self.failing:
            raise self.failing.pop(0)
        self.batches.append([entry.new for entry in entries])


def numbers(*exporters: Exporter) -> TrackedList[int]:
    """Return a list that exporters observe."""
    tracked: TrackedList[int] = TrackedList()
    for exporter in exporters:
        tracked.tracking_add_observer(exporter)
    return tracked


async def test_entries_go_out_in_batches_when_full_or_when_time_is_up(clock: ManualClock) -> None:
    """A full batch goes at once; a smaller one when its oldest entry has waited for the interval."""
    async with Kept(batch_size=3, interval=5, clock=clock) as exporter:
        tracked = numbers(exporter)
        tracked.append(0)
        tracked.append(1)
        await clock.advance(4.9)
        assert exporter.batches == []
        await clock.advance(0.2)
        assert exporter.batches == [[0, 1]]
        for n in range(2, 9):
            tracked.append(n)
        await clock.advance(0)
        assert exporter.batches[1:] == [[2, 3, 4], [5, 6, 7]]
        assert exporter.waiting == 1
    assert exporter.batches[-1] == [8]
    assert (exporter.exported, exporter.failed, exporter.dropped, exporter.waiting) == (9, 0, 0, 0)


async def test_flush_sends_without_waiting_for_more(clock: ManualClock) -> None:
    """After ``flush`` all that was there before has been sent, though the interval is not over."""
    async with Kept(interval=1000, clock=clock, batch_size=2) as exporter:
        tracked = numbers(exporter)
        for n in range(5):
            tracked.append(n)
        await exporter.flush()
        assert exporter.exported == 5
        await exporter.flush()


async def test_a_failed_batch_is_sent_again_then_given_up(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Failures are retried after the policy's pauses; beyond them the batch is handed to ``on_failure`` or logged."""
    given_up: list[FailedExport] = []
    retries = RetryPolicy(2, interval_start=1, interval_step=1, interval_max=9)
    async with (
        Kept(interval=0, clock=clock, retries=retries, on_failure=given_up.append) as exporter,
        Kept(interval=0, clock=clock, retries=AT_ONCE) as logging,
    ):
        tracked = numbers(exporter, logging)
        exporter.failing = [OSError("1"), OSError("2")]
        logging.failing = [RefusedExport("no use")]
        tracked.append(0)
        await clock.advance(2.9)
        assert exporter.batches == []
        await clock.advance(0.2)
        assert exporter.batches == [[0]]
        exporter.failing = [OSError("1"), OSError("2"), OSError("3")]
        tracked.append(1)
        await clock.advance(10)
        tracked.append(2)
        await clock.advance(10)
    assert exporter.batches == [[0], [2]]
    (failure,) = given_up
    assert ([entry.new for entry in failure.entries], failure.attempts, str(failure.error)) == ([1], 3, "3")
    assert (exporter.exported, exporter.failed) == (2, 1)
    assert logging.batches == [[1], [2]]
    assert "gave up 1 entries after 1 attempts" in caplog.text


async def test_the_buffer_never_outgrows_its_capacity(clock: ManualClock) -> None:
    """While the other side hangs, entries beyond the capacity are dropped by the policy, and every one is counted."""
    for policy, kept in (("drop_oldest", [0, 7, 8, 9]), ("drop_newest", [0, 1, 2, 3]), ("error", [0, 1, 2, 3])):
        async with Kept(interval=0, batch_size=1, capacity=3, overflow=policy, clock=clock) as exporter:
            tracked = numbers(exporter)
            exporter.gate.clear()
            tracked.append(0)
            await clock.advance(0)
            for n in range(1, 10):
                tracked.append(n)
            assert exporter.waiting == 4
            exporter.gate.set()
            await exporter.flush()
            assert [n for batch in exporter.batches for n in batch] == kept
            assert (exporter.exported, exporter.dropped, exporter.waiting) == (4, 6, 0)
            assert tracked.tracking_observer_failures == (6 if policy == "error" else 0)
    for settings in ({"overflow": "block"}, {"capacity": 0}, {"batch_size": 0}, {"interval": -1}):
        with pytest.raises(InvalidDefinition, match=next(iter(settings))):
            Kept(**settings)


async def test_closing_gives_up_what_cannot_be_sent_in_time(caplog: pytest.LogCaptureFixture) -> None:
    """Closing sends what is left, but no longer than the timeout; what then is left is counted as failed."""
    exporter = Kept(interval=0, batch_size=1)
    tracked = numbers(exporter)
    exporter.gate.clear()
    for n in range(3):
        tracked.append(n)
    await exporter.aclose(timeout=0.01)
    tracked.append(3)
    assert (exporter.exported, exporter.failed, exporter.dropped, exporter.waiting) == (0, 3, 1, 0)
    assert "unsent" in caplog.text
    await exporter.aclose()
    await Kept().aclose()


async def test_changes_of_other_threads_are_exported_in_the_loop() -> None:
    """Entries may come from any thread."""
    async with Kept(interval=0) as exporter:
        tracked = numbers(exporter)
        writers = [threading.Thread(target=tracked.extend, args=([n],)) for n in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            await asyncio.to_thread(writer.join)
        await exporter.flush()
        assert exporter.exported == 8


def lines_of(path: Path) -> list[int]:
    """Return the new values in a file."""
    return [json.loads(line)["new"] for line in path.read_text("utf-8").splitlines()]


async def test_json_lines_rotate(tmp_path: Path) -> None:
    """No file grows beyond ``max_bytes``; ``keep`` old ones stay, the youngest is ``.1``, and no line is torn."""
    path = tmp_path / "deep" / "changes.jsonl"
    async with JsonLinesExporter(path, max_bytes=1000, keep=2, interval=0, fsync=True) as exporter:
        tracked = numbers(exporter)
        for n in range(30):
            tracked.append(n)
            if n % 7 == 0:
                await exporter.flush()
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["changes.jsonl", "changes.jsonl.1", "changes.jsonl.2"]
    assert all(file.stat().st_size <= 1000 for file in files)
    kept = [n for file in reversed(files) for n in lines_of(file)]
    assert kept == list(range(30))[-len(kept) :]
    assert len(kept) > 6
    with pytest.raises(InvalidDefinition, match="max_bytes"):
        JsonLinesExporter(path, max_bytes=0)


@pytest.mark.parametrize("fsync", [False, True])
async def test_json_lines_wait_for_the_disk_where_they_are_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: bool
) -> None:
    """With ``fsync`` every batch is on the disk before it counts as exported; without it nobody waits for that."""
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    async with JsonLinesExporter(tmp_path / "a.jsonl", fsync=fsync, interval=0) as exporter:
        numbers(exporter).append(1)
        await exporter.flush()
        assert synced == ([(tmp_path / "a.jsonl").stat().st_size] if fsync else [])


async def test_a_line_that_a_crash_cut_short_stays_by_itself(tmp_path: Path) -> None:
    """What is written after half a line begins on a new one."""
    path = tmp_path / "changes.jsonl"
    path.write_text('{"new": 1}\n{"new": 2', "utf-8")
    async with JsonLinesExporter(path, interval=0) as exporter:
        numbers(exporter).append(3)
    first, torn, whole = path.read_text("utf-8").splitlines()
    assert (first, torn, json.loads(whole)["new"]) == ('{"new": 1}', '{"new": 2', 3)


PROGRAM = """if True:
    import sys
    from milepost.changes import JsonLinesExporter, TrackedList
    tracked = TrackedList()
    with JsonLinesExporter("with.jsonl") as exporter:
        tracked.tracking_add_observer(exporter)
        tracked.append(1)
    print(open("with.jsonl").read().count("}"))
    tracked.tracking_remove_observer(exporter)
    closed, left = JsonLinesExporter("closed.jsonl"), JsonLinesExporter("left.jsonl")
    tracked.tracking_add_observer(closed)
    tracked.tracking_add_observer(left)
    tracked.append(2)
    closed.close()
    print(open("closed.jsonl").read().count("}"))
"""


def test_a_program_without_a_loop_exports_in_a_thread(tmp_path: Path) -> None:
    """Without asyncio, ``with`` or the first change starts a thread; closing, or the program's end, waits for it."""
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", PROGRAM],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n1\n", "")
    assert [lines_of(tmp_path / name) for name in ("with.jsonl", "closed.jsonl", "left.jsonl")] == [[1], [2], [2]]


async def test_http_posts_batches_and_tries_again() -> None:
    """A real server gets JSON arrays; a 503 and a cut connection are tried again with the same key, a 400 is not."""
    given_up: list[FailedExport] = []
    async with (
        web_server() as web,
        HttpExporter(
            web.url, headers={"Authorization": "Bearer x"}, interval=0, retries=AT_ONCE, on_failure=given_up.append
        ) as exporter,
    ):
        tracked = numbers(exporter)
        tracked.append(1)
        tracked.append(2)
        await exporter.flush()
        assert [entry["new"] for request in web.requests for entry in request.body] == [1, 2]
        web.requests.clear()
        web.answers = [503, 0, 429, 200]
        tracked.append(3)
        await exporter.flush()
        assert len(web.requests) == 4
        assert {request.headers["idempotency-key"] for request in web.requests} == {
            f"{tracked.tracking_changes()[-1].id}-1"
        }
        assert web.requests[0].headers["authorization"] == "Bearer x"
        web.answers = [400]
        tracked.append(4)
        await exporter.flush()
    assert (exporter.exported, exporter.failed) == (3, 1)
    assert "answered 400" in str(given_up[0].error)
    with pytest.raises(InvalidDefinition, match="url must begin with http"):
        HttpExporter("ftp://example.invalid")


async def test_http_leaves_the_callers_client_open() -> None:
    """A client that was handed in is used, and is open afterwards."""
    async with web_server() as web, httpx.AsyncClient() as client:
        async with HttpExporter(web.url, client=client, interval=0) as exporter:
            numbers(exporter).append(1)
        assert len(web.requests) == 1
        assert not client.is_closed


def test_s3_gets_an_object_for_every_batch() -> None:
    """A real S3 server holds each batch as lines of JSON under a key that begins with prefix and day."""

    async def export(client: Any) -> TrackedList[int]:
        async with S3Exporter(client, "audit", prefix="app/", batch_size=2, interval=0, retries=AT_ONCE) as exporter:
            tracked = numbers(exporter)
            for n in range(3):
                tracked.append(n)
            await exporter.flush()
            assert exporter.exported == 3
        return tracked

    with s3_server() as client:
        client.create_bucket(Bucket="audit")
        tracked = asyncio.run(export(client))
        keys = [found["Key"] for found in client.list_objects_v2(Bucket="audit")["Contents"]]
        bodies = [client.get_object(Bucket="audit", Key=key)["Body"].read().decode() for key in keys]
    first = tracked.tracking_changes()[0]
    assert keys[0] == f"app/{first.time:%Y/%m/%d}/{first.id}.jsonl"
    assert [[json.loads(line)["new"] for line in body.splitlines()] for body in bodies] == [[0, 1], [2]]
    with pytest.raises(InvalidDefinition, match="put_object"):
        S3Exporter(object(), "audit")


async def test_s3_takes_an_async_client_too() -> None:
    """A client whose ``put_object`` is a coroutine function is awaited."""
    put: list[dict[str, Any]] = []

    class Client:
        async def put_object(self, **wanted: Any) -> None:
            put.append(wanted)

    async with S3Exporter(Client(), "audit", interval=0) as exporter:
        numbers(exporter).append(1)
    assert [wanted["Bucket"] for wanted in put] == ["audit"]


async def test_kafka_messages_are_keyed_by_container_and_acknowledged() -> None:
    """Each entry is a message with its container's id as the key; one that is not acknowledged is sent again."""
    producer = Producer()
    async with KafkaExporter(producer, "changes", interval=0, retries=AT_ONCE) as exporter:
        one, other = numbers(exporter), numbers(exporter)
        one.append(1)
        other.append(2)
        await exporter.flush()
        producer.failing = 1
        one.append(3)
        await exporter.flush()
    assert [(topic, key, json.loads(value)["new"]) for topic, key, value in producer.messages] == [
        ("changes", one.tracking_id.encode(), 1),
        ("changes", other.tracking_id.encode(), 2),
        ("changes", one.tracking_id.encode(), 3),
    ]
    assert (exporter.exported, exporter.failed) == (3, 0)
    with pytest.raises(InvalidDefinition, match="topic"):
        KafkaExporter(producer, "")
