"""A contestant as a process of its own: both ends of the pipe.

In the worker process `serve` plays a role: a function of the script from settings to
``(facts, take_turn)``, where ``take_turn(count)`` does ``count`` steps (or
characters) and returns a `Turn`. In the main process a `Worker` stands for it.

This module needs the standard library only, so that a worker's first import of NumPy
comes after its own thread settings.
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
from typing import Any, NamedTuple, TextIO

ROOT = Path(__file__).resolve().parent.parent
# What users may have set for themselves would hold for some contestants only.
LIBRARY_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
)
WARM_UP_TURNS = 2
CLOSING_S = 10.0
SHOWN_ERROR_LINES = 5


class ContestError(Exception):
    """A contestant failed; the message ends with what it last wrote to stderr."""


class Turn(NamedTuple):
    """Work done in one go: how much of it, and the seconds it took."""

    done: int
    seconds: float


Role = Callable[..., tuple[dict[str, Any], Callable[[int], Turn]]]


@dataclass(frozen=True)
class Contestant:
    """Who takes part.

    Attributes:
        name: for people to read.
        role: key of the script's roles.
        settings: keyword arguments of the role, plain JSON values.
        variants: further settings, of which the fastest are kept.
        needs: modules to be installed; else the contestant is left out.
        optional: left out, too, where it fails before it is ready, as what a
            processor lacks makes it.
    """

    name: str
    role: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Mapping[str, Any], ...] = ({},)
    needs: tuple[str, ...] = ()
    optional: bool = False


# In the worker process


def timed(work: Callable[[int], object]) -> Callable[[int], Turn]:
    """Make a ``take_turn`` of a function that does ``count`` steps."""

    def take_turn(count: int) -> Turn:
        started = time.perf_counter()
        work(count)
        return Turn(count, time.perf_counter() - started)

    return take_turn


def serve(roles: Mapping[str, Role], task: str) -> None:
    """Play a role: warm up, say so, then answer each count with a turn.

    Args:
        roles: the script's roles by name.
        task: JSON of the role's name and its settings.
    """
    replies = _take_standard_output()
    role, settings = json.loads(task)
    facts, take_turn = roles[role](**settings)
    for _ in range(WARM_UP_TURNS):
        take_turn(1)
    print(json.dumps(facts), file=replies, flush=True)
    for line in sys.stdin:
        print(json.dumps(take_turn(int(line))), file=replies, flush=True)


def _take_standard_output() -> TextIO:
    """Return standard output, and send what libraries print there to stderr."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return replies


# In the main process


class Worker:
    """A contestant's process, ready to take turns.

    Args:
        script: the script whose role it plays.
        contestant: name, role and settings.
        variant: settings beside the contestant's own.

    Raises:
        ContestError: if it fails before it is ready.
    """

    def __init__(
        self, script: Path, contestant: Contestant, variant: Mapping[str, Any]
    ) -> None:
        self.name = contestant.name
        self.settings = {**contestant.settings, **variant}
        task = json.dumps([contestant.role, self.settings])
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, str(script), "--worker", task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=worker_environment(),
        )
        self.facts = self._receive()

    def take_turn(self, count: int) -> Turn:
        """Do ``count`` steps, or the next higher number that the worker can do.

        Raises:
            ContestError: if it fails.
        """
        with contextlib.suppress(BrokenPipeError):  # an empty answer follows
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        return Turn(*self._receive())

    def close(self) -> None:
        """End the process; again is no error."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
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
        raise ContestError(f"{self.name} ended with status {status}:\n{last}")


def worker_environment() -> dict[str, str]:
    """Return this process's environment without settings of libraries and GPUs."""
    kept = {k: v for k, v in os.environ.items() if k not in LIBRARY_VARIABLES}
    return kept | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_variants() -> tuple[dict[str, int], ...]:
    """Return one thread and all cores, as variants of a contestant."""
    return tuple({"threads": n} for n in sorted({1, available_cores()}))
