"""Speed of this checkout beside another one, such as the commit before.

  git worktree add ../before HEAD~1
  python -m benchmarks.speed.compare_checkouts ../before
  python -m benchmarks.speed.compare_checkouts ../before --part train,first --rounds 3

Both checkouts run the same commands in alternating rounds, so that other work of the
machine slows both. Only commands are used, since modules may have other names:

  train  train.py at the sizes a, b and c of `training_speed`: the characters a second
         that it prints at its end, which don't count what comes before the first step
  first  generate.py completing one character: 1 divided by the seconds of the process
  one    generate.py completing 60,000 characters of one stream, with a 2×128 network
         and with the pretrained sonnets' model, 2×512; the seconds of the process less
         those of one character
  many   generate.py completing 256 texts of 1,000 characters, 2×128, counted likewise

Each ratio is that of one round. The last column says whether both checkouts had the
same result in every round: the same text, or the same loss at the end.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import contest, report
from benchmarks.harness.contest import spread
from benchmarks.harness.worker import ROOT, BenchmarkError, worker_environment
from benchmarks.speed.training_programs import SIZES, Size

PARTS = ("train", "first", "one", "many")
TRAINING_STEPS = {"a": 400, "b": 40, "c": 1200}
STREAM_CHARS = 60_000
BATCH_SIZE, BATCH_CHARS = 256, 1000
SHOWN_SPEED = re.compile(r"loss ([\d.]+) .* ([\d,]+) chars/s")
HEADINGS = ("characters/s", "this", "other", "this ÷ other", "same result")


class Measurement(NamedTuple):
    """Characters a second, and the text or loss that came out."""

    speed: float
    result: str


def run(checkout: Path, script: str, *options: object) -> tuple[float, str, str]:
    """Run a command of a checkout; return its seconds, output and messages."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(checkout / script), *map(str, options)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=worker_environment() | {"PYTHONPATH": str(checkout)},
    )
    if done.returncode:
        raise BenchmarkError(f"{checkout / script} failed:\n{done.stderr}")
    return time.perf_counter() - started, done.stdout, done.stderr


def train(checkout: Path, size: Size, steps: int, output: Path) -> Measurement:
    """Train on Shakespeare's works; the result is the loss of the last step."""
    words = f"--layers {size.layers} --units {size.units} --window {size.seq_length}"
    words += f" --batch-size {size.batch_size} --dropout 0 --held-out 0 --steps {steps}"
    corpus = ROOT / "corpora" / "shakespeare.txt"
    files = ("--corpus", corpus, "--output", output)
    _, _, messages = run(checkout, "train.py", *files, *words.split())
    loss, speed = SHOWN_SPEED.findall(messages)[-1]
    return Measurement(float(speed.replace(",", "")), loss)


def complete(checkout: Path, model: Path, count=1, length=1) -> Measurement:
    """Complete a prompt ``count`` times.

    The seconds are those of the process, less those of one that completes a single
    character if there is more than one.
    """
    options = ("--model", model, "--seed", 1, "--prompt", "Shall ", "--length", length)
    counted = ("--count", count) if count > 1 else ()
    seconds, text, _ = run(checkout, "generate.py", *options, *counted)
    if count * length > 1:
        seconds -= 1 / complete(checkout, model).speed
    return Measurement(count * length / seconds, text)


def measures(
    parts: Sequence[str], other: Path, folder: Path
) -> Iterator[tuple[str, Callable[[Path], Measurement]]]:
    """Yield what is measured, for people to read, and a function of a checkout.

    The other checkout makes the small model, since both can read what that writes.
    """
    large, small = ROOT / "models" / "sonnets-pretrained.h5", folder / "small.h5"
    if "train" in parts:
        for name, steps in TRAINING_STEPS.items():
            settings = {"size": SIZES[name], "steps": steps, "output": folder / "x.h5"}
            yield f"training, size {name}", partial(train, **settings)
    if "first" in parts:
        yield "first character", partial(complete, model=large)
    train(other, SIZES["a"], 1, small)
    if "one" in parts:
        one = partial(complete, length=STREAM_CHARS)
        yield "one stream, 2×128", partial(one, model=small)
        yield "one stream, 2×512", partial(one, model=large)
    if "many" in parts:
        batch = {"model": small, "count": BATCH_SIZE, "length": BATCH_CHARS}
        yield f"{BATCH_SIZE} streams, 2×128", partial(complete, **batch)


def compare(measure: Callable[[Path], Measurement], other: Path, rounds: int) -> list:
    """Measure both checkouts in alternating rounds; return the cells of a row."""
    pairs = []
    for number in range(rounds):
        order = (ROOT, other) if number % 2 == 0 else (other, ROOT)
        taken = {checkout: measure(checkout) for checkout in order}
        pairs.append((taken[ROOT], taken[other]))
    ours, others = (spread(pair[i].speed for pair in pairs) for i in (0, 1))
    ratio = spread(first.speed / second.speed for first, second in pairs)
    same = all(first.result == second.result for first, second in pairs)
    return [*map(report.with_range, (ours, others, ratio)), "yes" if same else "no"]


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    parser.add_argument("other", metavar="PATH", type=Path, help="the other checkout")
    report.add_rounds(parser)
    report.add_choice(parser, "--part", PARTS)
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    arguments = parse_arguments()
    other, rows = arguments.other.resolve(), []
    print(report.describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in measures(arguments.part, other, Path(folder)):
            contest.say(f"  {name}")
            rows.append([name, *compare(measure, other, arguments.rounds)])
    report.show(f"this checkout beside {other}", HEADINGS, rows)


if __name__ == "__main__":
    contest.run(main)
