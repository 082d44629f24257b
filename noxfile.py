"""The gate: the same sessions for people and for CI.

``nox`` runs what has to pass before a change lands, the tests last, so that their summary is
the last thing a session prints. ``nox -l`` lists every session, ``nox -s tests -- -k sqlite``
passes arguments on to pytest, and ``nox --force-python 3.13`` tries another interpreter.
"""

import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["lint", "layers", "types", "bare", "lowest", "tests"]
nox.options.reuse_venv = "yes"

PYPROJECT = nox.project.load_toml("pyproject.toml")

BARE = """
import asyncio
import importlib.util

for driver in ("faststream", "httpx", "prometheus_client", "pymongo", "redis", "rich", "typer"):
    assert importlib.util.find_spec(driver) is None, f"{driver} is installed: nothing is shown"

import milepost

for name in milepost.__all__:
    try:
        getattr(milepost, name)
    except milepost.MissingExtra as missing:
        assert "pip install" in str(missing), missing

async def main():
    async with milepost.TrackingManager() as manager:
        await manager.add_tracker("bare", milepost.CountTracker(name="calls", target=1))
        ok, dirtied, completed, limited = await manager.track("bare", {})
        assert ok and len(dirtied) == len(completed) == 1 and not limited

asyncio.run(main())
print("milepost works with anyio and pydantic alone")
"""


def group(name: str) -> list[str]:
    """What ``[dependency-groups]`` lists under this name."""
    return nox.project.dependency_groups(PYPROJECT, name)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff finds nothing to say and nothing to format (``-- --fix`` mends what it can)."""
    session.install(*group("lint"))
    if "--fix" in session.posargs:
        session.run("ruff", "check", "--fix")
        session.run("ruff", "format")
    else:
        session.run("ruff", "check")
        session.run("ruff", "format", "--check")


@nox.session
def layers(session: nox.Session) -> None:
    """Imports point one way, and only adapters import drivers."""
    session.install(*group("layers"))
    # The sources are read, not run: neither milepost nor what it needs has to be installed.
    session.run("lint-imports", "--no-logo", *session.posargs, env={"PYTHONPATH": "src"})


@nox.session
def types(session: nox.Session) -> None:
    """Two strict type checkers agree about the package and the examples."""
    session.install("-e", ".[all]", *group("types"))
    session.run("mypy")
    session.run("pyright", env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})


@nox.session
def bare(session: nox.Session) -> None:
    """With no extra installed the package imports, tracks, and names what is missing."""
    session.install(".")
    session.run("python", "-W", "error", "-c", BARE)


@nox.session
def lowest(session: nox.Session) -> None:
    """The quick tests pass with the lowest versions that pyproject.toml allows."""
    session.install(".[all]", *group("tests"), "--constraint", "tests/lowest.txt")
    session.run("pytest", "-m", "not slow and not survival", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Every test, the examples' among them, against the package as users install it."""
    session.install(".[all]", *group("tests"))
    if not session.posargs:  # a short dose, for the log: what a tracked write costs in each mode
        session.run("python", "-m", "benchmarks", "--quick", "--only", "tracked-modes")
    session.run("pytest", *session.posargs)


@nox.session
def survival(session: nox.Session) -> None:
    """The full dose of what the engine must survive; it takes its time and prints its counts."""
    session.install(".[all]", *group("tests"))
    session.run(
        "pytest", "-m", "survival", "-s", "--timeout=0", *session.posargs,
        env={"MILEPOST_DOSE": "full"},
    )  # fmt: skip


@nox.session
def benchmarks(session: nox.Session) -> None:
    """milepost, its peers and the hand-written floors side by side (``-- --json`` for machines)."""
    session.install(".[all]", *group("benchmarks"))
    peers = session.cache_dir / "peers"
    for peer in ("saq", "arq"):  # they need an older redis-py than milepost is measured with
        session.run("python", "-m", "venv", str(peers / peer))
        python = peers / peer / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        session.run(str(python), "-m", "pip", "install", "--quiet", *group(peer), external=True)
    session.run("python", "-m", "benchmarks", *session.posargs, env={"MILEPOST_PEERS": str(peers)})


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Make .venv for an editor and a shell: milepost in place, and every tool beside it."""
    session.run(sys.executable, "-m", "venv", ".venv")
    python = Path(".venv", "Scripts" if sys.platform == "win32" else "bin", "python")
    session.run(str(python), "-m", "pip", "install", "-e", ".[all]", *group("dev"))
