"""Contests: the same work done by several programs, in turns, on one machine.

The speed of a shared machine drifts by a fifth within the hour. The ratio of two speeds
drifts much less if both are taken in the same minute. So each contestant is a process
of its own, with its own libraries and thread settings. All processes are started and
warmed up first. Then, round by round, each in turn is told to do so much work and
answers how long it took, while the others wait; every second round goes in reverse
order. A ratio is taken within each round, and the median of the rounds' ratios counts.

A contestant may have several variants, such as numbers of threads: each is tried
briefly, and only the fastest takes part. A contestant whose library isn't installed is
left out, with a message.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.harness.worker import BenchmarkError, Contestant, Turn, Worker
from textgen.errors import TextgenError

QUALIFYING_TURNS = 2
PAUSE_S = 0.2  # before a turn, so that the threads of the last one fall asleep


class Spread(NamedTuple):
    """Median, lowest and highest of a figure over the rounds."""

    median: float
    lowest: float
    highest: float

    def times(self, factor: float) -> Spread:
        """Return the same in another unit."""
        return Spread(*(factor * value for value in self))


@dataclass(frozen=True)
class Result:
    """How a contestant did.

    Attributes:
        name: the contestant's.
        settings: its program's, with those of the fastest variant.
        facts: what the program told of itself, such as threads and precision.
        turns: one for each round.
    """

    name: str
    settings: dict[str, Any]
    facts: dict[str, Any]
    turns: tuple[Turn, ...]

    @property
    def rates(self) -> list[float]:
        """Steps (or characters) a second, round by round."""
        return [turn.done / turn.seconds for turn in self.turns]


def spread(values: Iterable[float]) -> Spread:
    """Return median, lowest and highest of at least one value."""
    values = list(values)
    return Spread(statistics.median(values), min(values), max(values))


def ratio(first: Result, second: Result) -> Spread:
    """Divide the first one's rates by the second one's, round by round."""
    pairs = zip(first.rates, second.rates, strict=True)
    return spread(a / b for a, b in pairs)


def hold(
    module: str, contestants: Sequence[Contestant], *, rounds: int, seconds: float
) -> list[Result]:
    """Let contestants do the same work in alternating rounds.

    Args:
        module: the name of the module that has their programs.
        contestants: those whose libraries are missing are left out, and optional
            ones that fail before they are ready.
        rounds: turns of each.
        seconds: about how long each turn takes.

    Returns:
        A result for each that took part, in the contestants' order.

    Raises:
        BenchmarkError: if another one fails.
    """
    with contextlib.ExitStack() as stack:
        workers, counts = [], []
        for contestant in filter(is_installed, contestants):
            say(f"  {contestant.name}: warming up")
            try:
                worker, count = _fastest_variant(module, contestant, seconds, stack)
            except BenchmarkError as error:
                if not contestant.optional:
                    raise
                say(f"  {contestant.name} is left out: {error}")
                continue
            workers.append(worker)
            counts.append(count)
        turns = [[] for _ in workers]
        for number in range(rounds):
            say(f"  round {number + 1} of {rounds}")
            order = range(len(workers))
            for i in order if number % 2 == 0 else reversed(order):
                time.sleep(PAUSE_S)
                turns[i].append(workers[i].take_turn(counts[i]))
    return [
        Result(worker.name, worker.settings, worker.facts, tuple(taken))
        for worker, taken in zip(workers, turns, strict=True)
    ]


def is_installed(contestant: Contestant) -> bool:
    """Tell whether a contestant's libraries are installed; if not, say which isn't."""
    missing = [name for name in contestant.needs if not importlib.util.find_spec(name)]
    if missing:
        say(
            f"  {contestant.name} is left out: {', '.join(missing)} is not installed; "
            "python -m pip install -e '.[bench]' installs it"
        )
    return not missing


def _fastest_variant(
    module: str, contestant: Contestant, seconds: float, stack: contextlib.ExitStack
) -> tuple[Worker, int]:
    """Start all variants and keep the fastest; return it and its steps in a turn."""
    workers, counts = [], []
    for variant in contestant.variants:
        worker = Worker(module, contestant, variant)
        stack.callback(worker.close)
        workers.append(worker)
        counts.append(_steps_for(worker, seconds))
    if len(workers) == 1:
        return workers[0], counts[0]
    step_s = [0.0] * len(workers)
    for _ in range(QUALIFYING_TURNS):
        for i, worker in enumerate(workers):
            time.sleep(PAUSE_S)
            turn = worker.take_turn(counts[i])
            step_s[i] += turn.seconds / turn.done
    best = step_s.index(min(step_s))
    for worker in workers:
        if worker is not workers[best]:
            worker.close()
    return workers[best], counts[best]


def _steps_for(worker: Worker, seconds: float) -> int:
    """Find how many steps a worker takes in about so many seconds."""
    count = 1
    while True:
        turn = worker.take_turn(count)
        if turn.seconds >= seconds / 4:
            return max(1, round(turn.done * seconds / turn.seconds))
        growth = seconds / max(turn.seconds, seconds / 100)
        count = math.ceil(turn.done * min(max(growth, 2), 10))


def say(line: str) -> None:
    """Report progress on standard error."""
    print(line, file=sys.stderr, flush=True)


def run(benchmark: Callable[[], None]) -> None:
    """Run a benchmark, which reads the command line; show an error as one line."""
    try:
        benchmark()
    except (BenchmarkError, TextgenError) as error:
        say(f"error: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
