"""A user's mistake is one clear line and exit code 2; everything else keeps its traceback."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from io import TextIOWrapper

from cada_trl.visible import visible

# What the user's folders and disk say to any call, wherever it stands; other errors of the system are ours.
_OF_THE_USER = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


class UserError(Exception):
    """What was seen, what was expected, what to do: one line, shown without a traceback."""


class HelpAsked(Exception):
    """--help among a verb's words: its keys, as text."""


class Stopped(BaseException):
    """A run that ended itself in order before it was done: one line and an exit code, no traceback.

    No Exception: a signal comes at any moment, and a library's `except Exception` would keep it or make another of it.
    """

    exit_code = 1


class StopAsked(Stopped):
    """A signal asked it to; the same command goes on."""

    exit_code = 75


class StoppedByTripwire(Stopped):
    """A tripwire whose action is stop; the same command goes on and stops again while it trips."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """What a library's error says first, with the next line after a colon; its type where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    n_shown = 2 if lines and lines[0].endswith(":") else 1
    return " ".join(lines[:n_shown]) or type(error).__name__


def is_main_rank() -> bool:
    """Whether this process is the one of a run that writes and speaks; a single process is."""
    return os.environ.get("RANK", "0") == "0"


def run_verb(verb: Callable[[list[str]], int]) -> None:
    """Run a verb's main(argv) as a process: prints a UserError as one line, exits with the verb's code.

    --help prints the docstring of the verb's module and its keys.
    Exit codes: 0 done, 2 a user's mistake, 3 stopped by a tripwire, 75 asked to stop (start it again), 130 interrupted.
    """
    _open_streams()
    try:
        try:
            _check_no_password(sys.argv[1:])
            code = verb(sys.argv[1:])
        except HelpAsked as asked:
            code = 0
            print(f"{(sys.modules['__main__'].__doc__ or '').strip()}\n{asked}")
        sys.stdout.flush()
        sys.exit(code)
    except UserError as error:
        print(f"error: {visible(str(error))}\n", end="", file=sys.stderr)  # ranks share the stream: one write each
        sys.exit(2)
    except Stopped as stopped:
        if is_main_rank():  # all ranks end together, of one reason
            print(f"stopped: {visible(str(stopped))}", file=sys.stderr)
        sys.exit(stopped.exit_code)
    except BrokenPipeError:  # `--help | head`: who reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in _OF_THE_USER:
            raise
        where = f"use {visible(str(error.filename))}" if error.filename else "write"
        print(f"error: cannot {where}: {error.strerror}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:  # it is what cannot be written, and is flushed once more at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on with what was kept", file=sys.stderr)
        sys.exit(130)


def _open_streams() -> None:
    """A stream that the caller closed (`>&-`) takes what is written; one of another encoding shows what it lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _check_no_password(words: list[str]) -> None:
    """Words stand in files and logs; keys that end in _url say themselves where a key goes."""
    for word in words:
        key = word.partition("=")[0]
        if re.search(r"://[^/\s]*@", word) and not key.endswith("_url"):
            name = "a word" if ":" in key else key
            raise UserError(
                f"{name} holds an address with a password, which would stand in files and logs; give it without"
            )
