import math

import pytest

from textgen.evaluation.curve import BLOCKS, Point, blocks, curve_lines, read_history


def test_a_history_is_read_as_it_was_written():
    written = [
        {"step": 10, "loss": 3.5, "val_loss": 3.25},
        {"step": 20, "loss": 2},
        {"step": 30, "loss": 1.5, "val_loss": None, "rate": 1e-3},
    ]
    points = [Point(10, 3.5, 3.25), Point(20, 2, None), Point(30, 1.5, None)]
    assert read_history({"history": written}) == points


@pytest.mark.parametrize(
    "history",
    [
        None, [], {}, "abc", 7, [None], [[1, 2]], [{}], [{"step": 1}],
        [{"step": 1, "loss": "3"}], [{"step": True, "loss": 1.0}],
        [{"step": 1, "loss": math.nan}], [{"step": 1, "loss": math.inf}],
        [{"step": 1e300, "loss": 1.0}], [{"step": 10**400, "loss": 1.0}],
    ],
)  # fmt: skip
def test_what_is_no_history_has_no_points(history):
    assert read_history({"history": history}) == []
    assert read_history({}) == []
    assert curve_lines([], 60) == []


def test_an_odd_val_loss_leaves_the_loss():
    entry = {"step": 4, "loss": 2.5, "val_loss": [math.nan]}
    assert read_history({"history": [entry, 3]}) == [Point(4, 2.5, None)]


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([1.0], 60, "▁"),
        ([2.0, 2.0, 2.0], 60, "▁▁▁"),
        ([7, 6, 5, 4, 3, 2, 1, 0], 60, BLOCKS[::-1]),
        ([0, 7], 60, "▁█"),
        ([4, 2, 1, 1, 0, 0], 3, "█▃▁"),
        ([6, 3, 4, 4], 3, "█▁▃"),
        ([5, 4], 1, "▁"),
    ],
)
def test_heights_are_means_on_a_scale_from_the_lowest_to_the_highest(
    values, width, expected
):
    assert blocks(values, width) == expected


def test_each_loss_has_a_line_with_its_figures():
    points = [Point(5, 4.0, None), Point(10, 2.0, 3.0), Point(15, 1.0, 2.5),
              Point(1020, 0.5, 2.75)]  # fmt: skip
    assert curve_lines(points, 30) == [
        "loss      █▄▂▁  4.000 → 0.500",
        "val_loss  █▁▅  3.000 → 2.750 (2.500 at step 15)",
    ]
    assert len(curve_lines(points[:1], 30)) == 1
    long = [Point(step, 1 / step, 1 / step) for step in range(1, 5001)]
    for line in curve_lines(long, 40):
        assert sum(character in BLOCKS for character in line) == 40
