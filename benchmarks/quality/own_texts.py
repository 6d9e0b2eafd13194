"""A user's own text in a minute: from the model of English, and from scratch.

  python -m benchmarks.quality.own_texts story.txt letters.txt
  python -m benchmarks.quality.own_texts --minutes 1 --long-minutes 20 story.txt
  python -m benchmarks.quality.own_texts --base models/other.h5 story.txt

Each text is trained on by `train.py --corpus TEXT --minutes M` three times: as the
command does it (from the model of English, if it predicts the text well), with
--from-scratch, and with --from-scratch for the long minutes. With --base, the first of
these goes on from that model in any case. The last tenth is held out and read as one
stream. Seconds are those of the whole process.
"""

# The setting below must be made before the imports after it.

from __future__ import annotations

import os

# Measuring is fastest with one thread; NumPy reads this at its import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import contest, report
from benchmarks.quality.trainings import HEADINGS, Outcome, run_training


def contest_of_text(
    text: str,
    minutes: float,
    folder: Path,
    *,
    long_minutes: float | None = None,
    base: str | None = None,
) -> list[Outcome]:
    """Train on one text as it is done by default, from scratch, and longer so."""
    short = ("--kind", "text", "--minutes", f"{minutes:g}")
    ways = {
        "as train.py does it": short if base is None else (*short, "--init-from", base),
        "from scratch": (*short, "--from-scratch"),
    }
    if long_minutes is not None:
        long = ("--kind", "text", "--minutes", f"{long_minutes:g}", "--from-scratch")
        ways[f"from scratch, {long_minutes:g} minutes"] = long
    return [run_training(way, text, options, folder) for way, options in ways.items()]


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    add = parser.add_argument
    # fmt: off
    add("texts", metavar="TEXT", nargs="+", type=report.existing_file,
        help="UTF-8 text files")
    add("--minutes", metavar="M", type=report.positive(float), default=1.0,
        help="the budget (default: %(default)s)")
    add("--long-minutes", metavar="M", type=report.positive(float),
        help="of one more training from scratch (default: none)")
    add("--base", metavar="MODEL", help="go on from this model in any case")
    # fmt: on
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    asked = parse_arguments()
    print(report.describe_machine())
    with tempfile.TemporaryDirectory() as name:
        for text in asked.texts:
            outcomes = contest_of_text(
                text,
                asked.minutes,
                Path(name),
                long_minutes=asked.long_minutes,
                base=asked.base,
            )
            report.show(text, HEADINGS, [outcome.cells() for outcome in outcomes])


if __name__ == "__main__":
    contest.run(main)
