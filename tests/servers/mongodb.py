"""A MongoDB for tests: one that is named, a ``mongod`` of this machine, or mongo-java-server.

Whatever is started here listens on a free port of the loopback, keeps its data in a folder of the
test run, and is stopped at the end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

__all__ = ["MongoServer", "Unavailable", "mongodb_command"]

HERE = Path(__file__).parent
PROGRAM = HERE / "MongoServerForTests.java"
POM = HERE / "pom.xml"
NEEDED = (
    "no MongoDB: set MILEPOST_TEST_MONGODB_URL, or put mongod on the PATH, or java (17) and mvn: "
    "apt-get install default-jre-headless maven"
)

_names = count(1)


class Unavailable(Exception):
    """There is no server to be had; the message says how to get one."""


def mongodb_command(folder: Path, port: int) -> Sequence[str]:
    """Return what starts a server on a port, with its data in a folder.

    Raises:
        Unavailable: when this machine has nothing to start.
    """
    mongod = shutil.which("mongod")
    if mongod is not None:
        data = folder / "mongod"
        data.mkdir(exist_ok=True)
        return [mongod, "--bind_ip", "127.0.0.1", "--port", f"{port}", "--dbpath", str(data), "--quiet"]
    java = shutil.which("java")
    if java is None:
        raise Unavailable(NEEDED)
    classpath = str(_libraries() / "*")
    return [java, "-Xmx512m", "-cp", classpath, str(PROGRAM), "127.0.0.1", f"{port}", str(folder / "data.mv")]


def _libraries() -> Path:
    """Return the folder with the server's libraries; the first time Maven fetches them."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "milepost-tests"
    libraries = cache / f"mongo-java-server-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if libraries.is_dir():
        return libraries
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable(NEEDED)
    fetched = cache / f"fetching-{os.getpid()}"
    done = subprocess.run(
        [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"Maven could not fetch mongo-java-server: {done.stdout[-500:]}{done.stderr[-500:]}")
    try:
        fetched.rename(libraries)
    except OSError:  # another run was faster
        shutil.rmtree(fetched)
    return libraries


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class MongoServer:
    """A server that can be stopped, killed and started again on the same port with the same data.

    Args:
        folder: for its data and its log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._elsewhere = os.environ.get("MILEPOST_TEST_MONGODB_URL")
        self.port = free_port()

    @property
    def is_ours(self) -> bool:
        """Whether it may be stopped and killed."""
        return not self._elsewhere

    @property
    def is_mongo_java_server(self) -> bool:
        """Whether it is the one that understands only a part of what MongoDB does."""
        return not self._elsewhere and shutil.which("mongod") is None

    @property
    def url(self) -> str:
        """Where it is."""
        return self._elsewhere or f"mongodb://127.0.0.1:{self.port}"

    def new_database(self) -> str:
        """Return a name that no database has."""
        return f"milepost_test_{os.getpid()}_{next(_names)}"

    def url_of(self, database: str) -> str:
        """Return where a database of it is."""
        return urlsplit(self.url)._replace(path=f"/{database}").geturl()

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            Unavailable: when this machine has nothing to start.
        """
        if self._elsewhere:
            return
        command = mongodb_command(self._folder, self.port)
        self._log = (self._folder / "server.log").open("ab")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the server did not start: {(self._folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End it as an administrator would."""
        self._end(kill=False)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            (process.kill if kill else process.terminate)()
            process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None
