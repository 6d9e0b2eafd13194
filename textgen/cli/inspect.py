"""The command `inspect`: tell what a model file holds, and how it was trained."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

from textgen.cli.options import add_model, positional
from textgen.data.vocabulary import END_OF_TEXT
from textgen.errors import ModelFileError, as_command_line, shortened
from textgen.evaluation.curve import curve_lines, read_history
from textgen.evaluation.nats import describe
from textgen.generation.batch import Completion, generate_many
from textgen.saving.sandbox import Reader
from textgen.saving.summary import Inspected, inspect_model
from textgen.saving.trained_model import UNKNOWN_TEXT, TrainedModel
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
MOST_SYMBOLS = 400  # that are shown
MOST_OF_VERSION = 40
CURVE_FIGURES, LEAST_BLOCKS = 40, 8  # columns of a curve
BLANKS = {END_OF_TEXT: "end of text", "\n": "newline", " ": "space", "\t": "tab"}


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
    for label, line in _lines(found, columns - LABEL_COLUMNS):
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


def _lines(found: Inspected, width: int) -> Iterator[tuple[str, str]]:
    """Yield the lines to print, the first of each subject with its label."""
    model = found.model
    subjects: dict[str, Iterable[str]] = {
        "file": _of_file(found),
        "layers": found.summary.layers,
        "symbols": [_of_symbols(found)],
        "reads": [_of_reading(found), *found.summary.notes],
        "trained on": _of_texts(model),
        "training": _of_training(model) if model and model.metadata else [],
        "held out": _of_held_out(model) if model and model.metadata else [],
        "curve": _of_curve(model, width) if model else [],
        "assumed": found.summary.assumed,
    }
    for label, lines in subjects.items():
        yield from zip(chain([label], repeat("")), lines, strict=False)


def _of_file(found: Inspected) -> Iterator[str]:
    yield repr(str(found.path)) + (found.model.remark if found.model else "")
    program = "textgen" if found.model and found.model.metadata else "another program"
    keras = found.summary.keras
    version = f" with Keras {shortened(keras, MOST_OF_VERSION)}" if keras else ""
    numbers = f"{found.size_bytes:,} bytes, {found.summary.weights:,} weights"
    yield f"{numbers}; written by {program}{version}"


def _of_symbols(found: Inspected) -> str:
    size = f"{found.summary.vocabulary_size:,}"
    if found.model is None:
        return f"{size} that the file doesn't name; --vocabulary-from tells them"
    symbols = found.model.vocabulary.symbols
    blanks = [name for blank, name in BLANKS.items() if blank in symbols]
    others = "".join(symbol for symbol in symbols if symbol not in BLANKS)
    return f"{size}: {', '.join([*blanks, shortened(others, MOST_SYMBOLS)])}"


def _of_reading(found: Inspected) -> str:
    model, summary = found.model, found.summary
    what = "a line at a time" if model and model.kind == "lines" else "a text"
    if (model.windows.targets if model else summary.targets) == "all":
        return f"{what}, its state carried from character to character"
    length = model.windows.seq_length if model else summary.seq_length
    last = "last window" if length is None else f"last {length:,} characters"
    return f"{what}, at each step the {last} and nothing before them"


def _of_texts(model: TrainedModel | None) -> Iterator[str]:
    for text in model.texts if model else (UNKNOWN_TEXT,):
        if text.sha256 is None:
            yield "a text that isn't known"
        else:
            part = f"{text.held_out:.1%} held out" if text.held_out else "all of it"
            told = f"{text.kind}, {part}, SHA-256 {text.sha256[:12]}…"
            yield f"{shortened(text.name)}: {shortened(told)}"


def _of_training(model: TrainedModel) -> Iterator[str]:
    """Yield lines about the training; its record may hold anything."""
    record, training = model.record, model.config.training
    network, windows = model.config.model, model.config.windows
    steps, seconds = record.get("steps"), record.get("seconds")
    length = f"{steps:,} steps of " if isinstance(steps, int) else ""
    time = f", {seconds:,.0f} s" if isinstance(seconds, float) else ""
    yield (
        f"{length}{training.batch_size:,} windows of {windows.seq_length:,} "
        f"characters, targets {windows.targets}{time}"
    )
    decay = f"weight decay {training.weight_decay:g}, "
    yield (
        f"{training.optimizer}, rate {training.learning_rate:g} ({training.schedule}), "
        f"{decay * (training.optimizer == 'adamw')}dropout {network.dropout:g}, input "
        f"dropout {network.input_dropout:g}, {training.precision}, seed {training.seed}"
    )
    if training.validation:
        chosen, best = record.get("weights_of_step"), ""
        if training.keep_best and isinstance(chosen, int):
            best = f"; the weights are those of step {chosen:,}, its best"
        yield f"validation on {training.validation:.1%} of the training part{best}"
    versions = record.get("versions")
    libraries = versions.items() if isinstance(versions, Mapping) else ()
    made = [record["date"]] if "date" in record else []
    made += [f"{library} {version}" for library, version in libraries]
    if made:
        yield shortened(", ".join(map(str, made)))


def _of_held_out(model: TrainedModel) -> Iterator[str]:
    nats = model.record.get("held_out_nats_per_char")
    yield describe(nats) if isinstance(nats, float) else "not measured"


def _of_curve(model: TrainedModel, width: int) -> list[str]:
    return curve_lines(
        read_history(model.record), max(width - CURVE_FIGURES, LEAST_BLOCKS)
    )


def _as_json(found: Inspected, samples: Sequence[Completion]) -> str:
    """Return one object on a line, in ASCII; numbers beyond all numbers are null."""
    model = found.model
    own: dict[str, Any] = dict.fromkeys(("symbols", "kind", "texts"))
    if model is not None:
        own = {
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
