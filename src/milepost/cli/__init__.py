"""The ``milepost`` command. This is its door, which opens without typer and rich to say what is missing."""

from __future__ import annotations

import sys

__all__ = ["main"]

_EXTRA = frozenset({"typer", "click", "rich"})


def main() -> None:
    """Run the command line.

    Raises:
        SystemExit: always; the status is 0, 2 for what cannot be done, 130 after Ctrl-C.
    """
    try:
        from milepost.cli.app import run
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        sys.stderr.write(f'milepost: {missing} is not installed; run: pip install "milepost[cli]"\n')
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()
