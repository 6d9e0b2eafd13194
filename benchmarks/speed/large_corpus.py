"""Memory for a large text: 1 GB trains within 2 GB, its first step within a minute.

  python benchmarks/large_corpus.py
  python benchmarks/large_corpus.py --megabytes 20         a small try

Writes a text of random words to a temporary folder (TMPDIR says where), runs

  train.py --corpus TEXT --steps 20 --units 64

and tells the most memory that the process ever had resident, as the operating system
counted it (and GNU time too, where it is installed), and the seconds until the first
step: from the process's start to the line that train.py prints when it has compiled
and timed its step, so a little more. The text and the model are deleted afterwards.
Memory-mapped pages count as resident, too.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import report
from contest import main, say
from worker import ROOT, ContestError

MEGABYTE = 1_000_000
MIB = 1 << 20
STEPS = 20
UNITS = 64
SEED = 0
VOCABULARY_WORDS = 50_000
WORDS_PER_LINE = 12
LINES_PER_PIECE = 10_000
GNU_TIME = Path("/usr/bin/time")
RESIDENT_KIB = re.compile(r"Maximum resident set size \(kbytes\): (\d+)")
FIRST_STEP = re.compile(r"step [\d,]+/[\d,]+ |[\d,]+ steps?, about ")


@dataclass(frozen=True)
class Outcome:
    """What the training took.

    Attributes:
        resident_mib: the most that was resident, as `getrusage` has it.
        gnu_time_mib: the same by GNU time; None where it isn't installed.
        first_step_s: seconds from the start to the first step.
        total_s: seconds of the whole process.
    """

    resident_mib: float
    gnu_time_mib: float | None
    first_step_s: float
    total_s: float


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


def train(corpus: Path, folder: Path) -> Outcome:
    """Train on the text in a process of its own and account for it.

    Raises:
        ContestError: if the training fails.
    """
    command = [sys.executable, str(ROOT / "train.py"), "--corpus", str(corpus)]
    command += ["--steps", str(STEPS), "--units", str(UNITS)]
    command += ["--output", str(folder / "model.h5")]
    accounts = folder / "accounts.txt"
    if sys.platform == "linux" and GNU_TIME.exists():
        command = [str(GNU_TIME), "-v", "-o", str(accounts), *command]
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process.stderr:
        first_step_s = seconds_to_first_step(process.stderr, started)
    if process.wait() or first_step_s is None:
        raise ContestError(f"train.py ended with status {process.returncode}")
    return Outcome(
        resident_mib=peak_of_children_mib(),
        gnu_time_mib=gnu_time_mib(accounts.read_text()) if accounts.exists() else None,
        first_step_s=first_step_s,
        total_s=time.monotonic() - started,
    )


def seconds_to_first_step(lines: Iterable[str], started_s: float) -> float | None:
    """Pass a training's lines on; return when the first one came that tells of steps.

    Args:
        lines: what train.py writes to standard error, as it comes.
        started_s: `time.monotonic` at its start.

    Returns:
        Seconds since the start; None if no line tells of steps.
    """
    seconds = None
    for line in lines:
        if seconds is None and tells_of_steps(line):
            seconds = time.monotonic() - started_s
        say(f"  {line.rstrip()}")
    return seconds


def tells_of_steps(line: str) -> bool:
    """Tell whether train.py prints such a line only when it has taken a step."""
    return FIRST_STEP.match(line) is not None


def peak_of_children_mib() -> float:
    """Return the most that any ended child process of this one had resident."""
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return peak * unit_bytes / MIB


def gnu_time_mib(accounts: str) -> float | None:
    """Return the most that was resident, from what ``time -v`` wrote."""
    found = RESIDENT_KIB.search(accounts)
    return int(found[1]) / 1024 if found else None


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


def run() -> None:
    """Do what the command line says."""
    arguments = parse_arguments()
    environment = report.environment()
    print(report.describe(environment))
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name, "large.txt")
        say(f"writing {arguments.megabytes:,} MB")
        write_text(corpus, arguments.megabytes * MEGABYTE)
        size_bytes = corpus.stat().st_size
        outcome = train(corpus, Path(name))
    gnu_time = outcome.gnu_time_mib
    rows = [
        ["text, MB", f"{size_bytes / MEGABYTE:,.0f}"],
        ["most resident, MiB", f"{outcome.resident_mib:,.0f}"],
        ["the same by GNU time, MiB", f"{gnu_time:,.0f}" if gnu_time else "–"],
        ["first step after, s", report.figure(outcome.first_step_s)],
        ["whole training, s", report.figure(outcome.total_s)],
    ]
    print(f"\n{report.table(('what', 'figure'), rows)}", flush=True)
    record = {"benchmark": "large_corpus", "environment": environment}
    record |= {"text_bytes": size_bytes, **asdict(outcome)}
    report.write_json(arguments.json, record)


if __name__ == "__main__":
    main(run, {})
