"""What the benchmarks' reports have in common: options, the machine, tables, JSON."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import re
from collections.abc import Sequence
from importlib import metadata as packages
from pathlib import Path
from typing import Any

from contest import Spread, say
from worker import available_cores

LIBRARIES = ("textgen", "tensorflow", "keras", "numpy", "h5py", "torch")


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--json", metavar="FILE", type=new_file, help="write everything there, too"
    )
    return parser


def add_contest_options(parser: argparse.ArgumentParser) -> None:
    """Add how long a contest is."""
    parser.add_argument(
        "--rounds",
        metavar="N",
        type=positive(int),
        default=5,
        help="turns of each contestant (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=positive(float),
        default=4.0,
        help="about how long each turn takes (default: %(default)s)",
    )


def choices(known: Sequence[str]):
    """Return an argparse type: some of ``known``, parted by commas."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if not set(chosen) <= set(known):
            raise argparse.ArgumentTypeError(
                f"must be some of {','.join(known)}, but was {text!r}"
            )
        return chosen

    return parse


def number(kind: type, *, above: int):
    """Return an argparse type: a finite number above a bound."""
    name = "a whole number" if kind is int else "a number"

    def parse(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not above < value < math.inf:
            raise argparse.ArgumentTypeError(
                f"must be {name} above {above}, but was {text!r}"
            )
        return value

    return parse


def positive(kind: type):
    """Return an argparse type: a finite number above zero."""
    return number(kind, above=0)


def positives(text: str) -> list[float]:
    """Read numbers above zero, parted by commas (an argparse type)."""
    return [positive(float)(part) for part in text.split(",")]


def seed(text: str) -> int:
    """Read a seed (an argparse type)."""
    return number(int, above=-1)(text)


def existing_file(text: str) -> str:
    """Check that a file can be read (an argparse type)."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"must be a file, but {text!r} is none")
    return text


def new_file(text: str) -> Path:
    """Check, before hours of work, that a file can be written (an argparse type)."""
    path = Path(text)
    written_to = path if path.exists() else path.absolute().parent
    if path.is_dir() or not os.access(written_to, os.W_OK):
        raise argparse.ArgumentTypeError(
            f"must be a file, in a folder, that can be written, but was {text!r}"
        )
    return path


def environment() -> dict[str, Any]:
    """Describe when, where and with which versions this is measured."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def describe(environment: dict[str, Any]) -> str:
    """Say in two lines what `environment` found."""
    versions = environment["versions"].items()
    listed = ", ".join(f"{name} {version}" for name, version in versions if version)
    load = environment["load_before"]
    busy = "" if load is None else f", load before {load:.2f}"
    return (
        f"{environment['date']}  {environment['cpu']}, {environment['cores']} cores"
        f"{busy}\nPython {environment['python']}, {listed}"
    )


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


def write_json(path: Path | None, record: dict[str, Any]) -> None:
    """Write a record, if there is a path to write it to."""
    if path is not None:
        text = json.dumps(record, indent=1, ensure_ascii=False)
        path.write_text(f"{text}\n", encoding="utf-8")
        say(f"written: {str(path)!r}")


def _version(name: str) -> str | None:
    try:
        return packages.version(name)
    except packages.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    """Return the processor's name; on Linux with family and model number."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return platform.processor() or platform.machine()
    return parse_cpu_model(file.read_text()) or platform.machine()


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
