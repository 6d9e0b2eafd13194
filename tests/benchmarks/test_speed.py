"""The benchmarks of speed: their figures, and every program at sizes of no time."""

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.harness import contest
from benchmarks.harness.contest import Result
from benchmarks.harness.worker import BenchmarkError, Contestant, Turn, Worker
from benchmarks.speed import (
    compare_checkouts,
    generation_speed,
    large_corpus,
    training_speed,
)
from benchmarks.speed.training_programs import SIZES, Size


def result(name, rates, **facts) -> Result:
    return Result(name, {}, facts, tuple(Turn(10, 10 / rate) for rate in rates))


def test_flop_of_a_step_by_hand():
    # 2×128 behind an embedding of 64, 65 symbols; per symbol, forward:
    first = 2 * (64 + 128) * 4 * 128  # 196,608
    second = 2 * (128 + 128) * 4 * 128  # 262,144
    dense = 2 * 128 * 65  # 16,640
    assert SIZES["a"].flop == 3 * 5120 * (first + second + dense) == 7_302_021_120
    assert SIZES["c"].flop == 3 * 2048 * (first + dense)
    gru = replace(SIZES["c"], cell="gru")
    assert gru.flop == 3 * 2048 * (first * 3 // 4 + dense)


def test_figures_of_a_size():
    size = SIZES["c"]
    ours = result("textgen", [200, 100], threads="2")
    torch = result("torch", [50, 50], threads="1")
    peak = result("peak", [100, 400], flop=size.flop)
    row = training_speed.row_of(torch, ours, peak, size)
    # 50 · 2,048 characters a second; half and an eighth of the peak's products.
    assert row[:4] == ["torch", "1", "20.0 (20.0–20.0)", "102,400"]
    assert row[4:] == ["31%", "3.00 (2.00–4.00)"]
    row = training_speed.row_of(ours, ours, peak, size)
    assert row[4:] == ["112%", "1.00 (1.00–1.00)"]
    assert len(row) == len(training_speed.HEADINGS)


def turn_of(programs: str, contestant: Contestant, count: int) -> tuple[dict, Turn]:
    """Start a worker, let it take a turn, end it; return its facts and the turn."""
    worker = Worker(programs, contestant, contestant.variants[0])
    try:
        return worker.facts, worker.take_turn(count)
    finally:
        worker.close()


@pytest.mark.long
@pytest.mark.parametrize(
    ("cell", "second_biases"), [("lstm", 4), ("gru", 0), ("rnn", 1)]
)
def test_all_train_a_network_of_the_same_size(cell, second_biases):
    size = Size(layers=2, units=8, seq_length=5, batch_size=8, cell=cell)
    entered = training_speed.contestants_of(size)[:-2]
    peers = ["Keras fit", "PyTorch float32", "PyTorch bfloat16"]
    assert [x.name for x in entered][-3:] == peers
    parameters = {}
    for contestant in filter(contest.is_installed, entered):
        try:
            facts, turn = turn_of(training_speed.PROGRAMS, contestant, 3)
        except BenchmarkError:
            if contestant.optional:  # this processor has no bfloat16 products
                continue
            raise
        assert turn.done == 3
        assert turn.seconds > 0
        assert facts["precision"] in ("float32", "bfloat16")
        parameters[contestant.name] = facts["parameters"]
    of_torch = second_biases * size.units * size.layers
    for name, count in parameters.items():
        extra = of_torch if name.startswith("PyTorch") else 0
        assert count - extra == parameters["Keras fit"], name


@pytest.mark.slow
def test_all_generate_as_many_characters_as_they_say(prose_model):
    shape = {"layers": 2, "units": 8, "threads": 1}
    model = {"model": str(prose_model)}
    for contestant, count, done in [
        (Contestant("one", "textgen", model | {"batch_size": 1}), 10, 10),
        (Contestant("many", "textgen", model | {"batch_size": 4}), 10, 12),
        (Contestant("torch", "torch", shape, needs=("torch",)), 10, 10),
        (Contestant("course", "course", shape), 2, 2),
    ]:
        if contest.is_installed(contestant):
            facts, turn = turn_of(generation_speed.PROGRAMS, contestant, count)
            assert turn.done == done
            assert turn.seconds > 0
            assert facts["threads"] == "1"


def test_processes_are_timed_and_checked(prose_model):
    options = ["--model", str(prose_model), "--prompt", "ab", "--length", "1"]
    assert generation_speed.time_generate(options, 3) > 0
    with pytest.raises(BenchmarkError, match="characters only"):
        generation_speed.time_generate(options, 99)
    with pytest.raises(BenchmarkError, match="status 2"):
        generation_speed.time_generate(["--model", "no-such-file"], 1)


def test_the_first_step_is_that_of_the_first_line_that_counts_steps(monkeypatch):
    before = ["starting TensorFlow …\n", "2 characters; 2,055 steps an epoch\n"]
    assert large_corpus.seconds_to_first_step(before, 0.0) is None
    for line in (
        "20 steps, about 1 s\n",
        "1,600 steps, about 90 s; to repeat it exactly, --steps 1600\n",
        "step 20/20  epoch 1/1  loss 3.652  1,255 chars/s  0:00 left\n",
    ):
        clock = SimpleNamespace(monotonic=itertools.count(5).__next__)
        monkeypatch.setattr(large_corpus, "time", clock)
        assert large_corpus.seconds_to_first_step([*before, line, line], 2.0) == 3.0


def test_a_large_text_repeats_no_line_and_is_the_same_each_time(tmp_path):
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    for path, seed in zip(paths, (0, 0, 1), strict=True):
        large_corpus.write_text(path, 500_000, seed=seed)
    text, same, other = (path.read_text() for path in paths)
    assert 500_000 <= len(text) < 1_500_000
    assert text == same != other
    lines = [line for line in text.split("\n") if line]
    assert len(set(lines)) == len(lines) == large_corpus.LINES_PER_PIECE


CHECKOUT = """
import sys, textgen
print("loss 2.25  {speed} chars/s", file=sys.stderr)
print(textgen.NAME)
"""


def test_two_checkouts_are_compared_by_their_commands(tmp_path, monkeypatch, capsys):
    for name, speed in (("ours", "3,000"), ("theirs", "2,000")):
        package = tmp_path / name / "textgen"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"NAME = {name!r}")
        for script in ("train.py", "generate.py"):
            (tmp_path / name / script).write_text(CHECKOUT.format(speed=speed))
    monkeypatch.setattr(compare_checkouts, "ROOT", tmp_path / "ours")
    words = [str(tmp_path / "theirs"), "--part", "train,first", "--rounds", "2"]
    monkeypatch.setattr("sys.argv", ["x", *words])
    compare_checkouts.main()
    training, *_, first = capsys.readouterr().out.splitlines()[-4:]
    cells = [cell.strip() for cell in training.split("|")[2:-1]]
    assert cells[:2] == ["3,000 (3,000–3,000)", "2,000 (2,000–2,000)"]
    assert cells[2:] == ["1.50 (1.50–1.50)", "yes"]  # of the same loss
    assert first.endswith(" no |")


def test_the_seconds_of_the_first_character_do_not_count(monkeypatch):
    def run(checkout, script, *options):
        return (3.0 if 100 in options else 1.0), "text", ""

    monkeypatch.setattr(compare_checkouts, "run", run)
    complete = partial(compare_checkouts.complete, Path("other"), Path("model.h5"))
    assert complete().speed == 1.0
    assert complete(length=100).speed == 50.0
    assert complete(count=4, length=100).speed == 200.0
