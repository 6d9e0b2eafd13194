"""What options of drawing give: poems and names, measured against the corpus' own.

  python -m benchmarks.quality.drawing                    both pretrained models
  python -m benchmarks.quality.drawing --only poems --options "--temperature 0.3"

Each row is 100 poems of 400 characters, drawn with the options of `textgen generate`,
and has

  real words    share of the words that stand in the sonnets trained on or in
                Shakespeare's other works
  lines again   share of the lines that stood in their poem already
  4-grams       how many different stretches of four characters there are
  looping       share of the poems in which a stretch of eight characters comes more
                than five times

or 10,000 names, repetitions among them, with the shares of `novelty` and

  4-grams known   share of their stretches of four characters that stand in a name that
                  was trained on, a beginning and an end counted as characters

The last row has the corpus' own figures: as many pieces of the sonnets at even
distances, the real words being those of the held-out part; or the held-out names.
"""

# The setting below must be made before the imports after it.

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from itertools import islice, repeat

from benchmarks.harness import report
from benchmarks.harness.contest import run, say
from benchmarks.quality.novelty import find_corpus
from benchmarks.quality.novelty_figures import judge_names
from textgen.cli.generate import parse_arguments as parse_generate
from textgen.config import CompletionConfig
from textgen.data.sources import named_corpora
from textgen.data.vocabulary import END_SYMBOL
from textgen.generation.batch import complete_many, completion_seeds
from textgen.saving.find_model import pretrained
from textgen.saving.model_file import TrainedModel, load_model

POEMS, POEM_CHARS = 100, 400
NAMES, NAME_CHARS = 10_000, 100
SEED = 1
LOOP_CHARS, LOOP_TIMES = 8, 5
POEM_OPTIONS = (
    "--temperature 0.3",
    "--temperature 0.3 --repetition-penalty 1.2",
    "--temperature 0.3 --repetition-penalty 1.5",
    "--temperature 0.3 --repetition-penalty 2",
    "--temperature 0.3 --no-repeat-ngram 12",
    "--temperature 0",
    "--temperature 0 --repetition-penalty 1.5",
    "--temperature 0.5 --repetition-penalty 1.5",
    "--temperature 0.7 --repetition-penalty 1.5",
    "--temperature 0.7",
    "--temperature 0.75",
    "--temperature 1 --top-p 0.9",
    "--temperature 0.9 --top-p 0.95",
    "--temperature 1 --min-p 0.1",
    "--temperature 1 --min-p 0.07",
)
NAME_OPTIONS = (
    "--temperature 0.5",
    "--temperature 0.7",
    "--temperature 0.8",
    "--temperature 1",
    "--temperature 1 --top-p 0.9",
    "--temperature 1 --typical-p 0.9",
    "--temperature 1 --min-p 0.1",
    "--temperature 1 --min-p 0.05",
)
POEM_HEADINGS = ("poems", "real words", "lines again", "4-grams", "looping")
NAME_HEADINGS = (
    *("names", "draws", "distinct", "novel", "well-formed", "all three"),
    *("held-out names hit", "4-grams known"),
)


