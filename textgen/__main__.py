"""The command `textgen`, also `python -m textgen`: one subcommand for each job."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

from textgen import __version__
from textgen.saving.sandbox import Reader
from textgen.system.process import prepare_process


class Command(NamedTuple):
    """A subcommand NAME: its work is done by `main` of the module `textgen.cli.NAME`.

    The values of that function's keywords in ``early`` are made before NumPy and other
    slow libraries are imported.
    """

    summary: str
    early: Mapping[str, Callable[[], Any]]


COMMANDS = {
    "train": Command(
        "train a model on a text and save it",
        {"started_s": time.monotonic},  # imports count in --minutes
    ),
    "generate": Command(
        "complete the beginning of a text with a model",
        {"reader": Reader},  # it gets ready to read a model during the imports
    ),
    "evaluate": Command(
        "measure how well a model predicts a text",
        {"reader": Reader},
    ),
    "inspect": Command(
        "tell what a model file holds, and how it was trained",
        {"reader": Reader},
    ),
    "export": Command(
        "write a model as ONNX, or as a page that completes prompts",
        {"reader": Reader},
    ),
    "serve": Command(
        "complete prompts for other programs, over HTTP",
        {"reader": Reader},
    ),
}


def main() -> NoReturn:
    """Run the command that the first argument names, or explain what there is."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in COMMANDS:
        start(name, sys.argv[2:], prog=f"textgen {name}")
    from textgen.system.terminal import run

    run(_explain)


def start(name: str, arguments: Sequence[str], prog: str) -> NoReturn:
    """Run one of `COMMANDS`, called ``prog`` in its help and errors, and exit."""
    prepare_process()
    early = {keyword: make() for keyword, make in COMMANDS[name].early.items()}
    # Even `argparse` is imported while the reader gets ready.
    from textgen.system.terminal import run

    command = importlib.import_module(f"textgen.cli.{name}")
    run(partial(command.main, arguments, prog, **early))


def _explain() -> None:
    """Print the help or the version, or raise what is wrong with the arguments."""
    import argparse

    from textgen.errors import did_you_mean, shown
    from textgen.system.terminal import Parser

    listed = [f"  {name:10}{command.summary}" for name, command in COMMANDS.items()]
    parser = Parser(
        "Small recurrent text generators.\n\n" + "\n".join(listed) + "\n\n"
        "`%(prog)s COMMAND --help` lists a command's options.",
        prog="textgen",
        usage="%(prog)s COMMAND [options]",
    )
    version = f"textgen {__version__}"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("command", nargs="?", default="", help=argparse.SUPPRESS)
    name = parser.parse_args(sys.argv[1:] or ["--help"]).command
    parser.error(f"there is no command {shown(name)}{did_you_mean(name, COMMANDS)}")


if __name__ == "__main__":
    main()
