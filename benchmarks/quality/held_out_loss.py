"""Held-out loss in nats per character, by seconds of the whole training process.

  python -m benchmarks.quality.held_out_loss                              everything
  python -m benchmarks.quality.held_out_loss --text tinyshakespeare.txt --part text
  python -m benchmarks.quality.held_out_loss --part text --minutes 40 --no-peers

  text        train.py --corpus TEXT --from-scratch --minutes M for each M, beside
              PyTorch's LSTM, trained by the recipes of char-rnn and torch-rnn for the
              same seconds (torch_recipes.py has them), n-gram, bz2 and xz
  sonnets     train.py --corpus sonnets, beside preset `course` for the same minutes
  course      preset `course` for --course-epochs epochs, beside the same network with
              all targets for a tenth of its seconds
  dinos       train.py --corpus dinos, beside the graded NumPy baseline
  pretrained  the models that come with the program, as they are

The last tenth of a text is held out and read as one stream; of names, a tenth of the
different ones is. Seconds are those of the whole process, imports, compiling and
measuring included. The nats are not taken from train.py: the saved file is read and
measured anew, and what train.py recorded stands beside. (In `sonnets` and `course` only
characters with a full window of the course's before them, 40, are counted, since its
form predicts no others.)

Minutes are those of a reference machine, on which a training step of plain Keras
`LSTM`, 2×128, windows of 40, batches of 128, float32, takes 41 ms. That step is
measured first, and all minutes of `text` are scaled by what it takes here; --scale 1
takes them as they are.

N-gram: Witten–Bell, the length of its contexts chosen on the last tenth of the training
part. bz2, xz: by how much the compressed text grows with the held-out part.
"""

# The setting below must be made before the imports after it.

from __future__ import annotations

import os

# Measuring and generating are fastest with one thread; NumPy reads this at its import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import contest, report
from benchmarks.harness.contest import spread
from benchmarks.harness.worker import ROOT, Contestant, thread_variants
from benchmarks.quality.ngram import best_ngram_nats
from benchmarks.quality.references import (
    COMPRESSORS,
    compressed_nats,
    numpy_baseline_nats,
)
from benchmarks.quality.trainings import (
    HEADINGS,
    HELD_OUT,
    Outcome,
    measure_file,
    per_line,
    run_peer,
    run_training,
)
from benchmarks.speed.training_programs import SIZES
from textgen.config import PRESETS
from textgen.data.corpus import load_corpus
from textgen.data.sources import data_folder
from textgen.data.vocabulary import END_SYMBOL

PEERS = ("char-rnn", "torch-rnn")
PARTS = ("text", "sonnets", "course", "dinos", "pretrained")
REFERENCE_PROGRAMS = "benchmarks.speed.training_programs"
REFERENCE_STEP_MS = 41.0
REFERENCE_ROUNDS, REFERENCE_TURN_S = 3, 2.0
PRETRAINED = "-pretrained"  # ends the names of the files that come with the program
COURSE_WINDOW = PRESETS["course"].windows.seq_length
# With the course's stride of 3 each character would be predicted 13 times an epoch.
ALL_TARGETS = (
    *("--targets", "all", "--stride", str(COURSE_WINDOW), "--batch-size", "32"),
    *("--learning-rate", "0.01", "--schedule", "cosine", "--warmup-steps", "50"),
    *("--optimizer", "adamw", "--dropout", "0.1"),
)


def reference_step_ms() -> float:
    """Measure the reference step: the median of its rounds, in milliseconds."""
    size = {"size": asdict(SIZES["a"])}
    keras = Contestant("the reference step", "keras", size, thread_variants())
    (result,) = contest.hold(
        REFERENCE_PROGRAMS, [keras], rounds=REFERENCE_ROUNDS, seconds=REFERENCE_TURN_S
    )
    return 1e3 / spread(result.rates).median


def measured_scale() -> float:
    """Return how many minutes here are one of the reference machine's."""
    return reference_step_ms() / REFERENCE_STEP_MS


def references(text: str) -> list[Outcome]:
    """Return what the n-gram, compressors and (for names) the baseline achieve."""
    corpus = load_corpus(text)
    split = corpus.split(HELD_OUT)
    is_lines = corpus.kind == "lines"
    end_id = int(corpus.vocabulary.encode(END_SYMBOL)[0]) if is_lines else None
    context, nats = best_ngram_nats(
        split.training, split.held_out, len(corpus.vocabulary), end_id
    )
    found = {f"n-gram, contexts of {context}": nats}
    if is_lines:
        found["NumPy baseline"] = numpy_baseline_nats(split, corpus.vocabulary)
    else:
        parts = [corpus.vocabulary.decode(x) for x in (split.training, split.held_out)]
        found |= {name: compressed_nats(name, *parts) for name in COMPRESSORS}
    return [
        Outcome(name, nats, nats_per_line=per_line(nats, corpus, split))
        for name, nats in found.items()
    ]


