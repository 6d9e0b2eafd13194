"""Windows: contents against naive loops, order, padding, leaks, memory."""

import itertools
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from textgen.config import WindowConfig
from textgen.data import windows as module
from textgen.data.batches import WindowBatch, Windows, padded_length
from textgen.data.windows import make_windows, places_of, with_bounds_between
from textgen.errors import CorpusError, OptionError

END = 0
RNG = np.random.default_rng(0)
LINES = [RNG.integers(1, 27, RNG.integers(1, 13)).tolist() for _ in range(53)]


def line_ids(lines: list[list[int]]) -> np.ndarray:
    return np.array([END, *(i for line in lines for i in [*line, END])], np.uint8)


def make(ids, kind, window=5, stride=None, targets="all", batch_size=8, seed=0):
    config = WindowConfig(window, stride, targets)
    return make_windows(ids, kind, config, batch_size, seed, end_id=END)


def epoch_rows(windows: Windows, epoch: int = 0):
    """Every row of an epoch that isn't a filler: (inputs, targets, weights)."""
    for step in range(windows.steps_per_epoch):
        batch = windows.batch(epoch, step)
        assert batch.inputs.shape == batch.targets.shape == batch.weights.shape
        assert [array.dtype for array in batch] == [np.int32, np.int32, np.float32]
        assert len(batch.inputs) == windows.batch_size
        for row in zip(batch.inputs, batch.targets, batch.weights, strict=True):
            if row[2].any():
                yield row


def assert_same(batch, other):
    for one, another in zip(batch, other, strict=True):
        np.testing.assert_array_equal(one, another, strict=True)


def examples(windows: Windows, epoch: int = 0) -> Counter:
    """What an epoch teaches: (symbols before, their targets that count)."""
    found = Counter()
    for inputs, targets, weights in epoch_rows(windows, epoch):
        real = int(np.flatnonzero(weights)[-1]) + 1
        assert (inputs[real:] == END).all()
        assert (targets[real:] == END).all()
        counted = targets[:real][weights[:real] == 1]
        found[tuple(inputs[:real].tolist()), tuple(counted.tolist())] += 1
    return found


# Texts


@pytest.mark.parametrize("targets", ["all", "last"])
@pytest.mark.parametrize("window", [1, 4, 10])
@pytest.mark.parametrize("stride", [None, 1, 3, 7, 1000])
@pytest.mark.parametrize("length", [11, 12, 50, 64])
def test_text_against_a_naive_loop(targets, window, stride, length):
    ids = np.arange(100, 100 + length, dtype=np.uint8)
    windows = make(ids, "text", window, stride, targets)
    step = stride or (window if targets == "all" else 1)
    last_start = length - window - 1
    for epoch in range(3):
        rows = list(epoch_rows(windows, epoch))
        starts = sorted(int(inputs[0]) - 100 for inputs, _, _ in rows)
        phase, count = starts[0], len(range(0, last_start + 1, step))
        assert starts == [min(phase + i * step, last_start) for i in range(count)]
        assert phase < (step if targets == "all" else 1)
        for inputs, following, weights in rows:
            start = int(inputs[0]) - 100
            assert inputs.tolist() == ids[start : start + window].tolist()
            assert following.tolist() == ids[start + 1 : start + window + 1].tolist()
            counted = [int(targets == "all")] * (window - 1) + [1]
            assert weights.tolist() == counted


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_counts_are_of_all_ids(block, monkeypatch):
    monkeypatch.setattr("textgen.data.ids.BLOCK_IDS", block)
    ids = RNG.integers(0, 9, 100).astype(np.uint8)
    expected = [list(ids).count(symbol) for symbol in range(12)]
    assert make(ids, "text").counts(12).tolist() == expected


def test_phases_differ_between_epochs_and_reach_every_symbol():
    ids = np.arange(47, dtype=np.uint8)
    windows = make(ids, "text", 10)
    rows = [list(epoch_rows(windows, epoch)) for epoch in range(60)]
    firsts = {min(int(inputs[0]) for inputs, _, _ in epoch) for epoch in rows}
    assert firsts == set(range(10))
    seen = {int(i) for epoch in rows for _, targets, _ in epoch for i in targets}
    assert seen == set(range(1, 47))


