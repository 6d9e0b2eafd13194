"""Which level predicts a text best after the same minutes: characters, pairs, words.

  python -m benchmarks.quality.levels story.txt
  python -m benchmarks.quality.levels --minutes 5 --levels character,bpe story.txt
  python -m benchmarks.quality.levels --sizes 256,512,1024 --levels bpe story.txt

Each text is trained on from scratch by `train.py --minutes M`, once at each level; with
--sizes once with each size of the vocabulary. The last tenth is held out, and is the
same characters at every level. Beside them stands an interpolated Kneser–Ney n-gram of
words, which has read the training part and reads on in the held-out one: its words are
those of level `word` with its usual size, and it spells all others by their characters.
The perplexity of a word is that of all that is held out, spaces and marks included,
divided among its words.

What the models write is judged as well: of 40 texts of 500 characters each, drawn with
temperature 0.7, the share of words that stand in the training part ("real words"), and
the nats per character by which another model predicts them. A model that repeats the
usual words is easy to predict, so that the figures of the held-out part itself, in the
last row, are what to come close to.
"""

# The setting below must be made before the imports after it.

from __future__ import annotations

import os

# Measuring is fastest with one thread; NumPy reads this at its import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import contest, report
from benchmarks.harness.contest import say
from benchmarks.harness.worker import ROOT, run_process
from benchmarks.quality.trainings import HELD_OUT
from textgen.config import LEVELS, ModelConfig
from textgen.data.corpus import Corpus, load_corpus
from textgen.data.levels import in_symbols, learn_vocabulary
from textgen.data.spelling import pieces_of
from textgen.evaluation.judging import evaluate, evaluate_corpus
from textgen.evaluation.ngram import ngram_nats, readable_in_text
from textgen.generation.batch import generate_many
from textgen.saving.model_file import load_model
from textgen.saving.trained_model import TrainedModel

HEADINGS = (
    *("level", "symbols", "network", "seconds", "nats/char", "word perplexity"),
    *("real words", "nats/char by the judge"),
)
TEXTS, TEXT_CHARS, TEMPERATURE, TEXTS_SEED = 40, 500, 0.7, 1


@dataclass(frozen=True)
class Judge:
    """Tells how good a text is that a model wrote."""

    model: TrainedModel
    known: frozenset[str]  # words

    def figures(self, texts: Sequence[str]) -> tuple[float, float]:
        """Return the share of known words, and nats per character by the model."""
        words = [word for text in texts for word in words_of(text)]
        share = sum(word in self.known for word in words) / max(len(words), 1)
        return share, evaluate(self.model, "\n\n".join(texts)).nats_per_char


@dataclass(frozen=True)
class Result:
    """How well one contestant predicts the held-out part of a text, and writes."""

    name: str
    symbols: int | None = None
    network: str = "–"
    seconds: float | None = None
    nats_per_char: float | None = None
    texts: tuple[float, float] | None = None  # as the judge has them

    def cells(self, characters_per_word: float) -> list[str]:
        """Return the figures as the table shows them."""
        nats, (share, judged) = self.nats_per_char, self.texts or (None, None)
        perplexity = None if nats is None else math.exp(nats * characters_per_word)
        return [
            self.name,
            _shown(self.symbols, ",d"),
            self.network,
            _shown(self.seconds, ",.1f"),
            _shown(nats, ".3f"),
            _shown(perplexity, ",.1f"),
            _shown(share, ".1%"),
            _shown(judged, ".3f"),
        ]


