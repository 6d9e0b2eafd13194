"""Usable models of a training on its way: ``NAME.step-1200.h5``, every so many minutes.

Each holds what would be saved if the training ended at that step, and says that it is a
snapshot, so that none is taken for a finished model. All of them are kept.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from textgen.errors import TextgenError
from textgen.system.files import write_atomically

MOST_SHARE = 0.1  # of the time may go into snapshots


class ModelOnTheWay(NamedTuple):
    """A model as it is at a step, as the bytes of its file."""

    step: int
    data: bytes


def snapshot_path(output: Path, step: int) -> Path:
    """Return where a model file's snapshot of a step is."""
    return output.with_name(f"{output.stem}.step-{step}.h5")


def snapshot_names(output: Path) -> str:
    """Return a regular expression for the names of a model file's snapshots."""
    return rf"{re.escape(output.stem)}\.step-\d+\.h5"


class SnapshotWriter:
    """Writes a snapshot every ``minutes``, or never if they are None.

    Two writes are so far apart that they take at most `MOST_SHARE` of the time. A
    snapshot that can't be written is left out, which is told once.
    """

    def __init__(
        self,
        current: Callable[[], ModelOnTheWay],
        output: Path,
        minutes: float | None,
        say: Callable[[str], None],
        *,
        cost_s: float = 0.0,
    ) -> None:
        """Write what ``current`` returns, which takes about ``cost_s`` seconds."""
        self._current = current
        self._output = output
        self._interval_s = math.inf if minutes is None else minutes * 60
        self._say = say
        self._cost_s = cost_s
        self._written_at_s = time.monotonic()
        self._has_failed = False

    @property
    def share(self) -> float:
        """The time that writing takes, for each second of training."""
        return min(MOST_SHARE, self._cost_s / self._interval_s)

    def write_if_due(self) -> None:
        """Write one if it is time to; called after each compiled call."""
        started_s = time.monotonic()
        since_s = started_s - self._written_at_s
        if since_s < max(self._interval_s, self._cost_s / MOST_SHARE):
            return
        try:
            model = self._current()
            path = snapshot_path(self._output, model.step)
            write_atomically(model.data, path)
            self._say(f"a snapshot is saved: {str(path)!r}")
        except (TextgenError, OSError, MemoryError) as error:
            if not self._has_failed:
                self._say(f"{error}; training goes on without that snapshot")
            self._has_failed = True
        self._written_at_s = time.monotonic()
        self._cost_s = self._written_at_s - started_s
