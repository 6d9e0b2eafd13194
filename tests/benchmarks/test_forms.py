"""The checker of forms, by lines whose sound is known, and a small run."""

import pytest

from benchmarks.quality import forms, pronouncer
from benchmarks.quality.forms import PAIRS, judge, plain, shakespeares

pytest.importorskip("espeakng_loader")


@pytest.mark.parametrize(
    ("line", "count", "does_scan"),
    [
        ("Shall I compare thee to a summer's day?", 10, True),
        ("Making a famine where abundance lies,", 10, True),
        ("Feed'st thy light's flame with self-substantial fuel,", 11, True),
        ("The making of a famine where there lies", 10, True),
        ("And with beauty the summer there that lies", 10, False),
        ("Thou art more lovely", 5, False),
        ("", 0, False),
    ],
)
def test_syllables_and_metre(line, count, does_scan):
    assert len(pronouncer.syllables(line)) == count
    assert pronouncer.scans(line) == does_scan


@pytest.mark.parametrize(
    ("line", "other", "expected"),
    [
        ("to a summer's day?", "the darling buds of May,", True),
        ("might bear his memory:", "by the grave and thee.", True),
        ("a tatter'd weed", "scatter'd deed", True),
        ("thou art old", "it cold.", True),
        ("the summer's day", "another day", False),
        ("my love", "to prove", False),
        ("", "", False),
    ],
)
def test_rhymes_by_ear(line, other, expected):
    assert pronouncer.do_rhyme(line, other) == expected


def test_poems_are_judged(monkeypatch):
    poems = shakespeares()
    assert len(poems) == 152
    assert PAIRS[:2] + PAIRS[-1:] == [(0, 2), (1, 3), (12, 13)]
    monkeypatch.setattr(forms, "do_rhyme", lambda one, other: one == other == "x")
    monkeypatch.setattr(forms, "scans", lambda line: line != "x")
    verse = ["x", "a", "x", "b"] + ["Line c"] * 10
    assert judge([verse], [], {"linec"}).cells("own") == [
        "own", "1", "14%", "86%", "71%"
    ]  # fmt: skip
    assert plain("  Line, c!") == "linec"