def _shown(figure: float | None, form: str) -> str:
    return "–" if figure is None else f"{figure:{form}}"


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case.

    >>> words_of("To be, or ''tis")
    ['to', 'be', 'or', 'tis']
    """
    pieces = ("".join(filter(str.isalnum, piece)) for piece in pieces_of(text))
    return [word.lower() for word in pieces if word]


def characters_per_word(text: str) -> float:
    """Return how many characters there are for each word.

    >>> characters_per_word("To be, or not.")
    3.5
    """
    return len(text) / max(len(words_of(text)), 1)


def word_ngram(corpus: Corpus) -> Result:
    """Measure the n-gram of words on what is held out of a text."""
    split = corpus.split(HELD_OUT)
    words = ModelConfig(level="word")
    vocabulary = learn_vocabulary(words, corpus.vocabulary, split.training)
    training, held_out = (
        in_symbols(part, corpus.vocabulary, vocabulary)
        for part in (split.training, split.held_out)
    )
    ids = np.concatenate([training, held_out])
    nats = ngram_nats(ids, readable_in_text(ids), len(vocabulary))
    # As of the models, the first symbol that is held out isn't counted.
    first = len(training) + 1
    characters = vocabulary.characters[ids[first:]].sum()
    per_char = float(nats[first:].sum() / characters)
    return Result("n-gram of words", len(vocabulary), nats_per_char=per_char)


def train_at(
    level: str, size: int | None, text: str, minutes: float, judge: Judge, folder: Path
) -> Result:
    """Train at a level for some minutes, and measure what was saved."""
    file = folder / "model.h5"
    command = [sys.executable, str(ROOT / "train.py"), "--corpus", text]
    command += ["--kind", "text", "--from-scratch", "--minutes", f"{minutes:g}"]
    command += ["--held-out", f"{HELD_OUT:g}", "--level", level]
    command += [] if size is None else ["--vocabulary-size", str(size)]
    say(f"  {' '.join(command[1:])}")
    seconds, _ = run_process(level, [*command, "--output", str(file)])
    model = load_model(file)
    judged = evaluate_corpus(model, load_corpus(text, "text"), held_out=True)
    written = generate_many(
        model, TEXTS, length=TEXT_CHARS, temperature=TEMPERATURE, seed=TEXTS_SEED
    )
    return Result(
        name=level,
        symbols=len(model.vocabulary),
        network=model.config.model.title,
        seconds=seconds,
        nats_per_char=judged.nats_per_char,
        texts=judge.figures([each.text for each in written]),
    )


def contest_of_text(
    text: str,
    levels: Sequence[str],
    sizes: Sequence[int | None],
    minutes: float,
    judge: TrainedModel,
) -> Iterator[Result]:
    """Yield what each level achieves on a text, and the n-gram, and the text itself."""
    corpus = load_corpus(text, "text")
    split = corpus.split(HELD_OUT)
    known = frozenset(words_of(corpus.vocabulary.decode(split.training)))
    judging = Judge(judge, known)
    with tempfile.TemporaryDirectory() as name:
        for level in levels:
            for size in [None] if level == "character" else sizes:
                yield train_at(level, size, text, minutes, judging, Path(name))
    yield word_ngram(corpus)
    start = corpus.vocabulary.decode(split.held_out[: TEXTS * TEXT_CHARS])
    yield Result("the held-out part", texts=judging.figures([start]))


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    add = parser.add_argument
    # fmt: off
    add("texts", metavar="TEXT", nargs="+", help="UTF-8 text files, or named corpora")
    add("--minutes", metavar="M", type=report.positive(float), default=1.0,
        help="the budget of each training (default: %(default)s)")
    add("--levels", metavar="L,...", default=",".join(LEVELS),
        help="which to train (default: %(default)s)")
    add("--sizes", metavar="N,...",
        help="of the vocabularies (default: what train.py takes)")
    add("--judge", metavar="MODEL", default="english",
        help="which predicts what the models write (default: %(default)s)")
    # fmt: on
    asked = parser.parse_args(words)
    asked.levels = asked.levels.split(",")
    if unknown := set(asked.levels).difference(LEVELS):
        parser.error(f"no such level: {', '.join(sorted(unknown))}")
    asked.sizes = (
        [None] if asked.sizes is None else list(map(int, asked.sizes.split(",")))
    )
    return asked


def main() -> None:
    """Do what the command line says."""
    asked = parse_arguments()
    print(report.describe_machine())
    judge = load_model(asked.judge)
    for text in asked.texts:
        corpus = load_corpus(text, "text")
        held_out = corpus.vocabulary.decode(corpus.split(HELD_OUT).held_out)
        length = characters_per_word(held_out)
        results = contest_of_text(text, asked.levels, asked.sizes, asked.minutes, judge)
        report.show(text, HEADINGS, [result.cells(length) for result in results])


if __name__ == "__main__":
    contest.run(main)