def contest_of_text(
    text: str,
    minutes: Sequence[float],
    scale: float,
    seed: int,
    folder: Path,
    *,
    peers: Sequence[str],
) -> list[Outcome]:
    """Train on any text for the minutes of the reference machine.

    Args:
        text: name or path of the corpus.
        minutes: budgets on the reference machine.
        scale: minutes here for one there.
        seed: of the trainings.
        folder: for the model files.
        peers: recipes of PyTorch's to compare with.
    """
    outcomes = []
    torch = Contestant("PyTorch", "torch", needs=("torch",))
    peers = [peer for peer in peers if contest.is_installed(torch)]
    for nominal in minutes:
        here = nominal * scale
        options = ["--from-scratch", "--minutes", f"{here:.4f}", "--seed", str(seed)]
        name = f"textgen, {60 * nominal:,.0f} s there, {60 * here:,.0f} s here"
        outcomes.append(run_training(name, text, options, folder))
        outcomes += [run_peer(peer, text, 60 * here, seed) for peer in peers]
    return outcomes + references(text)


def contest_of_sonnets(seed: int, folder: Path) -> list[Outcome]:
    """Compare the default command with the course's preset for the same minutes."""
    seeded, after = ["--seed", str(seed)], {"after_chars": COURSE_WINDOW}
    name, text = "textgen, default command", "sonnets"
    default = run_training(name, text, seeded, folder, **after)
    as_long = ["--preset", "course", "--minutes", f"{default.seconds / 60:.4f}"]
    name = "textgen, preset course, as long"
    course = run_training(name, text, [*seeded, *as_long], folder, **after)
    return [default, course, *references(text)]


def contest_of_course(epochs: int, seed: int, folder: Path) -> list[Outcome]:
    """Compare the course's form with one that predicts after every character."""
    seeded, after = ["--seed", str(seed)], {"after_chars": COURSE_WINDOW}
    form = ["--preset", "course", *seeded]
    name, text = f"preset course, {epochs} epochs", "sonnets"
    as_given = [*form, "--epochs", str(epochs)]
    course = run_training(name, text, as_given, folder, **after)
    name = "its network, all targets, a tenth of the seconds"
    a_tenth = ["--minutes", f"{course.seconds / 600:.4f}"]
    every = run_training(name, text, [*form, *ALL_TARGETS, *a_tenth], folder, **after)
    return [every, course]


def contest_of_dinos(seed: int, folder: Path) -> list[Outcome]:
    """Measure the default command on names."""
    name, text = "textgen, default command", "dinos"
    ours = run_training(name, text, ["--seed", str(seed)], folder)
    return [ours, *references(text)]


def measure_pretrained() -> list[Outcome]:
    """Measure the model files that come with the program on what they held out."""
    return [
        measure_file(path.name, path, path.stem.removesuffix(PRETRAINED))
        for path in sorted(data_folder("models").glob(f"*{PRETRAINED}.h5"))
    ]


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    add = parser.add_argument
    report.add_choice(parser, "--part", PARTS)
    # fmt: off
    add("--text", metavar="FILE", type=report.existing_file,
        default=str(ROOT / "corpora" / "shakespeare.txt"),
        help="the text of `text` (default: corpora/shakespeare.txt)")
    add("--minutes", metavar="LIST", type=report.positives, default=[0.4, 1.2],
        help="budgets on the reference machine (default: 0.4,1.2)")
    add("--scale", metavar="X", type=report.positive(float),
        help="minutes here for one there (default: measured by the reference step)")
    add("--course-epochs", metavar="N", type=report.positive(int), default=40,
        help="length of the course's form (default: %(default)s)")
    add("--no-peers", action="store_true", help="leave PyTorch out")
    add("--seed", metavar="N", type=int, default=0, help="(default: %(default)s)")
    # fmt: on
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    arguments = parse_arguments()
    seed, after = arguments.seed, f"characters after {COURSE_WINDOW} others"
    print(report.describe_machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "text" in arguments.part:
            scale = arguments.scale or measured_scale()
            show(
                f"{arguments.text}; 1 minute there is {scale:.2f} minutes here",
                contest_of_text(
                    arguments.text,
                    arguments.minutes,
                    scale,
                    seed,
                    folder,
                    peers=() if arguments.no_peers else PEERS,
                ),
            )
        if "sonnets" in arguments.part:
            show(f"sonnets, {after}", contest_of_sonnets(seed, folder))
        if "course" in arguments.part:
            outcomes = contest_of_course(arguments.course_epochs, seed, folder)
            show(f"the course's form, {after}", outcomes)
        if "dinos" in arguments.part:
            show("dinos", contest_of_dinos(seed, folder))
    if "pretrained" in arguments.part:
        show("pretrained", measure_pretrained())


def show(title: str, outcomes: list[Outcome]) -> None:
    """Print a contest's table."""
    report.show(title, HEADINGS, [outcome.cells() for outcome in outcomes])


if __name__ == "__main__":
    contest.run(main)
