"""The benchmarks' own arithmetic, and small contests of every contestant."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import contest  # noqa: E402
import generation_speed  # noqa: E402
import large_corpus  # noqa: E402
import novelty  # noqa: E402
import quality  # noqa: E402
import report  # noqa: E402
import training_speed  # noqa: E402
from contest import Result, Spread, ratio, spread  # noqa: E402
from training_roles import SIZES, Size, flop_per_step  # noqa: E402
from worker import Contestant, ContestError, Turn, Worker  # noqa: E402

from textgen.errors import TextgenError  # noqa: E402

# A worker whose clock is made up: a contest of such ones has a known outcome.
CLOCKWORK = f"""
import os, sys
sys.path.insert(0, {str(BENCHMARKS)!r})
import contest
from worker import Turn

def clockwork(step_s, log=None, name="", multiple=1):
    print("a library's chatter on standard output")
    facts = {{"omp": os.environ.get("OMP_NUM_THREADS")}}
    def take_turn(count):
        if log:
            with open(log, "a") as file:
                file.write(name)
        done = -(-count // multiple) * multiple
        return Turn(done, done * step_s)
    return facts, take_turn

def failing(at):
    def take_turn(count):
        raise RuntimeError("no more")
    if at == "start":
        raise RuntimeError("can't start")
    return {{}}, take_turn

contest.main(lambda: None, {{"clockwork": clockwork, "failing": failing}})
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("contest") / "clockwork.py"
    path.write_text(CLOCKWORK)
    return path


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(contest, "PAUSE_S", 0)


def result(rates, name="someone", settings=None, **facts) -> Result:
    turns = tuple(Turn(10, 10 / rate) for rate in rates)
    return Result(name, settings or {}, facts, turns)


# Arithmetic


def test_spread_is_median_lowest_and_highest():
    assert spread([5, 1, 9]) == Spread(5, 1, 9)
    assert spread([4.0, 2.0]) == Spread(3.0, 2.0, 4.0)
    assert spread([5, 1, 9]).times(2) == Spread(10, 2, 18)


def test_ratios_are_taken_round_by_round():
    """The machine halves its speed in the second round: the ratio doesn't notice."""
    ours, theirs = result([100, 50, 110]), result([50, 25, 50])
    assert ratio(ours, theirs) == pytest.approx((2, 2, 2.2))
    assert ratio(theirs, ours) == pytest.approx((0.5, 1 / 2.2, 0.5))


def test_flop_of_a_step_by_hand():
    # 2×128 behind an embedding of 64, 65 symbols; per symbol, forward:
    first = 2 * (64 + 128) * 4 * 128  # 196,608
    second = 2 * (128 + 128) * 4 * 128  # 262,144
    dense = 2 * 128 * 65  # 16,640
    assert flop_per_step(SIZES["a"]) == 3 * 5120 * (first + second + dense)
    assert flop_per_step(SIZES["a"]) == 7_302_021_120
    assert flop_per_step(SIZES["d"]) == 3 * (5120 * (first + second) + 128 * dense)
    assert flop_per_step(Size(1, 128, 64, 32)) == 3 * 2048 * (first + dense)


def test_figures_of_a_size():
    size = Size(layers=1, units=128, window=64, batch=32)
    settings = {"size": asdict(size)}
    flop = flop_per_step(size)
    ours = result([200, 100], "textgen", settings, threads="2", precision="bfloat16")
    torch = result([50, 50], "torch", settings, threads="1", precision="float32")
    peaks = [result([rate, rate], flop=flop) for rate in (100, 400)]
    first, second = training_speed.evaluate([ours, torch, *peaks])
    assert first.step_ms == pytest.approx((7.5, 5, 10))
    assert first.predictions == pytest.approx((150 * 2048, 100 * 2048, 200 * 2048))
    assert first.share_of_peak == pytest.approx(150 / 400)
    assert second.share_of_peak == pytest.approx(0.5)
    assert second.gflop == pytest.approx(50 * flop / 1e9)
    assert first.behind == (1, 1, 1)
    assert second.behind == pytest.approx((3, 2, 4))
    assert len(first.cells()) == len(training_speed.HEADINGS)


def test_the_course_form_is_compared_by_predicted_characters():
    last = SIZES["d"]
    everywhere = replace(last, targets="all", stride=None)
    facts = {"threads": "1", "precision": "float32"}
    ours = result([10], "textgen", {"size": asdict(everywhere)}, **facts)
    course = result([20], "Keras", {"size": asdict(last)}, **facts)
    peaks = [result([1], flop=1), result([1], flop=1)]
    _, row = training_speed.evaluate([ours, course, *peaks])
    assert row.behind.median == pytest.approx(10 * 40 / 20)
    assert row.windows == pytest.approx(20 * 128)
    assert row.predictions.median == pytest.approx(20 * 128)


# Reports


def test_table_is_markdown_with_figures_to_the_right():
    assert report.table(("who", "ms"), [["textgen", "5"], ["x", "1,000"]]) == (
        "| who     |    ms |\n"
        "| ------- | ----: |\n"
        "| textgen |     5 |\n"
        "| x       | 1,000 |"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.30812, "0.308"),
        (1, "1.00"),
        (21.64, "21.6"),
        (99.96, "100"),
        (100.4, "100"),
        (25_344.2, "25,344"),
    ],
)
def test_figures_have_three_digits(value, shown):
    assert report.figure(value) == shown


