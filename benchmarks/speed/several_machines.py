"""Training on several machines: workers on this one, and hosts on paper.

  python -m benchmarks.speed.several_machines --measure
  python -m benchmarks.speed.several_machines
  python -m benchmarks.speed.several_machines --characters 50000 --latency 0.05

With ``--measure`` it trains a network of 2×512 in 1, 2 and 4 processes on this machine
with the same batches, each process on one core (they share those there are), and prints
characters a second, and what went through the loopback device a step. Nothing else may
use that device meanwhile. The text is random; nothing is kept.

Otherwise it prints what a step would take on 8, 64 and 512 hosts. The model is

    compute  =  characters of a host's windows / its characters a second
    sending  =  2·(N − 1)/N · bytes / bandwidth  +  2·(N − 1) · latency

without overlap: a ring in which each host sends each of the gradients about twice. Each
host always has as many windows, so that N hosts train with N times the batch. Its speed
is that of 2×512; other networks do as many multiplications a second.

    share       of sending in a step whose gradients travel as float32
    bf16        the same, as bfloat16: half the bytes
    local       steps between two exchanges of weights (float32) so that sending is at
                most a tenth of the time; 1 where gradients may travel at each step
    1 TB        hours for 10¹² characters once, with bfloat16 or that many local steps
    enough      minutes for 20 characters a weight, which is about what the network can
                use (textgen/training/budget.py), by the same steps
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import report
from benchmarks.harness.contest import run, say
from benchmarks.harness.worker import ROOT, BenchmarkError
from benchmarks.speed.large_corpus import write_text

NETWORKS = ((2, 512), (3, 1024))
HOSTS, GBIT_PER_S = (8, 64, 512), (1.0, 25.0, 100.0)
SYMBOLS, EMBEDDING = 96, 64
WINDOWS, WINDOW = 64, 128  # of a host's part of a batch
MOST_SHARE = 0.1
LARGE_TEXT = 1e12
CHARS_PER_WEIGHT = 20
WORKERS = (1, 2, 4)
STEPS = 60
TEXT_BYTES = 2_000_000
COUNTERS = Path("/proc/net/dev")
READY = re.compile(r"[\d,]+ steps?, about ")  # said when steps are compiled and timed
SPEED = re.compile(r"step ([\d,]+)/\1 .* ([\d,]+) chars/s")


class Inputs(NamedTuple):
    """What the model on paper is told."""

    characters_per_s: float  # that a host trains of 2×512
    latency_s: float  # of one message


class Step(NamedTuple):
    """What a step takes on some hosts, in seconds."""

    compute_s: float
    float32_s: float  # to exchange the gradients
    bfloat16_s: float

    @property
    def local_steps(self) -> int:
        """Steps between exchanges so that these take at most a tenth of the time."""
        most_s = self.compute_s * MOST_SHARE / (1 - MOST_SHARE)
        if self.bfloat16_s <= most_s:
            return 1
        return math.ceil(self.float32_s / most_s)


def weights(layers: int, units: int) -> int:
    """Count the weights of a network."""
    first = 4 * units * (EMBEDDING + units + 1)
    others = 4 * units * (2 * units + 1) * (layers - 1)
    return SYMBOLS * EMBEDDING + first + others + SYMBOLS * (units + 1)


def step_on(
    layers: int, units: int, hosts: int, gbit_per_s: float, inputs: Inputs
) -> Step:
    """Return what a step takes by the model of this module's docstring."""
    size = weights(layers, units)
    speed = inputs.characters_per_s * weights(*NETWORKS[0]) / size
    bytes_per_s = gbit_per_s * 1e9 / 8

    def sending_s(bytes_per_weight: int) -> float:
        volume = 2 * (hosts - 1) / hosts * size * bytes_per_weight
        return volume / bytes_per_s + 2 * (hosts - 1) * inputs.latency_s

    return Step(WINDOWS * WINDOW / speed, sending_s(4), sending_s(2))


def on_paper(inputs: Inputs) -> list[list[str]]:
    """Return the table's rows."""
    rows = []
    for layers, units in NETWORKS:
        enough = CHARS_PER_WEIGHT * weights(layers, units)
        for hosts in HOSTS:
            for gbit_per_s in GBIT_PER_S:
                step = step_on(layers, units, hosts, gbit_per_s, inputs)
                fastest_s = step.compute_s + step.bfloat16_s
                if step.local_steps > 1:
                    fastest_s = step.compute_s / (1 - MOST_SHARE)
                per_char_h = fastest_s / (hosts * WINDOWS * WINDOW) / 3600
                shares = (x / (x + step.compute_s) for x in step[1:])
                rows.append([
                    f"{layers}×{units}", f"{hosts}", f"{gbit_per_s:g}",
                    f"{step.compute_s + step.float32_s:.2f}",
                    *(f"{100 * share:.0f} %" for share in shares),
                    f"{step.local_steps}",
                    f"{LARGE_TEXT * per_char_h:,.0f}",
                    f"{60 * enough * per_char_h:.1f}",
                ])  # fmt: skip
    return rows


def measured(count: int, text: Path, folder: Path) -> tuple[float, float]:
    """Train in ``count`` processes; return characters a second, and bytes a step."""
    ports = [port for port, _ in zip(free_ports(), range(count), strict=False)]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    layers, units = NETWORKS[0]
    options = ["--kind", "text", "--from-scratch", "--held-out", "0",
               "--layers", f"{layers}", "--units", f"{units}",
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
        expected = 2 * (count - 1) * 4 * weights(*NETWORKS[0])
        rows.append([
            f"{count}", f"{speeds[middle]:,.0f}", f"{ratios[count][middle]:.2f}",
            f"{volumes[middle] / 1e6:,.1f}", f"{expected / 1e6:,.1f}",
        ])  # fmt: skip
    headings = ("workers", "characters/s", "of one's", "MB a step", "by the model")
    title = f"2×512, batches of {WINDOWS} windows of {WINDOW}, {STEPS} steps"
    report.show(f"{title}; cores: {len(os.sched_getaffinity(0))}", headings, rows)


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    parser.add_argument("--measure", action="store_true", help="train on this machine")
    report.add_rounds(parser)
    number = report.positive(float)
    parser.add_argument(
        "--characters",
        metavar="N",
        type=number,
        default=34_700.0,
        help="a second that a host trains of 2×512 (default: 34,700, the two cores of "
        "docs/results.md)",
    )
    parser.add_argument(
        "--latency",
        metavar="MS",
        type=number,
        default=0.1,
        help="of one message, milliseconds (default: %(default)s)",
    )
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    asked = parse_arguments()
    if asked.measure:
        print(report.describe_machine())
        measure(asked.rounds)
        return
    headings = ("network", "hosts", "Gbit/s", "step, s", "share", "bf16", "local",
                "1 TB, h", "enough, min")  # fmt: skip
    rows = on_paper(Inputs(asked.characters, asked.latency / 1e3))
    report.show("a step on several hosts, by calculation", headings, rows)


if __name__ == "__main__":
    run(main)
