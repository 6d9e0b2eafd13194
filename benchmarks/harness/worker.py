"""A program that is measured, in a process of its own: both ends of the pipe.

A module of programs is run as ``python -m MODULE TASK`` and calls `serve`, which sets
one of its programs up and then takes turns as it is told on standard input. In the
measuring process a `Worker` stands for that process.

This module imports the standard library only, since a program must be able to make its
thread settings before NumPy is first imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
# Settings that users may have made for themselves; each holds for some programs only.
LIBRARY_VARIABLES = {
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"),
}
WARM_UP_TURNS = 2
SHOWN_ERROR_LINES = 5


class BenchmarkError(Exception):
    """A benchmark can't go on; the message says why."""


class Turn(NamedTuple):
    """Work done in one go: the steps (or characters) done, and the seconds taken."""

    done: int
    seconds: float


# A program takes its settings and returns facts about itself and a function that does
# so many steps (or characters).
Program = Callable[..., tuple[dict[str, Any], Callable[[int], Turn]]]


@dataclass(frozen=True)
class Contestant:
    """A program with its settings, as it takes part in a contest.

    Attributes:
        name: for people to read.
        program: its name in the module of programs.
        settings: keyword arguments of the program, plain JSON values.
        variants: further settings to choose from; the fastest are kept.
        needs: modules that must be installed, or it is left out.
        optional: whether it is left out, too, when it fails before it is ready, since
            not every processor can do what it needs.
    """

    name: str
    program: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Mapping[str, Any], ...] = ({},)
    needs: tuple[str, ...] = ()
    optional: bool = False


def timed(work: Callable[[int], object]) -> Callable[[int], Turn]:
    """Return a function that does ``count`` steps of some work and times them."""

    def take_turn(count: int) -> Turn:
        started = time.perf_counter()
        work(count)
        return Turn(count, time.perf_counter() - started)

    return take_turn


def serve(programs: Mapping[str, Program]) -> None:
    """Set a program up, warm it up, send its facts; then answer counts with turns.

    Args:
        programs: the module's programs by name. The command line has JSON of one name
            and its settings.
    """
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print to standard output goes to standard error
    name, settings = json.loads(sys.argv[1])
    facts, take_turn = programs[name](**settings)
    for _ in range(WARM_UP_TURNS):
        take_turn(1)
    print(json.dumps(facts), file=replies, flush=True)
    for line in sys.stdin:
        print(json.dumps(take_turn(int(line))), file=replies, flush=True)


class Worker:
    """A contestant's process, ready to take turns.

    Args:
        module: the name of the module of programs.
        contestant: name, program and settings.
        variant: settings beside the contestant's own.

    Raises:
        BenchmarkError: if it fails before it is ready.
    """

    def __init__(
        self, module: str, contestant: Contestant, variant: Mapping[str, Any]
    ) -> None:
        self.name = contestant.name
        self.settings = {**contestant.settings, **variant}
        task = json.dumps([contestant.program, self.settings])
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=worker_environment(),
        )
        self.facts = self._receive()

    def take_turn(self, count: int) -> Turn:
        """Do ``count`` steps, or the next higher number that the program can do.

        Raises:
            BenchmarkError: if the process has ended.
        """
        with contextlib.suppress(BrokenPipeError):  # `_receive` then reports the end
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        return Turn(*self._receive())

    def close(self) -> None:
        """End the process; it may have been ended before."""
        self._process.kill()  # a worker has nothing to save
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):  # of a count that it didn't read
            self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()

    def _receive(self) -> Any:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        status = self._process.wait()
        self._errors.seek(0)
        last = "\n".join(self._errors.read().splitlines()[-SHOWN_ERROR_LINES:])
        self.close()
        raise BenchmarkError(f"{self.name} ended with status {status}:\n{last}")


def run_process(name: str, command: list[str]) -> tuple[float, str]:
    """Run a program to its end; its standard error goes to this one's.

    Returns:
        The seconds that it took and what it printed.

    Raises:
        BenchmarkError: if it fails.
    """
    started = time.perf_counter()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=worker_environment(),
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise BenchmarkError(f"{name} ended with status {done.returncode}")
    return seconds, done.stdout


def worker_environment() -> dict[str, str]:
    """Return this process's environment without the user's settings for libraries.

    GPUs are hidden, and the benchmarks can be imported from any folder.
    """
    kept = {k: v for k, v in os.environ.items() if k not in LIBRARY_VARIABLES}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    settings = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return kept | settings | {"PYTHONPATH": path}


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_variants() -> tuple[dict[str, int], ...]:
    """Return one thread and all cores, as variants of a contestant."""
    return tuple({"threads": n} for n in sorted({1, available_cores()}))
