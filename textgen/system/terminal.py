"""What the commands share: streams, one-line errors, exit statuses.

    status 0    done (also when a reader such as `head` has had enough)
    status 2    the user can put it right; one line on stderr says how
    status 129  the terminal went away (SIGHUP)
    status 130  interrupted by Ctrl-C
    status 143  terminated by SIGTERM

Nothing here knows about text generation, and nothing slow is imported.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TextIO, TypeVar

from textgen.errors import (
    OTHER_NAMES,
    RETIRED_OPTIONS,
    OptionError,
    OutputError,
    TextgenError,
    as_command_line,
    did_you_mean,
    option_name,
    shortened,
    shown,
    shown_path,
)
from textgen.system.process import INTERRUPTED, leave_at_once

T = TypeVar("T")

DONE, USER_ERROR, HUNG_UP, TERMINATED = 0, 2, 129, 143

# Control characters but newline and tab, separators of lines and paragraphs, marks that
# turn the direction of writing, and lone surrogates (bytes that are not UTF-8).
STEERING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f"
    r"\ud800-\udfff]"
)


class Terminated(KeyboardInterrupt):
    """Stopped by SIGTERM: as by Ctrl-C, but for the exit status."""


class HungUp(KeyboardInterrupt):
    """Stopped by SIGHUP, since the terminal went away: as by Ctrl-C otherwise."""


STOPPED = {Terminated: TERMINATED, HungUp: HUNG_UP}  # others: INTERRUPTED


class LossyStream:
    """A text stream for what may be lost, such as progress: writing never fails.

    What can't be written, because the reader has gone, the terminal or the room on the
    disk, is dropped. Where there is room again, what follows is written.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write what can be; characters that the encoding lacks are shown escaped."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
                try:
                    self._stream.write(text)
                except UnicodeEncodeError:
                    escaped = text.encode("ascii", "backslashreplace")
                    self._stream.write(escaped.decode())
        return len(text)

    def flush(self) -> None:
        """Hand on what can be."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.flush()


def printable(text: str) -> str:
    r"""Return ``text`` with whatever could steer a terminal shown escaped.

    Newlines and tabs stay.

    >>> print(printable("red\x1b[31m"))
    red\x1b[31m
    """
    return STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return ``text`` on a single line, with nothing in it that steers a terminal."""
    return printable(text).replace("\n", "\\n")


def tell(line: str, *, wrap: bool = True) -> None:
    """Print one line for people on stderr, if it can be.

    A terminal gets it wrapped at words, unless it holds a command to be copied.
    """
    line = one_line(line)
    if wrap and sys.stderr is not None and sys.stderr.isatty():
        columns = _columns(sys.stderr)
        if len(line) > columns:
            line = textwrap.fill(
                line, columns, break_long_words=False, break_on_hyphens=False
            )
    print(line, file=LossyStream(sys.stderr), flush=True)


def _columns(terminal: TextIO) -> int:
    """Return a terminal's width, 80 if it doesn't say."""
    try:
        return os.get_terminal_size(terminal.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def say(message: str, *, wrap: bool = True) -> None:
    """Print one line for people on stderr, as `tell`, with keywords as options."""
    tell(as_command_line(message), wrap=wrap)


def say_warnings() -> None:
    """From now on, let each warning be one line on stderr, repeated ones too."""
    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = lambda message, *_, **__: say(f"note: {message}")


def writer(stream: TextIO) -> Callable[[str], None]:
    """Return a function that writes text and flushes it, to a terminal `printable`."""
    on_terminal = stream.isatty()

    def write(text: str) -> None:
        stream.write(printable(text) if on_terminal else text)
        stream.flush()

    return write


def print_result(line: str) -> None:
    """Print the line on standard output that says where finished work is.

    Work that is done and saved has not failed because nobody takes that line: if it
    can't be written, it is said on standard error instead.
    """
    try:
        writer(sys.stdout)(f"{line}\n")
    except OSError as error:
        _abandon(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            say(f"{line} (standard output can't be written: {error.strerror or error})")


def lines_from(stream: TextIO) -> Iterator[str]:
    """Yield the lines of a text without LF or CRLF, and without a byte-order mark."""
    for index, line in enumerate(stream):
        if index == 0:
            line = line.removeprefix("\ufeff")
            if not line:  # the mark was all there is
                return
        yield line.removesuffix("\n").removesuffix("\r")


def _type_for_argparse(read: Callable[[str], T], kind: str) -> Callable[[str], T]:
    """Return a function that reads an option's value, to be given to `argparse`."""

    def read_or_refuse(text: str) -> T:
        try:
            return read(text)
        except ValueError:
            message = f"must be {kind}, but was {shown(text)}"
            raise argparse.ArgumentTypeError(message) from None

    return read_or_refuse


whole_number = _type_for_argparse(int, "a whole number")
number = _type_for_argparse(float, "a number")


def _numbers(text: str) -> float | tuple[float, ...]:
    one, *others = [float(part) for part in text.split(",")]
    return (one, *others) if others else one


numbers = _type_for_argparse(_numbers, "a number, or several with commas between")


class _Once(argparse.Action):
    """Takes the value of an option that isn't for several, and refuses another."""

    _is_given = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if option_string and self._is_given:
            message = f"must be given once, but came again, as {shown(values)}"
            raise argparse.ArgumentError(self, message)
        self._is_given = True
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """A parser of one command line: errors are a line, and the description is kept."""

    def __init__(
        self,
        description: str,
        prog: str | None = None,
        usage: str | None = None,
        instead: Mapping[str, str] | None = None,
    ) -> None:
        """Make a parser, which suggests others ``instead`` of options that it lacks."""
        self._instead = instead or {}
        super().__init__(
            description=description,
            prog=prog,
            usage=usage,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.register("action", None, _Once)

    def error(self, message: str) -> NoReturn:
        """Raise what the user did wrong as an `OptionError`."""
        message = message.removeprefix("argument ").replace(": must be", " must be")
        option, _, problem = message.partition(": ")
        if option.startswith("--") and problem == "expected one argument":
            message += f"; one that begins with a dash is given as {option}=-…"
        # It may quote any of the arguments, as they are.
        message = shortened(one_line(message))
        if option == "unrecognized arguments":
            received = re.split(r"[\s=]", problem, maxsplit=1)[0]
            message += self._meant(received)
        raise OptionError(f"{message} ({self.prog} --help lists the options)")

    def _meant(self, received: str) -> str:
        """Return the end of a message about an option that this parser lacks."""
        if meant := self._instead.get(received):
            return f": did you mean {meant}?"
        name = received.lstrip("-").replace("-", "_")
        if name in [action.dest for action in self._get_positional_actions()]:
            return f": {name.upper()} is given without it"
        if name in RETIRED_OPTIONS:
            return f", which is no option any more: {RETIRED_OPTIONS[name]}"
        known = [x for x in self._option_string_actions if x not in ("-h", "--help")]
        own_name = f"--{option_name(OTHER_NAMES.get(name, name))}"
        return did_you_mean(own_name if own_name in known else received, known)


def run(main: Callable[[], None]) -> NoReturn:
    """Run a command line and leave the process with its exit status.

    Standard input and output are UTF-8, whatever the locale; bytes that are not
    UTF-8 come in as lone surrogates and go out as the bytes that they were.
    """
    status = DONE
    if signal.getsignal(signal.SIGINT) is leave_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _prepare_streams()
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon(sys.stdout)
    except KeyboardInterrupt as interrupt:
        say("interrupted")
        status = STOPPED.get(type(interrupt), INTERRUPTED)
    except TextgenError as error:
        say(f"error: {error}")
        status = USER_ERROR
    except MemoryError:
        say("error: there is not enough memory: close other programs, or do less")
        status = USER_ERROR
    except OSError as error:
        _abandon(sys.stdout)
        file = shown_path(error.filename) if error.filename else "the standard streams"
        say(f"error: can't read or write {file}: {error.strerror or error}")
        status = USER_ERROR
    try:
        sys.stderr.flush()
    except OSError:  # Python itself would leave with status 120
        _abandon(sys.stderr)
    sys.exit(status)


def _prepare_streams() -> None:
    if sys.stdout is None:
        problem = "standard output is closed"
        raise OutputError(problem, "send it to a file or a pipe")
    if sys.stderr is None:  # closed: `print` would send messages to standard output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    # Only a line feed ends a line of standard input, on Windows too.
    for stream, errors, newline in (
        (sys.stdin, "surrogateescape", "\n"),
        (sys.stdout, "surrogateescape", None),
        (sys.stderr, "backslashreplace", None),
    ):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors, newline=newline)


def _abandon(stream: TextIO) -> None:
    """Send what is still buffered nowhere, so that leaving doesn't fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
