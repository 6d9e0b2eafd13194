"""A learning curve out of a training's record, and as a line of blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeGuard

BLOCKS = "▁▂▃▄▅▆▇█"


class Point(NamedTuple):
    """Where a training was after so many steps."""

    step: int
    loss: float  # nats per character of the training part
    val_loss: float | None  # of a part that it isn't trained on, if one was measured


def read_history(record: Mapping[str, Any]) -> list[Point]:
    """Return the points in a training's record, in which anybody may write anything.

    What has another form is left out; of a record without ``history`` there are none.

    >>> read_history({"history": [{"step": 9, "loss": 2.5, "val_loss": 2.75}, None]})
    [Point(step=9, loss=2.5, val_loss=2.75)]
    """
    entries = record.get("history")
    points = []
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, Mapping):
            continue
        step, loss, val_loss = map(entry.get, ("step", "loss", "val_loss"))
        if _is_number(step) and _is_number(loss):
            measured = val_loss if _is_number(val_loss) else None
            points.append(Point(int(step), loss, measured))
    return points


def blocks(values: Sequence[float], width: int) -> str:
    """Return at most ``width`` blocks whose heights show finite values, first to last.

    Where there are more values than blocks, each block is the mean of its share.

    >>> blocks([3.0, 2.0, 1.0, 1.5], 60), blocks([3.0, 2.0, 1.0, 1.5], 2)
    ('█▅▁▃', '█▁')
    """
    count = min(width, len(values))
    bounds = [len(values) * block // count for block in range(count + 1)]
    means = [
        math.fsum(values[first:last]) / (last - first)
        for first, last in pairwise(bounds)
    ]
    lowest, highest = min(means), max(means)
    scale = (len(BLOCKS) - 1) / (highest - lowest) if highest > lowest else 0.0
    return "".join(BLOCKS[round((mean - lowest) * scale)] for mean in means)


def curve_lines(points: Sequence[Point], width: int) -> list[str]:
    """Return a line of blocks for the loss, and one for ``val_loss`` if there is any.

    Each line has a scale of its own, and figures: the first, the last, and the lowest
    ``val_loss``.
    """
    if not points:
        return []
    losses = [(point.step, point.loss) for point in points]
    measured = [(x.step, x.val_loss) for x in points if x.val_loss is not None]
    lines = []
    for name, figures in (("loss", losses), ("val_loss", measured)):
        if figures:
            values = [value for _, value in figures]
            line = f"{name:8}  {blocks(values, width)}  "
            lines.append(f"{line}{values[0]:.3f} → {values[-1]:.3f}")
    if measured:
        step, lowest = min(measured, key=lambda figure: figure[1])
        lines[-1] += f" ({lowest:.3f} at step {step:,})"
    return lines


def _is_number(value: Any) -> TypeGuard[float]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < 1e15
