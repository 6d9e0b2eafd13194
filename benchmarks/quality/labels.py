"""What labels are for: nats per character of each label's rows, under each label.

  python -m benchmarks.quality.labels                            the presets' steps
  python -m benchmarks.quality.labels --steps 600 --units 64     a short run
  python -m benchmarks.quality.labels --label-dropout 0.02,0.1,0.3

The table of labelled rows is made of the corpora: paragraphs of four plays, sonnets,
and names of dinosaurs. One model is trained on all of them by train.py, for each share
of label dropout, and its held-out rows are measured: with their own label, with each
other one, and without a label. A label does what it is for where the diagonal is the
lowest of its row.
"""

# The setting below must be made before the imports after it.

from __future__ import annotations

import os

# Measuring is fastest with one thread; NumPy reads this at its import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import csv
import itertools
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import report
from benchmarks.harness.contest import say
from benchmarks.harness.worker import ROOT, run_process
from textgen.config import WindowConfig
from textgen.data.sources import data_folder
from textgen.data.windows import places_of
from textgen.evaluation.nats import held_out_nats
from textgen.saving.model_file import load_model
from textgen.saving.own_text import own_corpus
from textgen.saving.trained_model import TrainedModel

PLAYS = {  # and the titles that they have in the corpus
    "errors": "THE COMEDY OF ERRORS",
    "caesar": "JULIUS CAESAR",
    "venice": "THE MERCHANT OF VENICE",
    "dream": "A MIDSUMMER NIGHT'S DREAM",
}
AUTHOR = "by William Shakespeare"  # follows the title of each work
TEXT, LABEL = "text", "work"  # columns of the table
WITHOUT = "without a label"


def labelled_rows(most: int) -> list[tuple[str, str]]:
    """Return texts with their labels, at most so many of each, from their beginnings.

    A row is a paragraph of a play, a sonnet or a name.
    """
    folder = Path(data_folder("corpora"))
    works = (folder / "shakespeare.txt").read_text(encoding="utf-8")
    texts = {"sonnets": (folder / "sonnets.txt").read_text(encoding="utf-8")}
    for label, title in PLAYS.items():
        _, play = works.split(f"\n{title}\n\n{AUTHOR}\n", 1)
        texts[label] = re.split(rf"\n[^\n]+\n\n{AUTHOR}\n", play)[0]
    names = (folder / "dinos.txt").read_text(encoding="utf-8")
    rows = {label: re.split(r"\n{2,}", text.strip()) for label, text in texts.items()}
    rows["dinos"] = names.split()
    return [(row, label) for label, own in rows.items() for row in own[:most]]


def write_table(rows: Sequence[tuple[str, str]], path: Path) -> None:
    """Write rows as CSV with a line of names."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([(TEXT, LABEL), *rows])


def matrix(model: TrainedModel, ids: np.ndarray) -> dict[str, dict[str, float]]:
    """Return nats per character of each label's rows in ids (N,), under each label.

    The rows begin with their labels; under `WITHOUT` there are the figures of rows
    without any.
    """
    ends = places_of(int(ids[0]), ids).astype(np.int64)
    rows = [ids[a : b + 1] for a, b in itertools.pairwise(ends)]
    names, numbers = model.vocabulary.labels, model.vocabulary.label_ids
    found = {}
    for name, number in zip(names, numbers, strict=True):
        own = [row[1:] for row in rows if row[1] == number]
        if not own:
            continue
        text = np.concatenate([ids[:1], *own])
        figures = {}
        for other, instead in zip(names, numbers, strict=True):
            under = np.where(text == number, instead, text).astype(ids.dtype)
            figures[other] = held_out_nats(model, under)
        figures[WITHOUT] = held_out_nats(model, model.vocabulary.without_labels(text))
        found[name] = figures
    return found


def compare(table: Path, dropout: float, options: Sequence[str]) -> None:
    """Train a model with a share of label dropout, and show its matrix."""
    file = table.with_name("model.h5")
    command = [sys.executable, str(ROOT / "train.py"), str(table), "--column", TEXT]
    command += ["--label-column", LABEL, "--label-dropout", str(dropout), *options]
    say(f"  {' '.join(command[1:])}")
    seconds, _ = run_process("train.py", [*command, "--output", str(file)])
    model = load_model(file)
    corpus = own_corpus(model)
    held_out = corpus.split(model.config.training.held_out).held_out
    found = matrix(model, held_out)
    headings = ["held-out rows", *found, WITHOUT]
    rows = [
        [name, *(f"{figures[other]:.3f}" for other in headings[1:])]
        for name, figures in found.items()
    ]
    whole = held_out_nats(model, held_out)
    without = held_out_nats(model, model.vocabulary.without_labels(held_out))
    report.show(
        f"Label dropout {dropout:g}, {seconds:.0f} s: all held-out rows {whole:.3f} "
        f"nats per character with their labels, {without:.3f} without",
        headings,
        rows,
    )


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = report.make_parser(__doc__)
    add = parser.add_argument
    add(
        "--rows", type=report.positive(int), default=1000, help="of each label, at most"
    )
    add(
        "--steps", type=report.positive(int), help="of training (default: the preset's)"
    )
    add("--units", type=report.positive(int), help="of a layer (default: the preset's)")
    add("--label-dropout", type=_shares, default=[WindowConfig().label_dropout])
    add("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def _shares(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main(arguments: Sequence[str]) -> None:
    """Make the table, train, measure and show."""
    options = parse_arguments(arguments)
    print(report.describe_machine())
    given = ["--seed", str(options.seed)]
    for name in ("steps", "units"):
        if (value := getattr(options, name)) is not None:
            given += [f"--{name}", str(value)]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "works.csv")
        write_table(labelled_rows(options.rows), table)
        os.chdir(folder)  # where the model's own text is found again
        for dropout in options.label_dropout:
            compare(table, dropout, given)


if __name__ == "__main__":
    main(sys.argv[1:])
