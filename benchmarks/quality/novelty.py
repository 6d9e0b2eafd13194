"""Novelty: how much of what a model writes stands in the text it was trained on.

  python -m benchmarks.quality.novelty                             pretrained models
  python -m benchmarks.quality.novelty models/sonnets.h5 --text corpora/shakespeare.txt

A model of a long text writes 100,000 characters at each temperature. The table has the
share of the stretches of 40 characters that stand in the training text, character for
character, and the longest passage (of 40 characters or more) that does. The last row
measures the held-out part in the same way, which people wrote: repetitions and turns of
phrase give this share by themselves. The training text is the model's corpus without
the held-out part, and the whole of each --text, for a model that was first trained on
others.

A model of names draws 10,000 at each temperature, repetitions among them. The table has
the shares of

  distinct      draws that were not drawn before
  novel         draws that are none of the names trained on
  well-formed   draws of 4 to 30 letters and nothing else, with a vowel or a y among
                them and no letter three times running
  all three     draws that are distinct, novel and well-formed

and the number of different held-out names that were drawn, real names that the model
never saw. The last row has the shares of the real names of the held-out part.
"""

# The setting below must be made before the imports after it.

from __future__ import annotations

import os

# Measuring and generating are fastest with one thread; NumPy reads this at its import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import report
from benchmarks.harness.contest import run, say
from benchmarks.harness.worker import BenchmarkError
from benchmarks.quality.novelty_figures import Names, Recital, judge_names, recitals
from textgen.data.corpus import Corpus, Split, load_corpus
from textgen.data.sources import named_corpora
from textgen.data.vocabulary import END_SYMBOL
from textgen.generation.batch import generate_many
from textgen.generation.streaming import generate_output
from textgen.saving.find_model import pretrained
from textgen.saving.model_file import TrainedModel, load_model

TEXT_CHARS = 100_000
NAMES = 10_000
NAME_CHARS = 100  # none is longer, unless a model never ends a line
SEED = 1
TEMPERATURES = {"text": (0.5, 0.7, 1.0), "lines": (0.5, 0.8, 1.0)}
HEADINGS = {
    "text": ("text", "characters", "stretches recited", "longest"),
    "lines": (
        "names",
        "draws",
        "distinct",
        "novel",
        "well-formed",
        "all three",
        "held-out names hit",
    ),
}


def judge_text(
    model: TrainedModel, split: Split, others: Sequence[Corpus], options: Any
) -> dict[str, Recital]:
    """Let a model write at each temperature, and find how much of that is recited.

    Args:
        model: of a long text.
        split: of what it was trained on.
        others: that it was trained on before.
        options: of the command line.
    """
    training, held_out = map(model.vocabulary.decode, (split.training, split.held_out))
    texts = {}
    for temperature in options.temperatures or TEMPERATURES["text"]:
        say(f"  {options.length:,} characters at temperature {temperature:g}")
        drawing = {"temperature": temperature, "seed": options.seed}
        text = generate_output(model, "", length=options.length, **drawing)
        texts[f"temperature {temperature:g}"] = text
    if held_out:
        texts["held out"] = held_out
    sources = [training, *(model.vocabulary.decode(other.ids) for other in others)]
    found = recitals(list(texts.values()), sources)
    return dict(zip(texts, found, strict=True))


def judge_lines(model: TrainedModel, split: Split, options: Any) -> dict[str, Names]:
    """Let a model invent names at each temperature, and judge them.

    Args:
        model: of lines.
        split: of what it was trained on.
        options: of the command line.
    """
    training, held_out = (
        [line for line in model.vocabulary.decode(ids).split(END_SYMBOL) if line]
        for ids in (split.training, split.held_out)
    )
    prompts = [""] * options.count
    found = {}
    for temperature in options.temperatures or TEMPERATURES["lines"]:
        say(f"  {options.count:,} names at temperature {temperature:g}")
        drawing = {"temperature": temperature, "seed": options.seed}
        drawn = generate_many(model, prompts, length=NAME_CHARS, **drawing)
        names = [completion.text for completion in drawn]
        judged = judge_names(names, set(training), set(held_out))
        found[f"temperature {temperature:g}"] = judged
    if held_out:
        found["held out"] = judge_names(held_out, set(training), set(held_out))
    return found


def find_corpus(
    model: TrainedModel, texts: Sequence[str | Path]
) -> tuple[Corpus, list[Corpus]]:
    """Find what a model was trained on last, by its hash.

    Args:
        model: the model.
        texts: files among which it may be, if it is no named corpus.

    Returns:
        That corpus, and those of the other texts.

    Raises:
        BenchmarkError: if none is the one.
    """
    trained_on = model.metadata["corpus"]
    named = [trained_on["name"]] if trained_on["name"] in named_corpora() else []
    corpora = [load_corpus(x, model.kind, model.vocabulary) for x in (*named, *texts)]
    own = [corpus for corpus in corpora if corpus.sha256 == trained_on["sha256"]]
    if not own:
        raise BenchmarkError(
            f"{str(model.path)!r} was trained on {trained_on['name']!r}: give that "
            "file with --text"
        )
    others = corpora[len(named) :]
    return own[0], [other for other in others if other.sha256 != own[0].sha256]


def judge_file(path: Path, options: Any) -> None:
    """Judge one model and print its table."""
    model = load_model(path)
    texts = options.text
    if texts is None:
        texts = [named_corpora()["shakespeare"]] if model.kind == "text" else []
    corpus, others = find_corpus(model, texts)
    split = corpus.split(model.config.training.held_out)
    if model.kind == "text":
        found = judge_text(model, split, others, options)
    else:
        found = judge_lines(model, split, options)
    names = ", ".join(x.name for x in (corpus, *others))
    title = f"{path.name} against {names}; seed {options.seed}"
    rows = [figures.cells(name) for name, figures in found.items()]
    report.show(title, HEADINGS[model.kind], rows)


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    add = parser.add_argument
    # fmt: off
    add("models", metavar="MODEL.h5", nargs="*", type=report.existing_file,
        help="(default: the pretrained ones of named corpora)")
    add("--text", metavar="FILE", type=report.existing_file, action="append",
        help="a text that the model was "
        "trained on, if it is no named corpus or was not the last one; may be given "
        "again (default: of a long text, corpora/shakespeare.txt)")
    add("--temperatures", metavar="LIST", type=report.positives,
        help="(default: 0.5,0.7,1 for texts, 0.5,0.8,1 for names)")
    add("--length", metavar="N", type=report.positive(int), default=TEXT_CHARS,
        help="characters of each text (default: %(default)s)")
    add("--count", metavar="N", type=report.positive(int), default=NAMES,
        help="names drawn (default: %(default)s)")
    add("--seed", metavar="N", type=int, default=SEED, help="(default: %(default)s)")
    # fmt: on
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    options = parse_arguments()
    print(report.describe_machine())
    of_named_corpora = [
        path for path in map(pretrained, named_corpora()) if path.exists()
    ]
    for path in [Path(name) for name in options.models] or of_named_corpora:
        judge_file(path, options)


if __name__ == "__main__":
    run(main)
