"""How the command fails: one line on stderr and exit status 2, never a traceback for bad input."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar, cast

import typer
from typer.core import TyperGroup

from milepost.cli.printing import hush_stdout, note, printable
from milepost.errors import ConflictingNameError, MilepostError, UnknownKindError

__all__ = ["BadInput", "OneLineErrors", "run_async"]

_BAD_INPUT: Final = 2
_INTERRUPTED: Final = 130
_CLOSED_PIPE: Final = 141
"""What a shell reports for a program that SIGPIPE ended."""

# Every version of typer has click's UsageError in another place; it is always what BadParameter is.
_UsageError: Final = cast(type[typer.BadParameter], typer.BadParameter.__bases__[0])

T = TypeVar("T")


class BadInput(Exception):
    """What the user asked for cannot be done; the message says why, in one line."""


def run_async(work: Coroutine[Any, Any, T], *, interrupted: str | None = None) -> T:
    """Run a command's coroutine to its end.

    Args:
        work: the coroutine.
        interrupted: what to say after Ctrl-C; by default nothing.

    Raises:
        typer.Exit: with status 130 after Ctrl-C; what was opened has been closed then.
    """
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        if interrupted is not None:
            note(interrupted)
        raise typer.Exit(_INTERRUPTED) from None


class OneLineErrors(TyperGroup):
    """A typer group that reports what is wrong in one line, and Ctrl-C and a closed pipe not at all."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Parse the arguments, run the command, exit with its status."""
        try:
            status = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except _UsageError as error:
            _say(_usage(error))
            status = _BAD_INPUT
        except typer.Abort:
            status = _INTERRUPTED
        except BrokenPipeError:
            hush_stdout()
            status = _CLOSED_PIPE
        except OSError as error:  # the help that could not be written
            hush_stdout()
            _say(_system_error(error))
            status = _BAD_INPUT
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            hush_stdout()
            status = _CLOSED_PIPE
        except OSError as error:
            hush_stdout()
            _say(_system_error(error))
            status = _BAD_INPUT
        if standalone_mode:
            sys.exit(status)
        return status

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what goes wrong in it becomes a line and a status."""
        try:
            super().invoke(ctx)
        except BrokenPipeError:
            hush_stdout()
            raise typer.Exit(_CLOSED_PIPE) from None
        except ConflictingNameError as error:
            _say(f"group {error.group_id!r} already has a tracker named {error.name!r}; see --if-exists")
        except UnknownKindError as error:
            _say(
                f"tracker {error.name!r} of group {error.key!r} is of the kind {error.kind!r}, "
                f"which is not registered here; --import names the module that defines it"
            )
        except (BadInput, MilepostError) as error:
            _say(str(error))
        except OSError as error:
            _say(_system_error(error))
        else:
            return 0
        raise typer.Exit(_BAD_INPUT)


def _say(message: str) -> None:
    note("milepost: " + printable(re.sub(r"\s*\n\s*", " ", message.strip())))


def _usage(error: typer.BadParameter) -> str:
    where = "milepost" if error.ctx is None else error.ctx.command_path
    message = error.format_message().replace("Value error, ", "").strip().rstrip(".")
    return f"{message} (see {where} --help)"


def _system_error(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{error.filename}: {reason}"
