"""What a person sees while a model trains: a live bar, or plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO, cast

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from textgen.data.batches import Windows
from textgen.generation.batch import generate_many
from textgen.generation.streaming import generate_output
from textgen.saving.trained_model import TrainedModel
from textgen.system.terminal import LossyStream, printable

LINE_INTERVAL_S = 30.0  # without a terminal, a line at least this often
SAMPLE_INTERVAL_S = 10.0  # epochs that are shorter share a sample
SAMPLE_CHARS = 160
SAMPLE_NAMES = 5
LONG_LINE_CHARS = 30  # lines of which one is longer, and rows, have a line each
SAMPLE_LONG_LINES = 3
BAR_COLUMNS = 4  # of the bar beside the figures, at least, with the space between
# What a narrow terminal leaves out of the line, the first of these first.
DROPPED = ("speed", "epoch", "figure", "left")


class ProgressDisplay(keras.callbacks.Callback):
    """Show step, epoch, loss, the figure of ``val_loss``, speed and time left.

    On a terminal a bar is kept up to date; elsewhere there is a line at each epoch,
    and in between where an epoch takes long. A sample of text by the network as it is
    then follows an epoch, at most one in ten seconds, and the last; those
    ``of_lines`` are cut at a terminal's width. The first ``first_step`` steps were
    taken by an earlier process. Without a console it writes to standard error, and
    where that can't be, to nowhere.
    """

    def __init__(
        self,
        total_steps: int,
        windows: Windows,
        sample: Callable[[], str],
        first_step: int = 0,
        console: Console | None = None,
        *,
        figure: str = "quick held-out",
        of_lines: bool = False,
    ) -> None:
        super().__init__()
        self._total_steps = total_steps
        self._steps_per_epoch = windows.steps_per_epoch
        self._epochs = -(-total_steps // self._steps_per_epoch)
        self._chars_per_step = windows.characters_per_step
        self._first_step = first_step
        self._sample = sample
        stderr = cast(TextIO, LossyStream(sys.stderr))
        self._console = console or Console(file=stderr, highlight=False)
        self._on_terminal = self._console.is_terminal  # it may go away
        self._cuts_samples = of_lines and self._on_terminal
        self._bar = Progress(
            BarColumn(bar_width=None),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("", total=total_steps)
        self._figure = figure
        self._val_loss: float | None = None
        self._epochs_first_step = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Start the clock and, on a terminal, the bar."""
        self._started = self._last_line = time.monotonic()
        self._last_sample = float("-inf")
        if self._on_terminal:
            self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remember where the epoch's batches are numbered from."""
        self._epochs_first_step = epoch * self._steps_per_epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """Update the bar, or print a line when the last one is long ago."""
        step = self._epochs_first_step + batch + 1
        if self._on_terminal:
            width = self._console.width - BAR_COLUMNS
            text = self._status(step, logs["loss"], width)
            self._bar.update(self._task, completed=step, description=text)
        elif time.monotonic() - self._last_line > LINE_INTERVAL_S:
            self._print_line(self._status(step, logs["loss"]))

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Print the epoch's figures and a sample of text."""
        self._val_loss = logs.get("val_loss")
        now = time.monotonic()
        step = min((epoch + 1) * self._steps_per_epoch, self._total_steps)
        if now - self._last_sample < SAMPLE_INTERVAL_S and step < self._total_steps:
            return
        self._last_sample = now
        width = self._console.width if self._on_terminal else None
        self._print_line(self._status(step, logs["loss"], width))
        sample = Text(printable(self._sample()), style="dim")
        if self._cuts_samples:
            self._console.print(sample, no_wrap=True, overflow="ellipsis")
        else:
            self._console.print(sample, soft_wrap=not self._on_terminal)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Take the bar away."""
        if self._on_terminal:
            self._bar.stop()

    def _print_line(self, text: str) -> None:
        self._last_line = time.monotonic()
        self._console.print(Text(text), soft_wrap=True)

    def _status(self, step: int, loss: float, width: int | None = None) -> str:
        """Return a line of figures, in a width what matters most of them."""
        seconds = max(time.monotonic() - self._started, 1e-6)
        taken = step - self._first_step
        left = seconds / taken * (self._total_steps - step)
        epoch = -(-step // self._steps_per_epoch)
        chars_per_s = taken * self._chars_per_step / seconds
        parts = {
            "step": f"step {step:,}/{self._total_steps:,}",
            "epoch": f"epoch {epoch}/{self._epochs}",
            "loss": f"loss {loss:.3f}",
            "figure": f"{self._figure} {self._val_loss or 0:.3f}",
            "speed": f"{chars_per_s:,.0f} chars/s",
            "left": f"{int(left) // 60}:{int(left) % 60:02d} left",
        }
        if self._val_loss is None:
            del parts["figure"]
        for name in DROPPED:
            if width is None or len("  ".join(parts.values())) <= width:
                break
            parts.pop(name, None)
        return "  ".join(parts.values())[:width]


def sample_of(model: TrainedModel) -> str:
    """Return a short text by a model, for people to see how it gets on."""
    if model.makes_lines:
        made = generate_many(model, [""] * SAMPLE_NAMES, seed=range(SAMPLE_NAMES))
        names = [name.text for name in made]
        if not model.vocabulary.labels and max(map(len, names)) <= LONG_LINE_CHARS:
            return ", ".join(names)
        return "\n".join(names[:SAMPLE_LONG_LINES])
    return generate_output(model, "", length=SAMPLE_CHARS, seed=0)