def test_cpu_model_names_family_and_model():
    text = (
        "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\n"
        "model\t\t: 17\nmodel name\t: AMD EPYC\n\n"
        "processor\t: 1\ncpu family\t: 99\nmodel\t\t: 1\nmodel name\t: Other\n"
    )
    assert report.parse_cpu_model(text) == "AMD EPYC (cpu family 25, model 17)"
    assert report.parse_cpu_model("Processor : ARM\n") is None


def test_environment_names_versions_and_machine(tmp_path):
    environment = report.environment()
    assert environment["cores"] >= 1
    assert environment["versions"]["numpy"] == np.__version__
    assert environment["cpu"] in report.describe(environment)
    report.write_json(tmp_path / "out.json", {"environment": environment})
    assert json.loads((tmp_path / "out.json").read_text())["environment"] == environment


def test_options():
    parse = report.choices(("a", "b", "c"))
    assert parse("c,a") == ["c", "a"]
    for wrong in ("d", "a,,b", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="some of a,b,c"):
            parse(wrong)
    parser = report.make_parser("what it does")
    report.add_contest_options(parser)
    assert parser.parse_args(["--rounds", "3"]).rounds == 3
    for wrong in (["--rounds", "0"], ["--seconds", "-1"], ["--seconds", "inf"]):
        with pytest.raises(SystemExit):
            parser.parse_args(wrong)


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        (training_speed, "--rounds many", "--rounds: must be a whole number above 0"),
        (generation_speed, "--json missing/x.json", "must be a file, in a folder"),
        (large_corpus, "--megabytes -1", "above 0, but was '-1'"),
        (quality, "--text missing.txt", "must be a file, but 'missing.txt' is none"),
        (quality, "--minutes abc", "must be a number above 0, but was 'abc'"),
        (quality, "--course-epochs 0", "above 0"),
        (quality, "--seed -1", "above -1"),
        (novelty, "missing.h5", "must be a file"),
        (novelty, "--text missing.txt", "must be a file"),
    ],
)
def test_bad_options_are_one_line_before_any_work(
    script, words, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        script.parse_arguments(words.split())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_record_that_may_not_be_replaced_is_refused(tmp_path, monkeypatch):
    kept = tmp_path / "kept.json"
    kept.touch()
    # The superuser may write anywhere, so that permissions alone would show nothing.
    monkeypatch.setattr(report.os, "access", lambda path, mode: Path(path) != kept)
    with pytest.raises(argparse.ArgumentTypeError, match="that can be written"):
        report.new_file(str(kept))
    assert report.new_file(str(tmp_path / "new.json")) == tmp_path / "new.json"


@pytest.mark.parametrize("kind", [ContestError, TextgenError])
def test_what_fails_later_is_one_line_too(kind, monkeypatch, capsys):
    def fail():
        raise kind("expected more")

    monkeypatch.setattr(sys, "argv", ["benchmark"])
    with pytest.raises(SystemExit) as ended:
        contest.main(fail, {})
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: expected more\n"


# Contests


def test_a_contest_of_two(script):
    pair = [
        Contestant("slow", "clockwork", {"step_s": 0.5}),
        Contestant("fast", "clockwork", {"step_s": 0.05}),
    ]
    slow, fast = contest.hold(script, pair, rounds=3, seconds=2)
    assert (slow.name, fast.name) == ("slow", "fast")
    assert slow.turns == (Turn(4, 2.0),) * 3
    assert fast.rates == pytest.approx([20] * 3)
    assert ratio(fast, slow) == pytest.approx((10, 10, 10))
    assert slow.to_dict()["per_second"]["median"] == pytest.approx(2)
    json.dumps(slow.to_dict())


def test_rounds_alternate(script, tmp_path):
    log = tmp_path / "log"
    contestants = [
        Contestant(x, "clockwork", {"step_s": 1, "log": str(log), "name": x})
        for x in "abc"
    ]
    contest.hold(script, contestants, rounds=3, seconds=1)
    assert log.read_text()[-9:] == "abccbaabc"


def test_only_the_fastest_variant_takes_part(script):
    variants = ({"step_s": 0.5}, {"step_s": 0.1}, {"step_s": 0.3})
    contestant = Contestant("various", "clockwork", {"name": "x"}, variants)
    (one,) = contest.hold(script, [contestant], rounds=1, seconds=1)
    assert one.settings == {"name": "x", "step_s": 0.1}
    assert one.turns == (Turn(10, 1.0),)


def test_work_that_comes_in_multiples_counts_as_what_was_done(script):
    contestant = Contestant("many", "clockwork", {"step_s": 0.001, "multiple": 64})
    (many,) = contest.hold(script, [contestant], rounds=2, seconds=1)
    assert many.turns[0].done % 64 == 0
    assert 1000 <= many.turns[0].done < 1064
    assert many.rates == pytest.approx([1000, 1000])


def test_thread_settings_of_the_user_are_not_handed_on(script, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    contestant = Contestant("clean", "clockwork", {"step_s": 1})
    (clean,) = contest.hold(script, [contestant], rounds=1, seconds=1)
    assert clean.facts == {"omp": None}


def test_a_missing_library_leaves_its_contestant_out(script, capsys):
    contestants = [
        Contestant("here", "clockwork", {"step_s": 1}),
        Contestant("absent", "clockwork", {"step_s": 1}, needs=("no_such_module",)),
    ]
    results = contest.hold(script, contestants, rounds=1, seconds=1)
    assert [x.name for x in results] == ["here"]
    message = capsys.readouterr().err
    assert "absent is left out: no_such_module is not installed" in message
    assert "pip install -e '.[bench]'" in message


@pytest.mark.parametrize(("at", "why"), [("start", "can't start"), ("turn", "no more")])
def test_a_failing_contestant_is_named_with_the_reason(script, at, why):
    with pytest.raises(ContestError, match=rf"(?s)^broken ended.*{why}"):
        contest.hold(
            script, [Contestant("broken", "failing", {"at": at})], rounds=1, seconds=1
        )


def test_an_optional_contestant_that_cannot_start_is_left_out(script, capsys):
    contestants = [
        Contestant("unable", "failing", {"at": "start"}, optional=True),
        Contestant("here", "clockwork", {"step_s": 1}),
    ]
    results = contest.hold(script, contestants, rounds=1, seconds=1)
    assert [x.name for x in results] == ["here"]
    message = capsys.readouterr().err
    assert "unable is left out: unable ended with status" in message
    assert "can't start" in message


def test_a_worker_that_dies_between_turns(script):
    worker = Worker(script, Contestant("short-lived", "clockwork", {"step_s": 1}), {})
    worker._process.kill()
    worker._process.wait()
    with pytest.raises(ContestError, match="short-lived ended with status"):
        worker.take_turn(1)
    worker.close()


# The contestants themselves, at sizes that take no time


def turn_of(script: str, contestant: Contestant, count: int) -> tuple[dict, Turn]:
    """Start a worker with one thread, let it take a turn, end it."""
    variant = contestant.variants[0]
    worker = Worker(BENCHMARKS / script, contestant, variant)
    try:
        return worker.facts, worker.take_turn(count)
    finally:
        worker.close()


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["all", "last"])
def test_training_contestants(targets):
    size = Size(layers=2, units=8, window=5, batch=8, targets=targets)
    entered = training_speed.contestants_of(size)[:-2]
    parameters = {}
    for contestant in filter(contest.is_installed, entered):
        try:
            facts, turn = turn_of("training_speed.py", contestant, 3)
        except ContestError:
            if contestant.optional:  # this processor has no bfloat16 products
                continue
            raise
        assert turn.done == 3
        assert turn.seconds > 0
        assert facts["precision"] in ("float32", "bfloat16")
        parameters[contestant.name] = facts["parameters"]
    names = [contestant.name for contestant in entered]
    assert names[-3:] == ["Keras fit", "PyTorch float32", "PyTorch bfloat16"]
    # PyTorch has a second bias of four gates in each layer.
    second_biases = 2 * 4 * size.units
    for name, count in parameters.items():
        extra = second_biases if name.startswith("PyTorch") else 0
        assert count - extra == parameters["Keras fit"], name


@pytest.mark.slow
def test_generation_contestants(prose_model):
    shape = {"layers": 2, "units": 8, "threads": 1}
    model = {"model": str(prose_model)}
    for contestant, count, done in [
        (Contestant("one", "textgen", model | {"streams": 1}), 10, 10),
        (Contestant("many", "textgen", model | {"streams": 4}), 10, 12),
        (Contestant("torch", "torch", shape, needs=("torch",)), 10, 10),
        (Contestant("course", "course", shape), 2, 2),
    ]:
        if contest.is_installed(contestant):
            facts, turn = turn_of("generation_speed.py", contestant, count)
            assert turn.done == done
            assert turn.seconds > 0
            assert facts["threads"] == "1"


def test_processes_are_timed_and_checked(prose_model):
    options = ["--model", str(prose_model), "--prompt", "ab", "--length", "1"]
    assert 0 < generation_speed.time_generate(options, 3) < 60
    with pytest.raises(ContestError, match="no-such-file"):
        generation_speed.time_generate(["--model", "no-such-file"], 1)


# A large text


def test_text_is_of_the_size_and_repeats_by_seed(tmp_path):
    first, second, third = (tmp_path / name for name in "abc")
    large_corpus.write_text(first, 500_000)
    large_corpus.write_text(second, 500_000)
    large_corpus.write_text(third, 500_000, seed=1)
    text = first.read_text()
    assert 500_000 <= len(text) < 1_500_000
    assert text == second.read_text() != third.read_text()
    lines = [line for line in text.split("\n") if line]
    assert len(set(lines)) == len(lines) == large_corpus.LINES_PER_PIECE
    assert len(set(text)) == 55


@pytest.mark.parametrize(
    ("line", "tells"),
    [
        ("20 steps, about 1 s", True),
        ("1 step, about 0 s", True),
        ("1,600 steps, about 90 s; to repeat it exactly, --steps 1600", True),
        ("step 20/20  epoch 1/1  loss 3.652  1,255 chars/s  0:00 left", True),
        ("starting TensorFlow …", False),
        ("large: 2 characters, stream; batches of 16, 2,055 steps an epoch", False),
        ("20 steps in 30 s; saved:", False),
    ],
)
def test_first_line_that_tells_of_steps(line, tells):
    assert large_corpus.tells_of_steps(line) is tells


def test_lines_are_passed_on_and_timed(capsys):
    lines = ["starting\n", "20 steps, about 1 s\n", "step 20/20  loss\n"]
    assert large_corpus.seconds_to_first_step(lines, 0.0) > 0
    assert capsys.readouterr().err == "".join(f"  {line}" for line in lines)
    assert large_corpus.seconds_to_first_step(["starting\n"], 0.0) is None


def test_gnu_time_is_read():
    text = "\tPage size (bytes): 4096\n\tMaximum resident set size (kbytes): 755777\n"
    assert large_corpus.gnu_time_mib(text) == pytest.approx(738.06, abs=0.01)
    assert large_corpus.gnu_time_mib("something else") is None


@pytest.mark.slow
def test_large_corpus_in_small(tmp_path):
    out = tmp_path / "out.json"
    command = [sys.executable, str(BENCHMARKS / "large_corpus.py")]
    command += ["--megabytes", "1", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "most resident, MiB" in done.stdout
    record = json.loads(out.read_text())
    assert record["text_bytes"] >= 1_000_000
    assert 100 < record["resident_mib"] < 4000
    assert 0 < record["first_step_s"] < record["total_s"]
