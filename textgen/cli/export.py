"""The command `export`: write a model in a form that other programs run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from textgen.cli.looking import check_page
from textgen.cli.options import add_model, add_options, positional
from textgen.config import PageConfig
from textgen.errors import OptionError, OutputError, shown_path
from textgen.saving.model_file import load_model
from textgen.saving.onnx_file import onnx_bytes
from textgen.saving.sandbox import Reader
from textgen.saving.trained_model import TrainedModel
from textgen.system.files import write_atomically
from textgen.system.terminal import Parser, print_result, say, say_warnings

DESCRIPTION = """\
Write a model in a form that needs no textgen: as ONNX, which runtimes for many
languages read, or as a page of HTML that completes prompts in a browser.

  %(prog)s sonnets --onnx sonnets.onnx
  %(prog)s sonnets --html sonnets.html   one file, which needs no network
  %(prog)s mine.h5 --html mine.html --title "Letters to Ann"

Exit status: 0 done, 2 for an error that one line explains.
"""
SUFFIXES = {"onnx": (".onnx",), "html": (".html", ".htm")}


def parse_arguments(
    arguments: Sequence[str], prog: str
) -> tuple[argparse.Namespace, PageConfig]:
    """Read the command line, and check all of it before the model is loaded."""
    kept = {"--weights": "--onnx, which keeps them exactly"}  # a page rounds them
    parser = Parser(DESCRIPTION, prog, "%(prog)s MODEL [options]", instead=kept)
    add_model(parser)
    # fmt: off
    parser.add_argument("--onnx", metavar="FILE.onnx", help="write the network as ONNX")
    parser.add_argument("--html", metavar="FILE.html", help="write a page that "
        "completes prompts")
    # fmt: on
    add_options(parser, PageConfig)
    options = parser.parse_args(arguments)
    if options.onnx is None and options.html is None:
        problem = "a form to write is needed, but none was given"
        raise OptionError(problem, "give `onnx` or `html`, or both")
    for keyword, suffixes in SUFFIXES.items():
        path = getattr(options, keyword)
        if path is not None and not path.lower().endswith(suffixes):
            problem = f"`{keyword}` must end in {suffixes[0]}, but was"
            raise OptionError(f"{problem} {shown_path(path)}")
    if options.html is not None:
        check_page(Path(options.html))
    return options, PageConfig(options.title)


def main(arguments: Sequence[str], prog: str, *, reader: Reader) -> None:
    """Load a model by ``reader``, and write it in all forms that are asked for."""
    options, config = parse_arguments(arguments, prog)
    say_warnings()
    with positional("model"):
        model = load_model(options.model, options.vocabulary_from, reader=reader)
    # All are made before one is written, so that a refusal leaves nothing behind.
    made: dict[str, bytes] = {}
    if options.onnx is not None:
        made["onnx"] = onnx_bytes(model)
    if options.html is not None:
        from textgen.web.offline import offline_page

        made["html"] = offline_page(model, config).encode()
        if model.vocabulary.labels:
            say("the page writes without a label")
    for keyword, data in made.items():
        _write(data, Path(getattr(options, keyword)), keyword, model)


def _write(data: bytes, path: Path, keyword: str, model: TrainedModel) -> None:
    if model.path is not None and path.exists() and path.samefile(model.path):
        problem = f"`{keyword}` must be another file than the model, {shown_path(path)}"
        raise OutputError(problem, "choose another name")
    try:
        write_atomically(data, path)
    except OutputError as error:
        error.advice = error.advice.replace("`output`", f"`{keyword}`")
        raise
    print_result(str(path))
