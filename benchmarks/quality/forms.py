"""How good sonnets are that the model writes: rhyme, metre, and a second model's view.

  python -m benchmarks.quality.forms
  python -m benchmarks.quality.forms --poems 50 --judge english models/judge.h5
  python -m benchmarks.quality.forms --temperature 0.6

Three kinds of fourteen lines are compared: sonnets by `textgen.generate_form`, the
first lines of free completions by the same model at the same temperature, and
Shakespeare's. What a line sounds like is told by eSpeak NG, which had no part in the
making (`benchmarks/quality/pronouncer.py`). The shares are those that Deep-speare
reports (Lau et al. 2018, arXiv 1807.03491), by other means: of the seven pairs of a
sonnet that are to rhyme, and of its lines that are iambic pentameters. "Recited" are
lines that stand in the sonnets or in Shakespeare's other works.
"""

# The setting below must be made before the imports after it.

from __future__ import annotations

import os

# Measuring is fastest with one thread; NumPy reads this at its import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from benchmarks.harness import contest, report
from benchmarks.quality.pronouncer import do_rhyme, scans
from textgen.evaluation.judging import evaluate
from textgen.generation.batch import generate_many
from textgen.generation.forms import FORMS
from textgen.generation.poems import generate_form
from textgen.saving.model_file import load_model

SCHEME = "".join(line.rhyme for line in FORMS["sonnet"].lines)
ROOT = Path(__file__).parents[2]
PAIRS = [(i, j) for i, j in combinations(range(14), 2) if SCHEME[i] == SCHEME[j]]
FREE_CHARS = 1_200  # of a free completion: more than fourteen lines
HEADINGS = ["fourteen lines", "poems", "pairs rhyme", "lines scan", "recited"]

Poem = list[str]  # its lines


@dataclass(frozen=True)
class Figures:
    """What is told of some poems: shares, and nats per character by each judge."""

    poems: int
    rhymed: float
    scanned: float
    recited: float
    nats: tuple[float, ...]

    def cells(self, name: str) -> list[str]:
        """Return the figures as the table shows them."""
        shares = (self.rhymed, self.scanned, self.recited)
        nats = [f"{x:.3f}" for x in self.nats]
        return [name, f"{self.poems}", *(f"{x:.0%}" for x in shares), *nats]


def judge(poems: Sequence[Poem], models: Sequence, known_lines: set[str]) -> Figures:
    """Work out the figures of poems; ``known_lines`` are as `plain` gives them."""
    lines = [line for poem in poems for line in poem]
    pairs = [(poem[i], poem[j]) for poem in poems for i, j in PAIRS]
    text = "\n\n".join("\n".join(poem) for poem in poems)
    return Figures(
        poems=len(poems),
        rhymed=statistics.mean(do_rhyme(*pair) for pair in pairs),
        scanned=statistics.mean(map(scans, lines)),
        recited=statistics.mean(plain(line) in known_lines for line in lines),
        nats=tuple(evaluate(model, f"\n\n{text}\n").nats_per_char for model in models),
    )


def plain(line: str) -> str:
    """Return a line's letters, by which lines are compared."""
    return re.sub("[^a-z]", "", line.lower())


def shakespeares() -> list[Poem]:
    """Return Shakespeare's sonnets that have fourteen lines."""
    text = (ROOT / "corpora" / "sonnets.txt").read_text(encoding="utf-8")
    poems = [poem.splitlines() for poem in text.strip().split("\n\n")]
    return [poem for poem in poems if len(poem) == 14]


def known_lines() -> set[str]:
    """Return all lines of the sonnets and of Shakespeare's other works."""
    paths = [ROOT / "corpora" / name for name in ("sonnets.txt", "shakespeare.txt")]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return {plain(line) for text in texts for line in text.splitlines()}


def free_completions(model, count: int, temperature: float, seed: int) -> list[Poem]:
    """Return the first fourteen lines, none empty, of completions of an empty line."""
    made = generate_many(
        model, ["\n"] * count, length=FREE_CHARS, temperature=temperature, seed=seed
    )
    lines = [[x for x in each.text.splitlines() if x.strip()] for each in made]
    return [poem[:14] for poem in lines if len(poem) >= 14]


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    add = parser.add_argument
    # fmt: off
    add("--model", default="sonnets", help="that writes (default: %(default)s)")
    add("--judge", metavar="MODEL", nargs="+", default=["english"],
        help="the models whose nats per character are told (default: english)")
    add("--poems", metavar="N", type=report.positive(int), default=20,
        help="of each kind (default: %(default)s)")
    add("--temperature", metavar="X", type=report.positive(float), default=0.7,
        help="(default: %(default)s)")
    add("--seed", metavar="N", type=int, default=1,
        help="of the first poem; the others follow (default: %(default)s)")
    # fmt: on
    return parser.parse_args(words)


def main() -> None:
    """Write and read the poems, and print the table."""
    options = parse_arguments()
    model, judges = load_model(options.model), [*map(load_model, options.judge)]
    seconds, made = [], []
    for seed in range(options.seed, options.seed + options.poems):
        start = time.perf_counter()
        poem = generate_form(
            model, "sonnet", seed=seed, temperature=options.temperature
        )
        seconds.append(time.perf_counter() - start)
        made.append(poem.split("\n"))
    kinds = {
        "sonnets by --form": made,
        "free completions": free_completions(
            model, options.poems, options.temperature, options.seed
        ),
        "Shakespeare's": shakespeares()[: options.poems],
    }
    known = known_lines()
    headings = HEADINGS + [f"nats/char by {name}" for name in options.judge]
    rows = [judge(poems, judges, known).cells(name) for name, poems in kinds.items()]
    title = f"a sonnet took {statistics.median(seconds):.1f} s (median)"
    report.show(title, headings, rows)


if __name__ == "__main__":
    contest.run(main)
