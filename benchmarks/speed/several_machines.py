"""Training on several machines, here as several processes of this one.

  python -m benchmarks.speed.several_machines

It trains a network of 2×512 in 1, 2 and 4 processes with the same batches, each process
on one core (they share those there are), and prints characters a second, and what went
through the loopback device a step, beside what 2·(N − 1)/N times 4 bytes a weight from
each of N processes come to. Nothing else may use that device meanwhile. The text is
random; nothing is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.harness import report
from benchmarks.harness.contest import run, say
from benchmarks.harness.worker import ROOT, BenchmarkError
from benchmarks.speed.large_corpus import write_text

LAYERS, UNITS = 2, 512
SYMBOLS, EMBEDDING = 96, 64
WINDOWS, WINDOW = 64, 128
WORKERS = (1, 2, 4)
STEPS = 60
TEXT_BYTES = 2_000_000
COUNTERS = Path("/proc/net/dev")
READY = re.compile(r"[\d,]+ steps?, about ")  # said when steps are compiled and timed
SPEED = re.compile(r"step ([\d,]+)/\1 .* ([\d,]+) chars/s")


def weights() -> int:
    """Count the weights of the network."""
    first = 4 * UNITS * (EMBEDDING + UNITS + 1)
    others = 4 * UNITS * (2 * UNITS + 1) * (LAYERS - 1)
    return SYMBOLS * EMBEDDING + first + others + SYMBOLS * (UNITS + 1)


def measured(count: int, text: Path, folder: Path) -> tuple[float, float]:
    """Train in ``count`` processes; return characters a second, and bytes a step."""
    ports = [port for port, _ in zip(free_ports(), range(count), strict=False)]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    options = ["--kind", "text", "--from-scratch", "--held-out", "0",
               "--layers", f"{LAYERS}", "--units", f"{UNITS}",
               "--window", f"{WINDOW}", "--batch-size", f"{WINDOWS}",
               "--steps", f"{STEPS}", "--distribute", "multiworker",
               "--output", f"{folder / f'{count}.h5'}"]  # fmt: skip
    cores = sorted(os.sched_getaffinity(0))
    before, processes = loopback_bytes(), []
    for index in range(count):
        task = {"type": "worker", "index": index}
        cluster = {"cluster": {"worker": addresses}, "task": task}
        processes.append(subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), str(text), *options],
            env=os.environ | {"TF_CONFIG": json.dumps(cluster)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if index else subprocess.PIPE,
            text=True,
            preexec_fn=partial(os.sched_setaffinity, 0, {cores[index % len(cores)]}),
        ))  # fmt: skip
    told = ""
    for line in processes[0].stderr:
        told += line
        if READY.match(line):
            before = loopback_bytes()
    volume = loopback_bytes() - before
    found = SPEED.search(told)
    statuses = [process.wait() for process in processes]
    if any(statuses) or found is None:
        raise BenchmarkError(f"a worker failed: {told}")
    return float(found[2].replace(",", "")), volume / STEPS


def loopback_bytes() -> int:
    """Return how many bytes the loopback device has received so far."""
    for line in COUNTERS.read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "lo":
            return int(counts.split()[0])
    raise BenchmarkError(f"{COUNTERS} has no loopback device")


def free_ports() -> Iterator[int]:
    """Yield ports at which nobody listens."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("", port))
            yield port


def measure(rounds: int) -> None:
    """Measure in alternating rounds, and print the medians' table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "words.txt"
        write_text(text, TEXT_BYTES)
        found: dict[int, list[tuple[float, float]]] = {count: [] for count in WORKERS}
        for number in range(rounds):
            for count in WORKERS if number % 2 == 0 else WORKERS[::-1]:
                say(f"round {number + 1} of {rounds}: {count} workers")
                found[count].append(measured(count, text, folder))
    ratios = {
        count: sorted(one[0] / other[0] for one, other in zip(figures, found[1],
                                                              strict=True))
        for count, figures in found.items()
    }  # fmt: skip
    rows = []
    for count, figures in found.items():
        speeds, volumes = (sorted(x) for x in zip(*figures, strict=True))
        middle = len(speeds) // 2
        expected = 2 * (count - 1) * 4 * weights()
        rows.append([
            f"{count}", f"{speeds[middle]:,.0f}", f"{ratios[count][middle]:.2f}",
            f"{volumes[middle] / 1e6:,.1f}", f"{expected / 1e6:,.1f}",
        ])  # fmt: skip
    headings = ("workers", "characters/s", "of one's", "MB a step", "by the model")
    title = f"{LAYERS}×{UNITS}, batches of {WINDOWS} windows of {WINDOW}, {STEPS} steps"
    report.show(f"{title}; cores: {len(os.sched_getaffinity(0))}", headings, rows)


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    report.add_rounds(parser)
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    asked = parse_arguments()
    print(report.describe_machine())
    measure(asked.rounds)


if __name__ == "__main__":
    run(main)