def words(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return re.findall(r"[a-z]+(?:['-][a-z]+)*", text.lower())


def grams(text: str, size: int) -> list[str]:
    """Return all stretches of ``size`` characters."""
    return [text[place : place + size] for place in range(len(text) - size + 1)]


def loops(text: str) -> bool:
    """Tell whether a stretch of 8 characters comes more than 5 times."""
    counts = Counter(grams(text, LOOP_CHARS))
    return max(counts.values(), default=0) > LOOP_TIMES


def lines_again(text: str) -> tuple[int, int]:
    """Return how many lines of a text stood there before, and how many there are."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return len(lines) - len(set(lines)), len(lines)


def judge_poems(name: str, poems: Sequence[str], known: set[str], of: str) -> list[str]:
    """Return a row; the real words are those of the text ``of`` that are ``known``."""
    found = words(of)
    again, lines = map(sum, zip(*map(lines_again, poems), strict=True))
    distinct = {gram for poem in poems for gram in grams(poem, 4)}
    return [
        name,
        f"{sum(word in known for word in found) / max(len(found), 1):.1%}",
        f"{again / max(lines, 1):.1%}",
        f"{len(distinct):,}",
        f"{sum(map(loops, poems)) / len(poems):.0%}",
    ]


def known_grams(names: Sequence[str], known: set[str]) -> float:
    """Return the share of the names' 4-grams that are among the known."""
    found = [gram for name in names for gram in grams(f"^{name}$", 4)]
    return sum(gram in known for gram in found) / max(len(found), 1)


def drawn(
    model: TrainedModel, options: str, count: int, seed: int, length: int
) -> list[str]:
    """Return completions of nothing, made by options of the command line."""
    say(f"  {count:,} with {options or 'no options'}")
    words = [*shlex.split(options), "--length", str(length)]
    config: CompletionConfig = parse_generate(words, "generate")[1]
    seeds = islice(completion_seeds(seed), count)
    return [made.text for made in complete_many(model, repeat(""), seeds, config)]


def table_of_poems(options: Sequence[str], count: int, seed: int) -> list[list[str]]:
    """Draw and judge poems by each of the options."""
    model = load_model(pretrained("sonnets"))
    corpus, others = find_corpus(model, [named_corpora()["shakespeare"]])
    split = corpus.split(model.config.training.held_out)
    texts = [split.training, *(other.ids for other in others)]
    known = {word for ids in texts for word in words(model.vocabulary.decode(ids))}
    rows = []
    for each in options:
        poems = drawn(model, each, count, seed, POEM_CHARS)
        rows.append(judge_poems(each, poems, known, "\n".join(poems)))
    whole = model.vocabulary.decode(corpus.ids)
    stride = (len(whole) - POEM_CHARS) // count
    pieces = [whole[stride * i :][:POEM_CHARS] for i in range(count)]
    held_out = model.vocabulary.decode(split.held_out)
    return [*rows, judge_poems("the sonnets' own", pieces, known, held_out)]


def table_of_names(options: Sequence[str], count: int, seed: int) -> list[list[str]]:
    """Draw and judge names by each of the options."""
    model = load_model(pretrained("dinos"))
    corpus, _ = find_corpus(model, [])
    split = corpus.split(model.config.training.held_out)
    training, held_out = (
        [line for line in model.vocabulary.decode(ids).split(END_SYMBOL) if line]
        for ids in (split.training, split.held_out)
    )
    known = {gram for name in training for gram in grams(f"^{name}$", 4)}
    samples = {each: drawn(model, each, count, seed, NAME_CHARS) for each in options}
    return [
        [
            *judge_names(names, set(training), set(held_out)).cells(name),
            f"{known_grams(names, known):.1%}",
        ]
        for name, names in {**samples, "held-out names": held_out}.items()
    ]


def parse_arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    add = parser.add_argument
    add("--only", metavar="KIND", choices=("poems", "names"), help="poems or names")
    add("--options", metavar="WORDS", action="append", help="of `textgen generate`, "
        "in place of the usual ones; may be given again")  # fmt: skip
    add("--count", metavar="N", type=report.positive(int),
        help=f"poems or names of a row (default: {POEMS} and {NAMES:,})")  # fmt: skip
    add("--seed", metavar="N", type=int, default=SEED, help="(default: %(default)s)")
    return parser.parse_args(given)


def main() -> None:
    """Do what the command line says."""
    options = parse_arguments()
    print(report.describe_machine())
    seed = options.seed
    if options.only != "names":
        count = options.count or POEMS
        rows = table_of_poems(options.options or POEM_OPTIONS, count, seed)
        report.show(f"{count:,} poems; seed {seed}", POEM_HEADINGS, rows)
    if options.only != "poems":
        count = options.count or NAMES
        rows = table_of_names(options.options or NAME_OPTIONS, count, seed)
        report.show(f"{count:,} names; seed {seed}", NAME_HEADINGS, rows)


if __name__ == "__main__":
    run(main)
