"""Memory for a large text: 1 GB trains within 2.2 GB, its first step within a minute.

  python -m benchmarks.speed.large_corpus
  python -m benchmarks.speed.large_corpus --megabytes 20         a small try

It writes a text of random words to a temporary folder (TMPDIR says where), runs

  train.py --corpus TEXT --kind text --steps 20 --units 64

and prints the most memory that the process ever had resident, as the operating system
counted it, and the seconds until the first step: from the process's start to the line
that train.py prints when it has compiled and timed its step, which is a little later.
The text and the model are deleted afterwards.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import report
from benchmarks.harness.contest import run, say
from benchmarks.harness.worker import ROOT, BenchmarkError

MEGABYTE = 1_000_000
MIB = 1 << 20
STEPS = 20
UNITS = 64
SEED = 0
VOCABULARY_WORDS = 50_000
WORDS_PER_LINE = 12
LINES_PER_PIECE = 10_000
# train.py prints such a line only when it has taken a step.
FIRST_STEP = re.compile(r"step [\d,]+/[\d,]+ |[\d,]+ steps?, about ")


def write_text(path: Path, size_bytes: int, seed: int = SEED) -> None:
    """Write lines of random words, of at least so many bytes and a piece at most more.

    Every line is drawn anew from 50,000 made-up words, so there is next to nothing to
    find twice; 55 different characters: letters, space, full stop and line break.
    """
    rng = np.random.default_rng(seed)
    words = make_words(rng)
    with path.open("w", encoding="ascii", newline="\n") as file:
        written = 0
        while written < size_bytes:
            drawn = rng.integers(len(words), size=(LINES_PER_PIECE, WORDS_PER_LINE))
            lines = (" ".join(words[i] for i in line) for line in drawn.tolist())
            written += file.write("\n".join(lines) + ".\n\n")


def make_words(rng: np.random.Generator) -> list[str]:
    """Draw words of two to nine letters, one in ten with a capital."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = []
    for length in rng.integers(2, 10, size=VOCABULARY_WORDS):
        word = "".join(rng.choice(letters, size=length))
        words.append(word.capitalize() if rng.random() < 0.1 else word)
    return words


def train(corpus: Path, folder: Path) -> tuple[float, float]:
    """Train on a text in a process of its own, and measure that process.

    Returns:
        MiB that were resident at most, and seconds to the first step.

    Raises:
        BenchmarkError: if the training fails.
    """
    command = [sys.executable, str(ROOT / "train.py"), "--corpus", str(corpus)]
    command += ["--kind", "text", "--steps", str(STEPS), "--units", str(UNITS)]
    command += ["--output", str(folder / "model.h5")]
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process.stderr:
        first_step_s = seconds_to_first_step(process.stderr, started)
    if process.wait() or first_step_s is None:
        raise BenchmarkError(f"train.py ended with status {process.returncode}")
    return peak_of_children_mib(), first_step_s


def seconds_to_first_step(lines: Iterable[str], started_s: float) -> float | None:
    """Pass a training's lines on; return when the first line came that counts steps.

    Args:
        lines: what train.py writes to standard error, as it comes.
        started_s: `time.monotonic` at its start.

    Returns:
        Seconds since the start; None if no line counts steps.
    """
    seconds = None
    for line in lines:
        if seconds is None and FIRST_STEP.match(line):
            seconds = time.monotonic() - started_s
        say(f"  {line.rstrip()}")
    return seconds


def peak_of_children_mib() -> float:
    """Return the most that any ended child process of this one had resident."""
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return peak * unit_bytes / MIB


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    parser.add_argument(
        "--megabytes",
        metavar="N",
        type=report.positive(int),
        default=1000,
        help="size of the text, in millions of bytes (default: %(default)s)",
    )
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    megabytes = parse_arguments().megabytes
    print(report.describe_machine())
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name, "large.txt")
        say(f"writing {megabytes:,} MB")
        write_text(corpus, megabytes * MEGABYTE)
        resident_mib, first_step_s = train(corpus, Path(name))
    row = [f"{megabytes:,}", f"{resident_mib:,.0f}", report.figure(first_step_s)]
    headings = ("text, MB", "most resident, MiB", "first step after, s")
    report.show("train.py on a large text", headings, [row])


if __name__ == "__main__":
    run(main)
