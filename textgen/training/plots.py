"""The learning curve as a picture beside the model, where matplotlib is installed.

matplotlib is imported only when there is something to draw, after the model is saved,
and used without `pyplot`: no display is needed, and no setting of a program around a
training is touched. What goes wrong here never ends a training.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgen.errors import OutputError, shortened, shown_path
from textgen.system.files import write_atomically
from textgen.system.process import is_installed
from textgen.system.terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWING_S = 1.5  # about, with the import
SIZE_INCHES, DOTS_PER_INCH = (8.0, 5.0), 100
FONT_POINTS, LINE_POINTS = 10, 1.8
MAX_TITLE_CHARS = 80
# Of Okabe and Ito: told apart by those who are colour-blind, too.
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
SOFTWARE = "textgen"  # what pictures of ours say that they were made by
HEAD_BYTES = 1024  # that has it
MOST_MARKED = 30  # epochs that have a mark each; of more there is only the line


def can_draw() -> bool:
    """Tell whether matplotlib is installed."""
    return is_installed("matplotlib")


def expected_s() -> float:
    """Return the seconds to keep back for drawing from a budget in minutes."""
    return DRAWING_S if can_draw() else 0.0


def picture_path(model: Path) -> Path:
    """Return where the picture of a model file's training is."""
    return model.with_suffix(".png")


def picture_beside(
    model: Path,
    rows: Sequence[Mapping[str, Any]],
    title: str,
    measured: str = "held out",
) -> list[str]:
    """Draw ``NAME.png`` beside the model ``NAME.h5``, and return a line about it.

    The arguments are those of `write_curve`. One epoch makes no curve; then there is
    no line, and no picture of an earlier training any more. A picture of something
    else is left alone.
    """
    path = picture_path(model)
    if not can_draw():
        return []
    try:
        if path.exists() and not _is_ours(path):
            return [f"no curve is drawn, since {shown_path(path)} isn't one"]
        if len(_points(rows, "loss")) < 2:
            path.unlink(missing_ok=True)
            return []
        write_curve(path, rows, title, measured)
    except Exception as error:  # of another program's code, after the work is done
        reason = error.problem if isinstance(error, OutputError) else repr(error)
        return [f"the learning curve can't be drawn ({shortened(reason)})"]
    return [f"the learning curve is drawn in {shown_path(path)}"]


def write_curve(
    path: str | os.PathLike[str],
    rows: Sequence[Mapping[str, Any]],
    title: str,
    measured: str = "held out",
) -> None:
    """Write a learning curve as a PNG of 800 × 500 pixels.

    Args:
        path: the file to write or replace.
        rows: of the epochs, in order: ``step``, ``loss`` and, if there are,
            ``val_loss``, both in nats per character, and ``learning_rate``.
        title: what stands above it.
        measured: which part of the text ``val_loss`` is of.

    Raises:
        OutputError: it can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    file = io.BytesIO()
    with _quiet():
        figure = Figure(SIZE_INCHES, DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        losses, rate = figure.subplots(
            2, sharex=True, gridspec_kw={"height_ratios": [4, 1]}
        )
        title = shortened(printable(title), MAX_TITLE_CHARS)
        losses.set_title(title, fontsize=FONT_POINTS + 1, parse_math=False)
        _draw_losses(losses, rows, measured)
        _draw_rate(rate, rows)
        figure.align_ylabels()
        figure.savefig(file, format="png", metadata={"Software": SOFTWARE})
    write_atomically(file.getvalue(), path)


def _draw_losses(axes: Axes, rows: Sequence[Mapping[str, Any]], measured: str) -> None:
    """Draw both losses, and a ring where the measured one is lowest."""
    training, others = _points(rows, "loss"), _points(rows, "val_loss")
    marker = "." if len(rows) <= MOST_MARKED else ""
    style: dict[str, Any] = {"marker": marker, "linewidth": LINE_POINTS}
    axes.plot(*zip(*training, strict=True), color=BLUE, label="training", **style)
    if others:
        axes.plot(*zip(*others, strict=True), color=VERMILION, label=measured, **style)
        step, lowest = min(others, key=lambda point: point[1])
        axes.plot(
            step, lowest, "o", markersize=11, fillstyle="none",
            markeredgewidth=LINE_POINTS,
            color=VERMILION, label=f"lowest: {lowest:.3f} at step {step:,}",
        )  # fmt: skip
    _style(axes, "nats per character")
    axes.legend(loc="best", frameon=False, fontsize=FONT_POINTS)


def _draw_rate(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the learning rate below, from zero up."""
    rates = _points(rows, "learning_rate")
    if rates:
        axes.plot(*zip(*rates, strict=True), color=GREEN, linewidth=LINE_POINTS)
        axes.set_ylim(0, 1.15 * max(rate for _, rate in rates) or 1)
    _style(axes, "learning\nrate")
    axes.set_xlabel("step", fontsize=FONT_POINTS)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(left=0)


def _style(axes: Axes, label: str) -> None:
    axes.set_ylabel(label, fontsize=FONT_POINTS)
    axes.tick_params(labelsize=FONT_POINTS - 1)
    axes.grid(color=GREY, alpha=0.2, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    """Return the steps and values of the rows that have one."""
    return [(row["step"], row[name]) for row in rows if row.get(name) is not None]


def _is_ours(path: Path) -> bool:
    """Tell whether a file is a picture that was drawn here."""
    with open(path, "rb") as file:
        return f"Software\0{SOFTWARE}".encode() in file.read(HEAD_BYTES)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves that a font lacks a character, or is looked for at first."""
    log = logging.getLogger("matplotlib")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.setLevel(before)
