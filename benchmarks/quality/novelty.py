"""Novelty: is it new, what a model writes, or does it recite what it was trained on?

  python benchmarks/novelty.py                             the pretrained models
  python benchmarks/novelty.py models/sonnets.h5 --text corpora/shakespeare.txt

Of a model of a long text: one text of 100,000 characters at each temperature, and the
share of its stretches of 40 characters that stand in the training text, character for
character. The longest run of such stretches is the longest passage recited (of 40 or
more). The last row does the same to the held-out part, which people wrote: the share
that repetitions and turns of phrase give by themselves. The training text is that of
the model's corpus without the held-out part, and the whole of each --text besides, for
a model that was first trained on others.

Of a model of names: 10,000 draws at each temperature, repetitions among them, and of
these the shares of

  distinct      draws that were not drawn before
  novel         draws that are none of the names trained on
  well-formed   draws of 4 to 30 letters and nothing else, with a vowel or a y among
                them and no letter three times running
  all three     draws that are distinct, novel and well-formed

and how many different names of the held-out part were hit upon, real names that the
model never saw. The last row has the shares of the real names of the held-out part.
"""

# The setting below must be made before the imports after it.

from __future__ import annotations

import os

# Measuring and generating are fastest with one thread; NumPy reads this at its import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import report
from contest import main, say
from novelty_figures import Names, Recital, judge_names, recitals
from worker import ContestError

from textgen.data.corpus import Corpus, Split, data_folder, load_corpus, named_corpora
from textgen.data.text_file import text_pieces
from textgen.data.vocabulary import END_SYMBOL
from textgen.generation.batch import completion_seeds, generate_many
from textgen.generation.streaming import generate_output
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


def write_and_judge(
    model: TrainedModel, split: Split, others: Sequence[str], options: Any
) -> dict[str, Recital]:
    """Let a model write at each temperature; see how much of that is recited.

    Args:
        model: of a stream.
        split: of what it was trained on.
        others: further texts that it was trained on.
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
    found = recitals(list(texts.values()), [training, *others])
    return dict(zip(texts, found, strict=True))


def name_and_judge(model: TrainedModel, split: Split, options: Any) -> dict[str, Names]:
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
    seeds = list(islice(completion_seeds(options.seed), options.count))
    prompts = [""] * options.count
    found = {}
    for temperature in options.temperatures or TEMPERATURES["lines"]:
        say(f"  {options.count:,} names at temperature {temperature:g}")
        drawing = {"temperature": temperature, "seeds": seeds}
        drawn = generate_many(model, prompts, length=NAME_CHARS, **drawing)
        names = [completion.text for completion in drawn]
        judged = judge_names(names, set(training), set(held_out))
        found[f"temperature {temperature:g}"] = judged
    if held_out:
        found["held out"] = judge_names(held_out, set(training), set(held_out))
    return found


def find_corpus(model: TrainedModel, texts: Sequence[str]) -> tuple[Corpus, list[str]]:
    """Find what a model was trained on last, by its hash.

    Args:
        model: the model.
        texts: paths among which it may be, if it is no named corpus.

    Returns:
        The corpus, and the texts that are another.

    Raises:
        ContestError: if none is the one.
    """
    trained_on = model.metadata["corpus"]
    named = [trained_on["name"]] if trained_on["name"] in named_corpora() else []
    candidates = {
        candidate: load_corpus(candidate, model.kind, model.vocabulary)
        for candidate in (*named, *texts)
    }
    own = trained_on["sha256"]
    for corpus in candidates.values():
        if corpus.sha256 == own:
            return corpus, [text for text in texts if candidates[text].sha256 != own]
    raise ContestError(
        f"{str(model.path)!r} was trained on {trained_on['name']!r}: give that file "
        "with --text"
    )


def judge_file(path: Path, options: Any) -> dict[str, Any]:
    """Judge one model, print its table and return its record."""
    model = load_model(path)
    texts = options.text
    if texts is None:
        texts = [str(named_corpora()["shakespeare"])] if model.kind == "text" else []
    corpus, others = find_corpus(model, texts)
    split = corpus.split(model.config.training.held_out)
    if model.kind == "text":
        other_texts = ["".join(text_pieces(Path(other))) for other in others]
        found = write_and_judge(model, split, other_texts, options)
    else:
        found = name_and_judge(model, split, options)
    rows = [figures.cells(name) for name, figures in found.items()]
    also = "".join(f", {Path(other).name}" for other in others)
    print(f"\n{path.name} against {corpus.name}{also}; seed {options.seed}\n")
    print(report.table(HEADINGS[model.kind], rows), flush=True)
    return {
        "corpus": corpus.name,
        "other_texts": [Path(other).name for other in others],
        "found": {name: asdict(figures) for name, figures in found.items()},
    }


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    add = parser.add_argument
    # fmt: off
    add("models", metavar="MODEL.h5", nargs="*", type=report.existing_file,
        help="(default: the pretrained models)")
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
    add("--seed", metavar="N", type=report.seed, default=SEED,
        help="(default: %(default)s)")
    # fmt: on
    return parser.parse_args(words)


def run() -> None:
    """Do what the command line says."""
    options = parse_arguments()
    pretrained = sorted(data_folder("models").glob("*-pretrained.h5"))
    environment = report.environment()
    print(report.describe(environment))
    record = {"benchmark": "novelty", "environment": environment, "seed": options.seed}
    paths = [Path(name) for name in options.models] or pretrained
    models = {path.name: judge_file(path, options) for path in paths}
    report.write_json(options.json, record | {"models": models})


if __name__ == "__main__":
    main(run, {})
