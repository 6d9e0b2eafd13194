"""The command `inspect`: tell what a model file holds, and how it was trained."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

from textgen.cli.options import add_model, positional
from textgen.errors import ModelFileError, as_command_line
from textgen.evaluation.card import card
from textgen.generation.batch import Completion, generate_many
from textgen.saving.sandbox import Reader
from textgen.saving.summary import Inspected, inspect_model
from textgen.saving.trained_model import TrainedModel
from textgen.system.terminal import Parser, one_line, say, say_warnings, writer

DESCRIPTION = """\
Tell what a model file holds: its layers, symbols and size, what it was trained on and
how, how well it did on held-out text, its learning curve, and three samples.

  %(prog)s sonnets                       a model by its name
  %(prog)s models/mine.h5 --json         the same as one JSON object
  %(prog)s theirs.keras                  what was understood of another program's

Exit status: 0 done, 2 for an error that one line explains.
"""
SAMPLES, SAMPLE_CHARS, SAMPLE_SEED = 3, 200, 1
LABEL_COLUMNS = 12
MOST_COLUMNS = 100  # of a line, on a wide terminal


def main(arguments: Sequence[str], prog: str, *, reader: Reader) -> None:
    """Open a model by ``reader`` and print what there is to tell."""
    parser = Parser(DESCRIPTION, prog, usage="%(prog)s MODEL [options]")
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    say_warnings()
    with positional("model"):
        found = inspect_model(options.model, options.vocabulary_from, reader=reader)
    samples = _samples(found.model)
    write = writer(sys.stdout)
    if options.json:
        write(_as_json(found, samples))
        return
    columns = min(shutil.get_terminal_size().columns, MOST_COLUMNS)
    for label, line in _labelled(card(found, columns - LABEL_COLUMNS)):
        indent = " " * (LABEL_COLUMNS + 2)  # of what goes on from the line before
        begin = f"{label:{LABEL_COLUMNS}}"
        wrapped = textwrap.wrap(
            one_line(as_command_line(line)),
            columns,
            initial_indent=begin,
            subsequent_indent=indent,
            break_on_hyphens=False,
        )
        write("\n".join(wrapped) + "\n")
    for sample in samples:
        write(f"\nsample, seed {sample.seed}:\n{sample.text}\n")


def _samples(model: TrainedModel | None) -> list[Completion]:
    if model is None:
        return []
    try:
        return generate_many(model, SAMPLES, length=SAMPLE_CHARS, seed=SAMPLE_SEED)
    except ModelFileError as error:
        say(f"note: no samples: {error}")
        return []


def _labelled(subjects: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yield the lines to print, the first of each subject with its label."""
    for label, lines in subjects.items():
        yield from zip(chain([label], repeat("")), lines, strict=False)


def _as_json(found: Inspected, samples: Sequence[Completion]) -> str:
    """Return one object on a line, in ASCII; numbers beyond all numbers are null."""
    model = found.model
    own: dict[str, Any] = dict.fromkeys(("level", "symbols", "kind", "texts"))
    if model is not None:
        own = {
            "level": model.vocabulary.level,
            "symbols": model.vocabulary.symbols,
            "kind": model.kind,
            "texts": [vars(text) for text in model.texts],
        }
    record = {
        "file": str(found.path),
        "bytes": found.size_bytes,
        **vars(found.summary),
        **own,
        "config": model.config.to_dict() if model and model.metadata else None,
        "training": model.record if model and model.metadata else None,
        "samples": [{"seed": x.seed, "text": x.text} for x in samples],
    }
    plain = json.loads(json.dumps(record), parse_constant=lambda _: None)
    return json.dumps(plain) + "\n"
