"""What the benchmarks' reports have in common: options, the machine, tables."""

from __future__ import annotations

import argparse
import datetime
import math
import os
import platform
import re
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.harness.contest import Spread
from benchmarks.harness.worker import available_cores

LIBRARIES = ("tensorflow", "keras", "numpy", "h5py", "torch")


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser that shows a module's docstring as it is."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_rounds(parser: argparse.ArgumentParser) -> None:
    """Add the number of rounds."""
    told = "turns of each contestant (default: %(default)s)"
    parser.add_argument("--rounds", type=positive(int), default=5, help=told)


def add_contest_options(parser: argparse.ArgumentParser) -> None:
    """Add the number of rounds and the length of a turn."""
    add_rounds(parser)
    told = "about how long each turn takes (default: %(default)s)"
    parser.add_argument("--seconds", type=positive(float), default=4.0, help=told)


def add_choice(
    parser: argparse.ArgumentParser, option: str, known: Sequence[str]
) -> None:
    """Add an option that takes some of ``known``, separated by commas."""
    listed = ",".join(known)

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if not set(chosen) <= set(known):
            raise argparse.ArgumentTypeError(
                f"must be some of {listed}, but was {text!r}"
            )
        return chosen

    told = f"some of {listed} (default: all)"
    parser.add_argument(option, type=parse, default=list(known), help=told)


def positive(kind: type) -> Callable[[str], Any]:
    """Return an argparse type: a finite number above zero."""
    name = "a whole number" if kind is int else "a number"

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(
                f"must be {name} above 0, but was {text!r}"
            )
        return value

    return parse


def positives(text: str) -> list[float]:
    """Read numbers above zero, separated by commas (an argparse type)."""
    return [positive(float)(part) for part in text.split(",")]


def existing_file(text: str) -> str:
    """Check that a file can be read (an argparse type)."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"must be a file, but {text!r} is none")
    return text


def describe_machine() -> str:
    """Say in two lines when, where and with which versions this is measured."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    versions = {name: _version(name) for name in LIBRARIES}
    listed = [f"{name} {version}" for name, version in versions.items() if version]
    return (
        f"{now}  {_cpu_model()}, {available_cores()} cores, load before {load}\n"
        f"{', '.join([f'Python {platform.python_version()}', *listed])}"
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    """Return the processor's name; on Linux with family and model number."""
    file = Path("/proc/cpuinfo")
    named = parse_cpu_model(file.read_text()) if file.exists() else None
    return named or platform.processor() or platform.machine()


def parse_cpu_model(cpuinfo: str) -> str | None:
    """Return the first processor's name from the text of ``/proc/cpuinfo``.

    Cloud providers' names say little ("AMD EPYC"): family and model say which.
    """
    lines = re.findall(r"^([^\t:]+?)\s*: *(.*)$", cpuinfo, re.MULTILINE)
    facts = dict(reversed(lines))
    if "model name" not in facts:
        return None
    numbers = [f"{k} {facts[k]}" for k in ("cpu family", "model") if k in facts]
    return f"{facts['model name']} ({', '.join(numbers)})"


def show(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a title and a table."""
    print(f"\n{title}\n\n{table(headings, rows)}", flush=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, aligned for people: text left, figures right.

    Args:
        headings: of the columns; the first one holds names.
        rows: as many strings each.
    """
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        others = [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join([first, *others])} |"

    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(headings), line(rules), *map(line, rows)])


def figure(value: float) -> str:
    """Return a number with three digits, or all of those before the point."""
    if value == 0 or abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def with_range(value: Spread) -> str:
    """Return a median and, in parentheses, lowest and highest."""
    lowest, highest = figure(value.lowest), figure(value.highest)
    return f"{figure(value.median)} ({lowest}–{highest})"
