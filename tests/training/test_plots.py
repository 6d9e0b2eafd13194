"""The picture of a learning curve, where matplotlib is installed and where it isn't."""

import builtins
import logging
import math
import sys

import numpy as np
import pytest
from training.helpers import run, spoil

from textgen.errors import TrainingError
from textgen.system.process import is_installed
from textgen.training import checkpoint, plots
from textgen.training.plots import picture_beside, write_curve

OPTIONS = {"layers": 1, "units": 4, "seq_length": 16, "batch_size": 8, "epochs": 3}
ROWS = [
    {"step": 20 * n, "loss": 3 - 0.2 * n, "val_loss": 3 + (n - 4) ** 2 / 20,
     "learning_rate": 0.02 / n}
    for n in range(1, 11)
]  # fmt: skip

needs_matplotlib = pytest.mark.skipif(
    not is_installed("matplotlib"), reason="needs matplotlib"
)


@pytest.fixture(autouse=True)
def _pictures(monkeypatch, _no_pictures):
    """Draw, which other tests don't."""
    monkeypatch.setattr(plots, "can_draw", lambda: is_installed("matplotlib"))


def drawn(monkeypatch, rows, title="names"):
    """Return the figure of a curve that is drawn."""
    from matplotlib import figure

    made = []

    class Kept(figure.Figure):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(figure, "Figure", Kept)
    monkeypatch.setattr(plots, "write_atomically", lambda data, path: None)
    write_curve("none.png", rows, title)
    return made[0]


@needs_matplotlib
def test_it_shows_losses_rate_and_where_the_held_out_one_was_lowest(monkeypatch):
    losses, rate = drawn(monkeypatch, ROWS).axes
    (training, held_out, lowest), (rates,) = losses.lines, rate.lines
    for line, name in ((training, "loss"), (held_out, "val_loss")):
        np.testing.assert_array_equal(line.get_xdata(), [row["step"] for row in ROWS])
        np.testing.assert_array_equal(line.get_ydata(), [row[name] for row in ROWS])
    assert (lowest.get_xdata(), lowest.get_ydata()) == ([80], [3.0])
    assert list(rates.get_ydata()) == [row["learning_rate"] for row in ROWS]
    labels = [text.get_text() for text in losses.get_legend().get_texts()]
    assert labels == ["training", "held out", "lowest: 3.000 at step 80"]
    assert losses.get_ylabel() == "nats per character"
    assert rate.get_xlabel() == "step"


@needs_matplotlib
def test_nothing_that_is_written_overlaps_or_is_cut_off(monkeypatch):
    figure = drawn(monkeypatch, ROWS, "a long name: " * 20)
    axes = figure.axes
    texts = [
        x for each in axes for x in (each.title, each.xaxis.label, each.yaxis.label)
    ]
    for each in axes:
        low, high = each.get_ylim()
        labels = zip(each.get_yticks(), each.get_yticklabels(), strict=True)
        texts += [label for place, label in labels if low <= place <= high]
    low, high = axes[1].get_xlim()
    labels = zip(axes[1].get_xticks(), axes[1].get_xticklabels(), strict=True)
    texts += [label for place, label in labels if low <= place <= high]
    texts.append(axes[0].get_legend())
    boxes = [x.get_window_extent() for x in texts if x.get_visible()]
    boxes = [box for box in boxes if box.width and box.height > 1]
    assert len(boxes) > 12
    for n, box in enumerate(boxes):
        assert box.x0 >= 0 <= box.y0
        assert box.x1 <= 800
        assert box.y1 <= 500
        assert not any(box.overlaps(other) for other in boxes[n + 1 :])


@needs_matplotlib
@pytest.mark.parametrize(
    ("rows", "title"),
    [
        (ROWS[:2], "$x^2 and a brace {"),
        ([{**row, "val_loss": None} for row in ROWS], "日本\n\x1b[31m"),
        ([{**row, "learning_rate": 0.0} for row in ROWS], ""),
        ([{"step": row["step"], "loss": 1.0} for row in ROWS], "constant"),
        ([{**row, "val_loss": math.inf} for row in ROWS], "infinite"),
    ],
)
def test_odd_rows_and_titles_are_drawn_without_a_word(tmp_path, capfd, rows, title):
    log = logging.getLogger("matplotlib").level
    (line,) = picture_beside(tmp_path / "m.h5", rows, title)
    path = tmp_path / "m.png"
    assert line == f"the learning curve is drawn in {str(path)!r}"
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert np.frombuffer(head[16:], ">u4").tolist() == [800, 500]
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("matplotlib").level == log


@needs_matplotlib
def test_a_picture_of_something_else_is_left_and_one_of_ours_replaced(tmp_path):
    path = tmp_path / "m.png"
    path.write_bytes(b"a photograph")
    (line,) = picture_beside(tmp_path / "m.h5", ROWS, "names")
    assert (path.read_bytes(), line.split(",")[0]) == (
        b"a photograph", "no curve is drawn"
    )  # fmt: skip
    path.unlink()
    picture_beside(tmp_path / "m.h5", ROWS, "names")
    first = path.read_bytes()
    picture_beside(tmp_path / "m.h5", ROWS[:5], "names")
    assert path.read_bytes() != first
    # Of a training of one epoch there is no curve, and none of an earlier one.
    assert picture_beside(tmp_path / "m.h5", ROWS[:1], "names") == []
    assert not path.exists()


@needs_matplotlib
def test_what_goes_wrong_is_told_in_a_line(tmp_path, monkeypatch):
    imported = builtins.__import__

    def broken(name, *others):
        if name.startswith("matplotlib"):
            raise ImportError("a library is missing\nor broken")
        return imported(name, *others)

    monkeypatch.setattr(builtins, "__import__", broken)
    (line,) = picture_beside(tmp_path / "m.h5", ROWS, "names")
    assert "can't be drawn (ImportError" in line
    assert "\n" not in line


@needs_matplotlib
@pytest.mark.parametrize("stopped", [{}, {"interrupt_after": 12}])
def test_a_training_draws_its_curve_without_a_display(
    prose, output, monkeypatch, stopped
):
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    monkeypatch.delenv("DISPLAY", raising=False)
    lines = []
    run(prose, output, lines.append, **OPTIONS, **stopped)
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    pyplot = sys.modules.get("matplotlib.pyplot")  # which Keras imports
    assert pyplot is None or not pyplot.get_fignums()
    (line,) = (line for line in lines if "curve" in line)
    assert "model.png" in line


@needs_matplotlib
def test_a_training_that_went_wrong_draws_what_it_has(
    prose, output, monkeypatch, one_step_a_call
):
    monkeypatch.setattr(checkpoint, "MOST_SHARE", 1e9)  # one after each epoch
    lines = []
    with pytest.raises(TrainingError, match="is the model of step 12"):
        run(prose, output, lines.append, callbacks=[spoil(13)], **OPTIONS)
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert sum("the learning curve is drawn" in line for line in lines) == 1


def test_without_matplotlib_nothing_is_drawn_or_said(prose, output, monkeypatch):
    monkeypatch.setattr(plots, "can_draw", lambda: False)
    lines = []
    run(prose, output, lines.append, **OPTIONS)
    assert not list(output.parent.glob("*.png"))
    assert not [line for line in lines if "curve" in line]
