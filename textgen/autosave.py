"""When a training's checkpoint is written, and what happens when it can't be."""

from __future__ import annotations

import time
from collections.abc import Callable

from textgen.checkpoint import TrainingState
from textgen.errors import OutputError, TrainingError

INTERVAL_S = 30.0  # so much is lost to a power cut, if saving is fast
MOST_SHARE = 0.01  # of the time may go into writing checkpoints


class Autosave:
    """Writes checkpoints: every `INTERVAL_S` seconds, and at the ends of epochs.

    Two writes are so far apart that they take at most `MOST_SHARE` of the time, so
    the ends of short epochs go by. A write that fails while training is told and
    tried again at the next occasion: what is in memory is worth more than stopping.

    Args:
        state: returns the training's state, between two steps.
        write: writes a state as a checkpoint.
        say: called with each line worth telling.

    Attributes:
        last_good: the newest state that was found to be finite, or None.
        failure: why the newest state isn't on the disk, or None.
    """

    def __init__(
        self,
        state: Callable[[], TrainingState],
        write: Callable[[TrainingState], None],
        say: Callable[[str], None],
    ) -> None:
        self.last_good: TrainingState | None = None
        self.failure: OutputError | None = None
        self._state = state
        self._write = write
        self._say = say
        self._saved_at_s = time.monotonic()
        self._took_s = 0.0

    def begin(self) -> None:
        """Write the first checkpoint, before anything is trained.

        Raises:
            OutputError: it can't be written.
        """
        self._save()
        if self.failure is not None:
            raise self.failure

    def look(self, epoch_ended: bool) -> None:
        """Write one if it is time; called after each compiled call.

        Raises:
            TrainingError: the weights are no longer finite; nothing was written.
        """
        since_s = time.monotonic() - self._saved_at_s
        due = epoch_ended or since_s >= INTERVAL_S
        if due and since_s >= self._took_s / MOST_SHARE:
            self._save()
            if self.failure is not None:
                self._say(f"{self.failure}; training goes on and will try again")

    def end(self) -> None:
        """Write the last one; a failure is kept in `failure`.

        Raises:
            TrainingError: the weights are no longer finite; nothing was written.
        """
        self._save()

    def _save(self) -> None:
        started_s = time.monotonic()
        state = self._state()
        if not state.is_finite:
            raise TrainingError(
                "the weights must be finite numbers, but are not any more at step "
                f"{state.step}"
            )
        self.last_good = state
        try:
            self._write(state)
            self.failure = None
        except OutputError as error:
            self.failure = error
        self._saved_at_s = time.monotonic()
        self._took_s = self._saved_at_s - started_s
