"""A model's card: what there is to tell of a file, in lines for people to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from textgen.data.vocabulary import END_OF_TEXT
from textgen.errors import shortened
from textgen.evaluation.curve import curve_lines, read_history
from textgen.evaluation.nats import describe
from textgen.saving.summary import Inspected
from textgen.saving.trained_model import UNKNOWN_TEXT, TrainedModel

MOST_SYMBOLS = 400  # that are shown
MOST_OF_VERSION = 40
MOST_OF_LABELS = 1000
CURVE_FIGURES, LEAST_BLOCKS = 40, 8  # columns of a curve
BLANKS = {END_OF_TEXT: "end of text", "\n": "newline", " ": "space", "\t": "tab"}


def card(found: Inspected, width: int) -> dict[str, list[str]]:
    """Return the lines of each subject, by its label; a curve has ``width`` columns."""
    model = found.model
    is_ours = model is not None and bool(model.metadata)
    return {
        "file": list(_of_file(found)),
        "layers": list(found.summary.layers),
        "symbols": [_of_symbols(found)],
        "labels": list(_of_labels(model)) if model else [],
        "reads": [_of_reading(found), *found.summary.notes],
        "trained on": list(_of_texts(model)),
        "training": list(_of_training(model)) if model and is_ours else [],
        "held out": list(_of_held_out(model)) if model and is_ours else [],
        "curve": _of_curve(model, width) if model else [],
        "assumed": list(found.summary.assumed),
    }


def _of_file(found: Inspected) -> Iterator[str]:
    yield repr(str(found.path)) + (found.model.remark if found.model else "")
    program = "textgen" if found.model and found.model.metadata else "another program"
    version = f"with Keras {shortened(found.summary.keras, MOST_OF_VERSION)}"
    numbers = f"{found.size_bytes:,} bytes, {found.summary.weights:,} weights"
    yield f"{numbers}; written by {program} {version}"


def _of_symbols(found: Inspected) -> str:
    size = f"{found.summary.vocabulary_size:,}"
    if found.model is None:
        return f"{size} that the file doesn't name; --vocabulary-from tells them"
    vocabulary = found.model.vocabulary
    symbols = vocabulary.alphabet.symbols
    if vocabulary.level != "character":
        size = f"{size}, level {vocabulary.level}, of {len(symbols):,} characters"
    blanks = [name for blank, name in BLANKS.items() if blank in symbols]
    known = found.model.vocabulary  # which has no label's symbol
    others = "".join(x for x in symbols if x in known and x not in BLANKS)
    return f"{size}: {', '.join([*blanks, shortened(others, MOST_SYMBOLS)])}"


def _of_labels(model: TrainedModel) -> Iterator[str]:
    """Yield a line with the labels, and how many rows of the last text had each."""
    names, counts = model.vocabulary.labels, model.label_counts
    if names:
        told = ", ".join(f"{name} ({counts.get(name, 0):,} rows)" for name in names)
        yield f"{len(names):,}: {shortened(told, MOST_OF_LABELS)}"


def _of_reading(found: Inspected) -> str:
    model, summary = found.model, found.summary
    what = "a line at a time" if model and model.kind == "lines" else "a text"
    if (model.windows.targets if model else summary.targets) == "all":
        unit = _units(model).removesuffix("s")
        return f"{what}, its state carried from {unit} to {unit}"
    length = model.windows.seq_length if model else summary.seq_length
    last = "last window" if length is None else f"last {length:,} {_units(model)}"
    return f"{what}, at each step the {last} and nothing before them"


def _units(model: TrainedModel | None) -> str:
    """Name what is read one by one, of other programs' models always characters."""
    of_characters = model is None or model.vocabulary.level == "character"
    return "characters" if of_characters else "symbols"


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
    carried = ", stateful" if windows.stateful else ""
    time = f", {seconds:,.0f} s" if isinstance(seconds, float) else ""
    yield (
        f"{length}{training.batch_size:,} windows of {windows.seq_length:,} "
        f"{_units(model)}, targets {windows.targets}{carried}{time}"
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
