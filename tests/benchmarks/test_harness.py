"""The benchmarks' arithmetic, tables and options, and contests of made-up programs."""

import argparse

import pytest

from benchmarks.harness import contest, report
from benchmarks.harness.contest import Result, Spread, ratio, spread
from benchmarks.harness.worker import BenchmarkError, Contestant, Turn, Worker
from benchmarks.quality import held_out_loss, novelty
from benchmarks.speed import generation_speed, large_corpus, training_speed
from textgen.errors import TextgenError

# Programs whose clock is made up, so that the outcome of a contest is known.
CLOCKWORK = """
import os
from benchmarks.harness.worker import Turn, serve

def clockwork(step_s, log=None, name="", multiple=1):
    print("a library's chatter on standard output")
    facts = {"omp": os.environ.get("OMP_NUM_THREADS")}
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
    return {}, take_turn

serve({"clockwork": clockwork, "failing": failing})
"""


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """Return a function that holds a contest of made-up programs."""
    (tmp_path / "clockwork.py").write_text(CLOCKWORK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(contest, "PAUSE_S", 0)

    def hold(*contestants, rounds=1, seconds=1):
        return contest.hold("clockwork", contestants, rounds=rounds, seconds=seconds)

    return hold


def clockwork(title="x", *, variants=({},), needs=(), **settings) -> Contestant:
    return Contestant(title, "clockwork", settings, variants, needs)


def result(rates) -> Result:
    return Result("x", {}, {}, tuple(Turn(10, 10 / rate) for rate in rates))


def test_spread_is_median_lowest_and_highest():
    assert spread([5, 1, 9]) == Spread(5, 1, 9)
    assert spread([4.0, 2.0]) == Spread(3.0, 2.0, 4.0)
    assert spread([5, 1, 9]).times(2) == Spread(10, 2, 18)


def test_ratios_are_taken_round_by_round():
    """The machine halves its speed in the second round: the ratio doesn't notice."""
    ours, theirs = result([100, 50, 110]), result([50, 25, 50])
    assert ratio(ours, theirs) == pytest.approx((2, 2, 2.2))
    assert ratio(theirs, ours) == pytest.approx((0.5, 1 / 2.2, 0.5))


def test_table_is_markdown_with_figures_to_the_right():
    assert report.table(("who", "ms"), [["textgen", "5"], ["x", "1,000"]]) == (
        "| who     |    ms |\n"
        "| ------- | ----: |\n"
        "| textgen |     5 |\n"
        "| x       | 1,000 |"
    )


def test_figures_have_three_digits():
    shown = {0: "0", 0.30812: "0.308", 1: "1.00", 21.64: "21.6", 99.96: "100"}
    assert {value: report.figure(value) for value in shown} == shown
    assert report.figure(25_344.2) == "25,344"
    assert report.with_range(Spread(2, 1, 3)) == "2.00 (1.00–3.00)"


def test_the_machine_is_named_with_family_and_model():
    text = (
        "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\n"
        "model\t\t: 17\nmodel name\t: AMD EPYC\n\n"
        "processor\t: 1\ncpu family\t: 99\nmodel\t\t: 1\nmodel name\t: Other\n"
    )
    assert report.parse_cpu_model(text) == "AMD EPYC (cpu family 25, model 17)"
    assert report.parse_cpu_model("Processor : ARM\n") is None
    assert "numpy" in report.describe_machine()


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        (training_speed, "--rounds 0", "whole number above 0"),
        (training_speed, "--size a,,b", "some of a,b,c"),
        (generation_speed, "--seconds inf", "number above 0"),
        (large_corpus, "--megabytes -1", "above 0, but was '-1'"),
        (held_out_loss, "--text missing.txt", "must be a file"),
        (held_out_loss, "--minutes 1,,2", "number above 0, but was ''"),
        (novelty, "missing.h5", "must be a file"),
    ],
)
def test_bad_options_are_one_line_before_any_work(script, words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        script.parse_arguments(words.split())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_options_are_read():
    options = training_speed.parse_arguments(["--size", "c,a", "--rounds", "3"])
    assert (options.size, options.rounds, options.seconds) == (["c", "a"], 3, 4.0)
    assert report.positives("0.4,40") == [0.4, 40.0]
    with pytest.raises(argparse.ArgumentTypeError, match="above 0"):
        report.positives("1,0")


@pytest.mark.parametrize("kind", [BenchmarkError, TextgenError])
def test_what_fails_is_one_line(kind, capsys):
    def fail():
        raise kind("expected more")

    with pytest.raises(SystemExit) as ended:
        contest.run(fail)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: expected more\n"


def test_a_contest_of_two(hold):
    pair = clockwork("slow", step_s=0.5), clockwork("fast", step_s=0.05)
    slow, fast = hold(*pair, rounds=3, seconds=2)
    assert (slow.name, fast.name) == ("slow", "fast")
    assert slow.turns == (Turn(4, 2.0),) * 3
    assert fast.rates == pytest.approx([20] * 3)
    assert ratio(fast, slow) == pytest.approx((10, 10, 10))


def test_rounds_alternate(hold, tmp_path):
    log = tmp_path / "log"
    hold(*(clockwork(x, step_s=1, log=str(log), name=x) for x in "abc"), rounds=3)
    assert log.read_text()[-9:] == "abccbaabc"


def test_only_the_fastest_variant_takes_part(hold):
    variants = ({"step_s": 0.5}, {"step_s": 0.1}, {"step_s": 0.3})
    (one,) = hold(clockwork(variants=variants))
    assert one.settings == {"step_s": 0.1}
    assert one.turns == (Turn(10, 1.0),)


def test_work_that_comes_in_multiples_counts_as_what_was_done(hold):
    (many,) = hold(clockwork(step_s=0.001, multiple=64), rounds=2)
    assert many.turns[0].done % 64 == 0
    assert 1000 <= many.turns[0].done < 1064
    assert many.rates == pytest.approx([1000, 1000])


def test_thread_settings_of_the_user_are_not_passed_on(hold, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (clean,) = hold(clockwork(step_s=1))
    assert clean.facts == {"omp": None}


def test_who_cannot_take_part_is_left_out(hold, capsys):
    absent = clockwork("absent", needs=("no_such_module",), step_s=1)
    unable = Contestant("unable", "failing", {"at": "start"}, optional=True)
    results = hold(absent, unable, clockwork("here", step_s=1))
    assert [x.name for x in results] == ["here"]
    message = capsys.readouterr().err
    assert "absent is left out: no_such_module is not installed" in message
    assert "unable is left out" in message
    assert "can't start" in message


@pytest.mark.parametrize(("at", "why"), [("start", "can't start"), ("turn", "no more")])
def test_a_failing_contestant_is_named_with_the_reason(hold, at, why):
    with pytest.raises(BenchmarkError, match=rf"(?s)^broken ended.*{why}"):
        hold(Contestant("broken", "failing", {"at": at}))


@pytest.mark.usefixtures("hold")
def test_a_worker_that_dies_between_turns():
    worker = Worker("clockwork", clockwork("short-lived", step_s=1), {})
    worker._process.kill()
    worker._process.wait()
    with pytest.raises(BenchmarkError, match="short-lived ended with status"):
        worker.take_turn(1)
    worker.close()