def test_a_single_window_moves_over_all_that_there_is():
    windows = make(np.arange(16, dtype=np.uint8), "text", 10, stride=10**12)
    assert windows.windows_per_epoch == windows.batch_size == 1
    assert {windows.batch(i, 0).inputs[0, 0] for i in range(100)} == set(range(6))


@pytest.mark.parametrize("length", [0, 1, 10])
@pytest.mark.parametrize("targets", ["all", "last"])
def test_a_text_shorter_than_a_window(length, targets):
    with pytest.raises(CorpusError, match=f"least 11 .* are {length}: .*seq_l"):
        make(np.zeros(length, np.uint8), "text", 10, targets=targets)


# Lines


@pytest.mark.parametrize("window", [1, 2, 5, 12, 13, 100])
def test_lines_against_a_naive_loop(window):
    """One of more than a window goes on, after half a window or more of lead."""
    windows = make(line_ids(LINES), "lines", window)
    expected = Counter()
    for line in LINES:
        inputs, targets = [END, *line], [*line, END]
        end = 0
        while end < len(targets):
            start, step = end, window if end == 0 else -(-window // 2)
            end = min(start + step, len(targets))
            before = tuple(inputs[max(0, end - window) : end])
            assert start == 0 or len(before) - (end - start) >= window // 2
            expected[before, tuple(targets[start:end])] += 1
    assert examples(windows) == examples(windows, 3) == expected
    assert windows.windows_per_epoch == expected.total()
    assert windows.longest == max(len(inputs) for inputs, _ in expected)


@pytest.mark.parametrize("window", [1, 2, 5, 12])
def test_every_symbol_of_a_long_line_is_a_target_once(window):
    windows = make(line_ids(LINES), "lines", window)
    counted = Counter(
        int(target)
        for _, targets, weights in epoch_rows(windows)
        for target in targets[weights == 1]
    )
    assert counted == Counter(line_ids(LINES)[1:].tolist())


@pytest.mark.parametrize("block", [1, 2, 1000])
@pytest.mark.parametrize("first", [1, 4, 9, 100])
@pytest.mark.parametrize("others", [1, 3])
def test_bounds_between_in_blocks_of_any_size(block, first, others, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_LINES", block)
    ends = np.array([0, 1, 6, 7, 20, 24, 35], np.uint32)
    expected = [0]
    for start, end in itertools.pairwise(ends.tolist()):
        expected += [*range(start + first, end, others), end]
    found = with_bounds_between(ends, first, others)
    assert (found.tolist(), found.dtype) == (expected, np.uint32)


@pytest.mark.parametrize("window", [1, 2, 5, 100])
@pytest.mark.parametrize("stride", [None, 1, 3])
def test_last_targets_of_lines_against_a_naive_loop(window, stride):
    windows = make(line_ids(LINES), "lines", window, stride, "last")
    every = [
        (tuple(whole[max(0, place - window) : place]), (whole[place],))
        for whole in ([END, *line, END] for line in LINES)
        for place in range(1, len(whole))
    ]
    expected = Counter(every[:: stride or 1])
    assert examples(windows) == expected
    assert windows.windows_per_epoch == expected.total()
    assert windows.longest == max(len(before) for before, _ in expected)


@pytest.mark.parametrize("ids", [[], [END]])
def test_no_line(ids):
    with pytest.raises(CorpusError, match="at least one line"):
        make(np.array(ids, np.uint8), "lines")


@pytest.mark.parametrize(
    ("ids", "kind", "end_id", "said"),
    [([1, END], "lines", END, "end symbol"), ([END, 1, END], "lines", None, "end_id"),
     ([END, 1, END], "words", END, "'words'")],
)  # fmt: skip
def test_lines_that_are_none_are_a_mistake_of_the_caller(ids, kind, end_id, said):
    with pytest.raises(ValueError, match=said):
        make_windows(np.array(ids), kind, WindowConfig(), 8, 0, end_id)


# Order and batches

FORMS = [(kind, targets) for kind in ("text", "lines") for targets in ("all", "last")]


@pytest.mark.parametrize(("kind", "targets"), FORMS)
def test_a_batch_is_a_function_of_seed_epoch_and_step(kind, targets):
    windows, again, *others = (
        make(line_ids(LINES), kind, targets=targets, seed=seed) for seed in (0, 0, 1, 2)
    )
    first = windows.batch(2, 3)
    windows.batch(0, 1)
    assert_same(first, windows.batch(2, 3))
    assert_same(first, again.batch(2, 3))
    batches = [windows.batch(2, 4), windows.batch(1, 3)]
    batches += [others[0].batch(2, 3), others[1].batch(0, 3)]
    assert all(not np.array_equal(first.inputs, other.inputs) for other in batches)


@pytest.mark.parametrize(("kind", "targets"), FORMS)
@pytest.mark.parametrize("batch_size", [1, 7, 10_000])
def test_the_last_batch_is_filled_up_with_weight_0(kind, targets, batch_size):
    windows = make(line_ids(LINES), kind, targets=targets, batch_size=batch_size)
    count = windows.windows_per_epoch
    assert windows.batch_size == min(batch_size, count)
    assert windows.steps_per_epoch == -(-count // windows.batch_size)
    last = windows.batch(0, windows.steps_per_epoch - 1)
    real = count - (windows.steps_per_epoch - 1) * windows.batch_size
    assert last.weights[:real].any(axis=1).all()
    assert not last.weights[real:].any()


def test_fillers_widen_no_batch():
    windows = make(line_ids([[1] * 9, [1], [2]]), "lines", window=20, batch_size=2)
    lasts = [windows.batch(epoch, 1).inputs for epoch in range(20)]
    assert all(last.shape[1] == 1 + np.count_nonzero(last[0]) for last in lasts)
    assert {last.shape for last in lasts} == {(2, 2), (2, 10)}


def test_the_characters_of_a_step_are_those_that_count():
    lines = make(line_ids([[1] * 3, [2] * 4, [1] * 2, [2] * 3, [1]]), "lines", 9)
    # 13 symbols and an end symbol each, in steps of 2, 2 and 1 lines.
    windows = make(line_ids([[1] * 3, [2] * 4, [1] * 2, [2] * 3, [1]]), "lines", 9,
                   batch_size=2)  # fmt: skip
    assert (lines.characters_per_step, windows.characters_per_step) == (18, 6)


@pytest.mark.parametrize(
    "place", [(0, 1, 3), (0, 0, 0), (0, -1, 2), (0, 3, 1), (-1, 0, 1)]
)
def test_steps_that_do_not_exist(place):
    windows = make(line_ids(LINES[:3]), "lines", window=20, batch_size=1)
    with pytest.raises(IndexError, match="steps 0 to 2"):
        next(windows.stacked_batches(*place))


@pytest.mark.parametrize(("kind", "targets"), FORMS)
@pytest.mark.parametrize("count", [1, 3, 100])
def test_stacks_hold_the_batches_in_order_padded_with_weight_zero(kind, targets, count):
    ids = line_ids(LINES)[:-1] if kind == "text" else line_ids(LINES)
    windows = make(ids, kind, window=12, targets=targets, batch_size=2)
    steps = windows.steps_per_epoch
    batches = [windows.batch(1, step) for step in range(steps)]
    stacks = []
    for first in range(0, steps, count):
        call = list(windows.stacked_batches(1, first, min(count, steps - first)))
        lengths = [stack.inputs.shape[2] for stack in call]
        assert all(one != two for one, two in itertools.pairwise(lengths))
        stacks += call
    lengths = {stack.inputs.shape[2] for stack in stacks}
    if kind == "text":
        assert lengths == {12}
    else:
        assert {12, 6} <= lengths <= {12, 6, 3, 2, 1}
    rows = [arrays for stack in stacks for arrays in zip(*stack, strict=True)]
    for padded, batch in zip(rows, batches, strict=True):
        length = batch.inputs.shape[1]
        assert batch.weights[:, -1].any()
        assert padded[0].shape[1] == padded_length(length, 12)
        assert_same([array[:, :length] for array in padded], batch)
        assert not any(array[:, length:].any() for array in padded)


def test_a_batch_is_padded_to_one_of_few_lengths():
    lengths = {padded_length(length, 27): length for length in range(1, 28)}
    assert lengths == {27: 27, 14: 14, 7: 7, 4: 4, 2: 2, 1: 1}
    assert {padded_length(length, 1) for length in (0, 1)} == {1}


@pytest.mark.parametrize(("kind", "targets"), FORMS)
def test_arrays_are_the_batches_together(kind, targets):
    windows = make(line_ids(LINES), kind, targets=targets)
    arrays = inputs, following, weights = windows.arrays(epoch=1)
    assert inputs.shape == (windows.windows_per_epoch, windows.longest)
    rows = list(epoch_rows(windows, epoch=1))
    if (kind, targets) == ("text", "last"):
        assert following.tolist() == [int(row[1][-1]) for row in rows]
        assert weights.tolist() == [1] * len(rows)
        return
    for wholes, parts in zip(zip(*arrays, strict=True), rows, strict=True):
        width = len(parts[0])
        assert_same([whole[:width] for whole in wholes], parts)
        assert not any(whole[width:].any() for whole in wholes)


@pytest.mark.parametrize("dtype", [np.uint16, np.int64])
@pytest.mark.parametrize(("kind", "targets"), FORMS)
def test_ids_of_any_integer_type_and_memory_maps(dtype, kind, targets, tmp_path):
    line_ids(LINES).astype(dtype).tofile(tmp_path / "ids")
    mapped = np.memmap(tmp_path / "ids", dtype=dtype, mode="r")
    batch = make(mapped, kind, targets=targets).batch(0, 0)
    assert type(batch.inputs) is np.ndarray
    assert_same(batch, make(line_ids(LINES), kind, targets=targets).batch(0, 0))


# Where lines end


@pytest.mark.parametrize("block", [1, 3, 1 << 20])
def test_places_are_found_in_blocks_of_any_size(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_IDS", block)
    ids = np.array([7, 0, 3, 0, 0, 7, 7, 0], np.uint8)
    assert places_of(7, ids).tolist() == [0, 5, 6]
    assert places_of(7, ids).dtype == np.uint32
    assert places_of(9, ids).tolist() == []


# Memory


@pytest.mark.parametrize(("kind", "targets"), FORMS)
def test_memory_is_a_batch_beyond_the_ids(kind, targets):
    """20 MB of ids; of lines, 1,000,000 take a four-byte place each and a copy."""
    most = {"text": 2e6, "lines": 14e6}[kind]
    ids = np.full(20_000_001, 1, np.uint8)
    ids[::20] = END
    tracemalloc.start()
    windows = make(ids, kind, 100, targets=targets, batch_size=128)
    for step in range(5):
        windows.batch(0, step)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most


@pytest.mark.parametrize("targets", ["all", "last"])
@pytest.mark.parametrize("kind", ["text", "lines"])
def test_shares_of_a_batch_are_the_whole_batch_by_what_counts_in_it(kind, targets):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 4, 90).astype(np.uint8)
    ids[[0, -1]] = 0
    config = WindowConfig(seq_length=5, stride=3, targets=targets)
    windows = make_windows(ids, kind, config, 6, seed=1, end_id=0)
    count = windows.steps_per_epoch  # with the last, which is filled up
    whole = list(windows.stacked_batches(0, 0, count))
    shares = [
        windows.stacked_batches(0, 0, count, rows)
        for rows in (slice(0, 2), slice(2, 6))
    ]
    for batches, *parts in zip(whole, *shares, strict=True):
        pairs = zip(*parts, strict=True)
        together = WindowBatch(*(np.concatenate(x, axis=1) for x in pairs))
        np.testing.assert_array_equal(together.inputs, batches.inputs)
        np.testing.assert_array_equal(together.targets, batches.targets)
        counted = batches.weights.sum(axis=(1, 2), keepdims=True)
        np.testing.assert_array_equal(together.weights, batches.weights / counted)


# Lines with labels

LABELS = (30, 31, 32)


def labelled_ids(lines, labels) -> np.ndarray:
    marked = zip(lines, labels, strict=True)
    ids = [END]
    for line, label in marked:
        ids += [*([] if label is None else [label]), *line, END]
    return np.array(ids, np.uint8)


def make_labelled(ids, window, dropout, targets="all"):
    config = WindowConfig(window, targets=targets, label_dropout=dropout)
    return make_windows(ids, "lines", config, 8, 0, end_id=END, label_ids=LABELS)


def naive_labelled(lines, labels, window, *, dropped: bool) -> Counter:
    """Each line's windows: what is read, beginning with the label, and the targets."""
    found = Counter()
    for line, label in zip(lines, labels, strict=True):
        shift = label is not None
        text = [END, *([label] if shift else []), *line, END]
        size = len(text) - 1  # inputs, counted from the end symbol on
        bounds = [0, min(size, window)]
        while bounds[-1] < size:
            bounds.append(min(size, bounds[-1] + -(-window // 2)))
        for first, end in itertools.pairwise(bounds):
            start = max(shift, end - window)
            inputs = text[start:end]
            if shift and not dropped:
                inputs = [label, *inputs[1:]]
            elif start == shift:
                inputs = [END, *inputs[1:]] if shift else inputs
            found[tuple(inputs), tuple(text[max(first, shift) + 1 : end + 1])] += 1
    return found


@pytest.mark.parametrize("window", [2, 3, 4, 5, 12, 40])
@pytest.mark.parametrize("dropout", [0.0, 0.999_999])
def test_lines_with_labels_against_a_naive_loop(window, dropout):
    rng = np.random.default_rng(window)
    labels = [(None, *LABELS)[number] for number in rng.integers(0, 4, len(LINES))]
    windows = make_labelled(labelled_ids(LINES, labels), window, dropout)
    expected = naive_labelled(LINES, labels, window, dropped=dropout > 0)
    for epoch in range(2):
        assert examples(windows, epoch) == expected


def test_no_label_is_a_target_and_every_symbol_is_one_once():
    labels = [LABELS[len(line) % 3] for line in LINES]
    windows = make_labelled(labelled_ids(LINES, labels), 4, 0.5)
    counted = Counter()
    for _, targets, weights in epoch_rows(windows):
        counted.update(targets[weights > 0].tolist())
    assert counted == Counter(i for line in LINES for i in [*line, END])


@pytest.mark.parametrize("labels", [[], LABELS])
def test_no_label_is_counted(labels):
    lines = [[1, 2], [2], [3, 1, 2]]
    marks = labels or [None] * 3
    config = WindowConfig(8)
    windows = make_windows(
        labelled_ids(lines, marks), "lines", config, 8, 0, END, label_ids=labels
    )
    expected = np.zeros(max(LABELS) + 1, int)
    expected[[END, 1, 2, 3]] = 4, 2, 3, 1
    assert windows.counts(len(expected)).tolist() == expected.tolist()


def test_other_rows_are_without_their_label_in_each_epoch():
    labels = [LABELS[0]] * len(LINES)
    windows = make_labelled(labelled_ids(LINES, labels), 40, 0.2)
    without = [
        {
            tuple(inputs.tolist())
            for inputs, _, _ in epoch_rows(windows, epoch)
            if inputs[0] != LABELS[0]
        }
        for epoch in range(3)
    ]
    assert [len(rows) for rows in without] == [11, 11, 11]  # a fifth of 53
    assert without[0] != without[1] != without[2]
    assert all(row[0] == END for rows in without for row in rows)


def test_shares_of_batches_with_labels_are_parts_of_the_whole():
    labels = [LABELS[len(line) % 3] for line in LINES]
    windows = make_labelled(labelled_ids(LINES, labels), 4, 0.3)
    (whole,) = windows.stacked_batches(0, 0, 1)
    (part,) = windows.stacked_batches(0, 0, 1, rows=slice(2, 5))
    np.testing.assert_array_equal(part.inputs[0], whole.inputs[0, 2:5])
    np.testing.assert_array_equal(part.weights[0] > 0, whole.weights[0, 2:5] > 0)
    assert part.weights[0].sum() < 1


@pytest.mark.parametrize(("window", "targets"), [(1, "all"), (5, "last")])
def test_windows_that_have_no_room_for_labels(window, targets):
    ids = labelled_ids([[1, 2]], [LABELS[0]])
    with pytest.raises(OptionError, match=f"all.* not {targets} and {window}"):
        make_labelled(ids, window, 0.1, targets)
