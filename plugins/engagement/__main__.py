"""The command line: `python -m engagement report` and `python -m engagement events`."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from engagement import __version__
from engagement.commands import events, report
from engagement.commands.progress import progress
from engagement.errors import EngagementError, UsageError, explain_os_error, one_line
from engagement.settings import load

DONE, FAILED, WRONG_USAGE = 0, 1, 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns 0 when done, 1 when it failed, 2 for wrong usage."""
    if sys.stderr is None:
        # Whoever has closed it reads no log.
        sys.stderr = io.StringIO()
    options = _parser().parse_args(arguments)
    try:
        settings = load()
        with _terminated_as_interrupted(), progress() as show:
            options.run(options, settings, show)
    except UsageError as error:
        return _failed(error, WRONG_USAGE)
    except EngagementError as error:
        return _failed(error, FAILED)
    except BrokenPipeError:
        _give_up_stdout()
        return FAILED
    except OSError as error:
        _give_up_stdout()
        return _failed(EngagementError(explain_os_error(error)), FAILED)
    except KeyboardInterrupt:
        return _failed(EngagementError(options.interrupted), FAILED)
    return DONE


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Lets the signal to terminate clean up as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _give_up_stdout() -> None:
    """Drops what standard output did not take, or Python would complain when it closes it."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(error: EngagementError, code: int) -> int:
    sys.stderr.write(f"engagement: {one_line(error)}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="engagement", description="Engagement reports of a fasting and prayer app."
    )
    parser.add_argument("--version", action="version", version=f"engagement-reports {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    report.add_to(commands)
    events.add_to(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
