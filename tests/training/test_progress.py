"""What a person sees while a model trains, on a terminal and elsewhere."""

import io
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from textgen.config import WindowConfig
from textgen.data.windows import make_windows
from textgen.training import progress
from textgen.training.progress import ProgressDisplay


@pytest.fixture
def clock(monkeypatch):
    """Stands for the time that passes."""
    clock = SimpleNamespace(now_s=100.0, monotonic=lambda: clock.now_s)
    monkeypatch.setattr(progress, "time", clock)
    return clock


class Windows:
    """Epochs of so many steps, of 300 characters each."""

    characters_per_step = 300

    def __init__(self, steps_per_epoch):
        self.steps_per_epoch = steps_per_epoch


def make_display(
    total_steps=12, per_epoch=5, sample=lambda: "a sample", terminal=False, width=100,
    first_step=0, of_lines=False,
):  # fmt: skip
    """Return a display whose training has begun, and what it writes to."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=width)
    display = ProgressDisplay(
        total_steps, Windows(per_epoch), sample, first_step, console, of_lines=of_lines
    )
    display.on_train_begin()
    return display, written


@pytest.mark.parametrize(
    ("epoch", "first_step", "seconds", "at", "left"),
    [
        # 5 steps of 300 characters in 10 s; 7 steps of 2 s are left.
        (0, 0, 10, "step 5/12  epoch 1/3", "0:14"),
        # Steps of an earlier process took no time of this one: 2 steps in 4 s.
        (0, 3, 4, "step 5/12  epoch 1/3", "0:14"),
        # The last epoch may be cut short.
        (2, 0, 24, "step 12/12  epoch 3/3", "0:00"),
    ],
)
def test_a_plain_line_says_all_and_a_sample_follows(
    clock, epoch, first_step, seconds, at, left
):
    display, written = make_display(first_step=first_step)
    clock.now_s += seconds
    display.on_train_batch_end(4, {"loss": 2.5})
    assert written.getvalue() == ""
    display.on_epoch_end(epoch, {"loss": 2.345678, "val_loss": 2.1})
    display.on_train_end()
    assert written.getvalue() == (
        f"{at}  loss 2.346  quick held-out 2.100  150 chars/s  {left} left\na sample\n"
    )


def test_speed_is_that_of_an_average_batch():
    lengths = [3, 3, 3, 99]
    ids = np.concatenate([[0], *[[1] * length + [0] for length in lengths]])
    windows = make_windows(ids, "lines", WindowConfig(200), 1, 0, end_id=0)
    display = ProgressDisplay(4, windows, sample=None)
    assert display._chars_per_step == (3 * 4 + 100) / 4


def test_short_epochs_share_a_sample_and_the_last_has_its_own(clock):
    samples = iter("abcdef")
    display, written = make_display(6, 1, lambda: next(samples))
    for epoch, seconds in enumerate((5, 5, 4, 2, 1, 1)):
        clock.now_s += seconds
        display.on_epoch_end(epoch, {"loss": 1.0})
    lines = written.getvalue().splitlines()
    # At 5 s, not at 10 and 14, at 16 (more than ten seconds later), and at the end.
    assert lines[1::2] == ["a", "b", "c"]
    steps = [re.match(r"step (\d)/6 ", line)[1] for line in lines[0::2]]
    assert steps == ["1", "4", "6"]


@pytest.mark.parametrize("width", [30, 60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal_and_words_stay_whole(clock, width):
    sample = "Shall I compare thee to a summer's day? Thou art more lovely. " * 4
    display, written = make_display(9_000_000, 491, lambda: sample, True, width)
    clock.now_s += 100
    display.on_epoch_end(9, {"loss": 1.5, "val_loss": 1.525})
    display.on_epoch_begin(10)
    display.on_train_batch_end(90, {"loss": 1.5})
    display._bar.refresh()
    display.on_train_end()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", shown)]
    assert max(map(len, lines)) <= width
    for step in ("4,910", "5,001"):
        assert any(f"step {step}/9,000,000" in line for line in lines)
    assert " ".join(sample.split()) in " ".join(shown.split())


def test_within_a_long_epoch_there_is_a_line_now_and_then(clock):
    display, written = make_display(total_steps=1000, per_epoch=1000)
    for step in range(10):
        clock.now_s += 10
        display.on_train_batch_end(step, {"loss": 3.0})
    steps = re.findall(r"^step (\d+)/", written.getvalue(), re.MULTILINE)
    assert steps == ["4", "8"]


LONG = "  [bold]indented[/bold]\n:heart: 12 'x' " + "long " * 60
HOSTILE, ESCAPED = "red\x1b[31m\x07\x9b2J \u202etxt", r"red\x1b[31m\x07\x9b2J \u202etxt"


@pytest.mark.parametrize(
    ("sample", "shown", "terminal"),
    [(LONG, LONG, False), (HOSTILE, ESCAPED, False), (HOSTILE, ESCAPED, True)],
)
def test_a_sample_is_shown_as_it_is_but_can_not_steer_the_terminal(
    clock, sample, shown, terminal
):
    display, written = make_display(sample=lambda: sample, terminal=terminal)
    clock.now_s += 10
    display.on_epoch_end(0, {"loss": 1.0})
    display.on_train_end()
    assert shown in written.getvalue()
    assert "\x07" not in written.getvalue()
    assert "\x1b[31m" not in written.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_rows_have_a_line_each_that_fits_a_terminal(clock, terminal):
    rows = "[a] row of words\n" + "long " * 60 + "\nlast"
    display, written = make_display(
        sample=lambda: rows, width=80, of_lines=True, terminal=terminal
    )
    clock.now_s += 10
    display.on_epoch_end(0, {"loss": 1.0})
    display.on_train_end()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    cut = ("long " * 60)[:79] + "…"
    expected = rows.split("\n") if not terminal else ["[a] row of words", cut, "last"]
    lines = shown.splitlines()
    at = lines.index(expected[0])
    assert lines[at : at + 3] == expected


def test_a_bar_on_a_terminal_comes_and_goes():
    display, written = make_display(terminal=True)
    for step in range(5):
        time.sleep(0.03)
        display.on_train_batch_end(step, {"loss": 2.5})
    display._bar.refresh()
    shown = written.getvalue()
    assert "step 5/12  epoch 1/3  loss 2.500" in shown
    assert re.search(r"\d chars/s", shown)
    assert "━" in shown
    display.on_epoch_end(0, {"loss": 2.4, "val_loss": 2.2})
    assert "quick held-out 2.200" in written.getvalue()
    assert "a sample" in written.getvalue()
    assert "\x1b[?25l" in written.getvalue()  # the cursor is hidden
    display.on_train_end()
    assert written.getvalue().rindex("\x1b[?25h") > written.getvalue().rindex("?25l")


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (40, "step 5,001/13,586 loss 1.500"),
        (80, "step 5,001/13,586 epoch 11/28 loss 1.500 quick held-out 1.525 0:17 left"),
    ],
)
def test_a_narrow_terminal_shows_the_figures_that_matter(clock, width, line):
    display, written = make_display(13_586, 491, terminal=True, width=width)
    display.on_epoch_end(9, {"loss": 1.5, "val_loss": 1.525})
    written.truncate(0)
    clock.now_s += 10
    display.on_epoch_begin(10)
    display.on_train_batch_end(90, {"loss": 1.5})
    display._bar.refresh()
    display.on_train_end()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    assert line in re.sub(r"\s+", " ", shown)
    assert "chars/s" not in shown
