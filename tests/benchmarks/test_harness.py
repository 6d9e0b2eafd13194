"""The benchmarks' arithmetic and options, and contests of made-up programs."""

import pytest

from benchmarks.harness import contest, report
from benchmarks.harness.contest import Result, Spread, ratio, spread
from benchmarks.harness.worker import Contestant, Turn

# Programs whose clock is made up, so that the outcome of a contest is known.
CLOCKWORK = """
import os
from benchmarks.harness.worker import Turn, serve

def clockwork(step_s, multiple=1):
    print("a library's chatter on standard output")
    def take_turn(count):
        with open("turns", "a") as file:
            file.write(f"{step_s} ")
        done = -(-count // multiple) * multiple
        return Turn(done, done * step_s)
    return {"omp": os.environ.get("OMP_NUM_THREADS")}, take_turn

serve({"clockwork": clockwork})
"""


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """Return a function that holds a contest of made-up programs."""
    (tmp_path / "clockwork.py").write_text(CLOCKWORK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(contest, "PAUSE_S", 0)

    def hold(*contestants, rounds=1, seconds=1):
        return contest.hold("clockwork", contestants, rounds=rounds, seconds=seconds)

    return hold


def clockwork(step_s=1.0, **options) -> Contestant:
    return Contestant(f"{step_s} s", "clockwork", {"step_s": step_s}, **options)


def test_ratios_are_taken_round_by_round():
    """The machine halves its speed in the second round: the ratio doesn't notice."""
    ours, theirs = (
        Result("x", {}, {}, tuple(Turn(10, 10 / rate) for rate in rates))
        for rates in ([100, 50, 110], [50, 25, 50])
    )
    assert ratio(ours, theirs) == pytest.approx((2, 2, 2.2))
    assert ratio(theirs, ours) == pytest.approx((0.5, 1 / 2.2, 0.5))
    assert spread([5, 1, 9, 4]) == Spread(4.5, 1, 9)
    assert spread([5, 1, 9]).times(2) == Spread(10, 2, 18)


def test_tables_and_figures():
    assert report.table(("who", "ms"), [["textgen", "5"], ["x", "1,000"]]) == (
        "| who     |    ms |\n"
        "| ------- | ----: |\n"
        "| textgen |     5 |\n"
        "| x       | 1,000 |"
    )
    shown = {0: "0", 0.30812: "0.308", 21.64: "21.6", 99.96: "100", 25_344.2: "25,344"}
    assert {value: report.figure(value) for value in shown} == shown
    assert report.with_range(Spread(2, 1, 3)) == "2.00 (1.00–3.00)"


def test_contestants_alternate_and_do_work_of_about_the_same_time(hold, tmp_path):
    slow, fast = hold(clockwork(0.5), clockwork(0.05), rounds=3, seconds=2)
    assert (slow.name, fast.name) == ("0.5 s", "0.05 s")
    assert slow.turns == (Turn(4, 2.0),) * 3
    assert fast.rates == pytest.approx([20] * 3)
    assert ratio(fast, slow) == pytest.approx((10, 10, 10))
    turns = (tmp_path / "turns").read_text().split()
    assert turns[-6:] == ["0.5", "0.05", "0.05", "0.5", "0.5", "0.05"]


def test_the_fastest_variant_takes_part_and_work_comes_in_multiples(hold, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    variants = ({"step_s": 0.5}, {"step_s": 0.001, "multiple": 64}, {"step_s": 0.3})
    (one,) = hold(clockwork(variants=variants))
    assert one.settings == {"step_s": 0.001, "multiple": 64}
    assert one.turns[0].done % 64 == 0
    assert 1000 <= one.turns[0].done < 1064
    assert one.rates == pytest.approx([1000])
    assert one.facts == {"omp": None}  # the user's setting is not passed on
