"""The history of a training: a row at the end of each epoch, kept wherever it goes on.

The rows are part of the checkpoint, so that a training that was killed and resumed has
those of the undisturbed one, times apart. They are written to logs (`logs.py`), and
without samples into the model's file.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_SAVED_ROWS = 1000  # in a model file, about 200 bytes each
MOST = 1e300  # of any number in a row


@dataclass(frozen=True)
class EpochRow:
    """Where a training was at the end of an epoch, or where its last one was cut short.

    Both losses are nats per character.
    """

    epoch: int  # from 1 on
    step: int  # optimizer steps taken by then
    seconds: float  # wall-clock time by then, over all resumes
    loss: float  # mean of the steps of this epoch
    val_loss: float | None  # of the validation part or, without one, of the held-out
    learning_rate: float  # of the last step
    characters_per_s: float  # trained on, measuring included, since the row before
    sample: str = ""  # a text by the network as it was
    val_accuracy: float | None = None  # share of symbols thought the likeliest

    def __post_init__(self) -> None:
        numbers = dict(vars(self))
        is_text = isinstance(numbers.pop("sample"), str)
        for name in ("val_loss", "val_accuracy"):
            if numbers[name] is None:
                del numbers[name]
        if not is_text or not all(
            isinstance(x, int | float) and abs(x) < MOST for x in numbers.values()
        ):
            raise ValueError("a row of another form")


def best_row(rows: Sequence[EpochRow]) -> EpochRow | None:
    """Return the first row of the lowest ``val_loss``; None if none was measured."""
    measured = [row for row in rows if row.val_loss is not None]
    return min(measured, key=lambda row: row.val_loss or 0.0, default=None)


def out_of_patience(rows: Sequence[EpochRow], patience: int | None) -> bool:
    """Tell whether the last ``patience`` rows have all not been better than before."""
    if patience is None or (best := best_row(rows)) is None:
        return False
    return len(rows) - 1 - rows.index(best) >= patience


def saved_rows(rows: Sequence[EpochRow]) -> list[dict[str, Any]]:
    """Return what a model file tells of the rows: all but samples, in limited number.

    Of more than `MOST_SAVED_ROWS` there are every second, third … one, counted from
    the last, and the best.
    """
    every = -(-len(rows) // (MOST_SAVED_ROWS - 1))
    best = best_row(rows)
    left = [
        row
        for after, row in zip(range(len(rows) - 1, -1, -1), rows, strict=True)
        if after % every == 0 or row is best
    ]
    return [
        {name: value for name, value in vars(row).items() if name != "sample"}
        for row in left
    ]


def read_rows(record: Mapping[str, Any]) -> tuple[EpochRow, ...]:
    """Return the rows in a model file's record, in which anybody may write anything.

    What has another form is left out.
    """
    entries, rows = record.get("history"), []
    for entry in entries if isinstance(entries, list) else []:
        with contextlib.suppress(TypeError, ValueError):
            rows.append(EpochRow(**entry))
    return tuple(rows)


def finite(figure: float | None) -> float | None:
    """Return a figure that can be compared and written as JSON, or None."""
    return figure if figure is not None and math.isfinite(figure) else None


def history_path(output: Path) -> Path:
    """Return where the rows of a model file's training are written."""
    return output.with_suffix(".log.jsonl")
