"""What mixing models gains: seeds of one training, and a text between two models.

  python -m benchmarks.quality.mixing
  python -m benchmarks.quality.mixing --part seeds --corpus story.txt --minutes 20
  python -m benchmarks.quality.mixing --part texts --text story.txt

  seeds   train.py --corpus CORPUS --from-scratch with each of --seeds: each model
          alone, and what they predict together. With --minutes each has so many, of
          the reference machine of held_out_loss.py
  texts   the models sonnets and english, as they come with the program, and mixtures of
          them with several weights, on a text that neither was trained on

Nats are per character: of `seeds` on the corpus' held-out tenth, of `texts` on the
whole text. Nothing is chosen by them.
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
from benchmarks.harness.worker import BenchmarkError
from benchmarks.quality.held_out_loss import measured_scale
from benchmarks.quality.trainings import load_held_out, run_training
from textgen.data.corpus import load_corpus
from textgen.evaluation.judging import ReadText
from textgen.evaluation.nats import held_out_nats
from textgen.evaluation.seen import was_trained_on
from textgen.saving.mixed_model import mix_models
from textgen.saving.model_file import load_model
from textgen.saving.trained_model import TrainedModel

PARTS = ("seeds", "texts")
HEADINGS = ("model", "nats/char")
TEXT_MODELS = ("sonnets", "english")
WEIGHTS = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the first of them

Row = tuple[str, float]


def contest_of_seeds(
    corpus: str, seeds: Sequence[int], folder: Path, *, minutes: float | None = None
) -> list[Row]:
    """Train with each seed; measure each model and the ensemble.

    Args:
        corpus: name or path.
        seeds: of the trainings.
        folder: for the model files.
        minutes: of each training, here; by default it takes what its preset says.
    """
    models: list[TrainedModel] = []
    options = ["--from-scratch"]
    options += [] if minutes is None else ["--minutes", f"{minutes:.4f}"]
    for seed in seeds:
        own = folder / str(seed)
        own.mkdir()
        run_training(f"seed {seed}", corpus, [*options, "--seed", str(seed)], own)
        models.append(load_model(own / "model.h5"))
    _, split = load_held_out(models[0], corpus)
    named = {f"seed {seed}": x for seed, x in zip(seeds, models, strict=True)}
    named["all"] = mix_models(models)
    return [(name, held_out_nats(x, split.held_out)) for name, x in named.items()]


def contest_of_texts(text: str) -> list[Row]:
    """Measure two models and mixtures of them on a text that is new to both.

    Raises:
        BenchmarkError: if one of them was trained on it.
    """
    models = [load_model(name) for name in TEXT_MODELS]
    named = dict(zip(TEXT_MODELS, models, strict=True))
    first, second = TEXT_MODELS
    for weight in WEIGHTS:
        name = f"{weight:g} {first} + {1 - weight:.2g} {second}"
        named[name] = mix_models(models, [weight, 1 - weight])
    corpus = load_corpus(text, "text")
    if any(was_trained_on(model, corpus.sha256) for model in models):
        raise BenchmarkError(f"a model was trained on {text!r}")
    whole = corpus.vocabulary.decode(corpus.ids)
    return [
        (name, held_out_nats(x, ReadText.of_string(x, whole, strict=False).ids))
        for name, x in named.items()
    ]


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    report.add_choice(parser, "--part", PARTS)
    add = parser.add_argument
    # fmt: off
    add("--seeds", metavar="N", type=int, nargs="+", default=[0, 1, 2],
        help="of the trainings (default: 0 1 2)")
    add("--corpus", metavar="NAME_OR_FILE", default="sonnets",
        help="what `seeds` trains on (default: %(default)s)")
    add("--minutes", metavar="M", type=report.positive(float),
        help="of each training of `seeds` (default: the length of its preset)")
    add("--scale", metavar="X", type=report.positive(float),
        help="minutes here for one there (default: measured by the reference step)")
    add("--text", metavar="FILE", type=report.existing_file,
        help="the text of `texts`, which is left out without one")
    # fmt: on
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    arguments = parse_arguments()
    print(report.describe_machine())
    if "seeds" in arguments.part:
        title, minutes = arguments.corpus, arguments.minutes
        if minutes:
            scale = arguments.scale or measured_scale()
            title += f", {minutes:g} minutes each there, {minutes * scale:.2f} here"
            minutes *= scale
        with tempfile.TemporaryDirectory() as name:
            rows = contest_of_seeds(
                arguments.corpus, arguments.seeds, Path(name), minutes=minutes
            )
        show(title, rows)
    if "texts" in arguments.part and arguments.text:
        show(arguments.text, contest_of_texts(arguments.text))


def show(title: str, rows: list[Row]) -> None:
    """Print a table."""
    report.show(title, HEADINGS, [[name, f"{nats:.3f}"] for name, nats in rows])


if __name__ == "__main__":
    contest.run(main)
