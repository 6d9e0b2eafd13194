"""The benchmarks of quality and novelty: their figures, and small runs of each."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import novelty  # noqa: E402
import quality  # noqa: E402
import quality_runs  # noqa: E402
import report  # noqa: E402
from ngram import (  # noqa: E402
    NGram,
    best_ngram_nats,
    readable_in_lines,
    readable_in_stream,
)
from novelty_figures import Recital, is_well_formed, judge_names, recitals  # noqa: E402
from quality_references import compressed_nats, numpy_baseline_nats  # noqa: E402
from quality_runs import Outcome  # noqa: E402
from worker import ContestError  # noqa: E402

from textgen import numpy_rnn  # noqa: E402
from textgen.data.corpus import Corpus, Split, load_corpus  # noqa: E402
from textgen.data.vocabulary import Vocabulary  # noqa: E402
from textgen.saving.model_file import load_model  # noqa: E402

TINY = ["--steps", "3", "--layers", "1", "--units", "8", "--window", "8"]


def ids_of(text: str, symbols: str) -> np.ndarray:
    return np.array([symbols.index(symbol) for symbol in text])


# n-gram


def test_witten_bell_by_hand():
    """Trained on aabaa, of which all but the first symbol are predicted."""
    training, held_out = ids_of("aabaa", "ab"), ids_of("aaba", "ab")
    third = Fraction(1, 3)
    a, b = (3 + 2 * Fraction(1, 2)) / (4 + 2), (1 + 2 * Fraction(1, 2)) / (4 + 2)
    assert (a, b) == (2 * third, third)
    a_after_a, b_after_a = (2 + 2 * a) / (3 + 2), (1 + 2 * b) / (3 + 2)
    a_after_b = (1 + 1 * a) / (1 + 1)
    b_after_aa, a_after_ab = (1 + b_after_a) / 2, (1 + a_after_b) / 2
    expected = [
        (a, b, a),
        (a_after_a, b_after_a, a_after_b),
        (a_after_a, b_after_aa, a_after_ab),
    ]
    ngram = NGram(training, readable_in_stream(training), 2, max_context=2)
    found = ngram.nats(held_out, readable_in_stream(held_out))
    assert found == pytest.approx(
        [-math.log(x * y * z) / 3 for x, y, z in expected], rel=1e-12
    )


def naive_nats(training, held_out, size, context, end=None) -> float:
    """Witten–Bell with strings of symbols, counted anew for every prediction."""

    def history(ids, i):
        start = 0
        if end is not None:
            start = max(j for j in range(i) if ids[j] == end)
        return tuple(ids[max(start, i - context) : i])

    seen = [(history(training, i), training[i]) for i in range(1, len(training))]

    def likelihood(symbol, before):
        after = [s for h, s in seen if h[len(h) - len(before) :] == before]
        shorter = likelihood(symbol, before[1:]) if before else 1 / size
        types = len(set(after))
        if not after:
            return shorter
        return (after.count(symbol) + types * shorter) / (len(after) + types)

    losses = [
        -math.log(likelihood(held_out[i], history(held_out, i)))
        for i in range(1, len(held_out))
    ]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("end", [None, 0])
@pytest.mark.parametrize("context", [0, 1, 3])
def test_witten_bell_against_a_naive_count(context, end):
    rng = np.random.default_rng(context)
    # Symbol 4 occurs in the held-out part alone.
    training = np.concatenate([[0], rng.integers(4, size=80), [0]])
    held_out = np.concatenate([[0], rng.integers(5, size=40), [0]])

    def readable(ids):
        return readable_in_stream(ids) if end is None else readable_in_lines(ids, end)

    ngram = NGram(training, readable(training), 5, max_context=context)
    found = ngram.nats(held_out, readable(held_out))[-1]
    expected = naive_nats(training.tolist(), held_out.tolist(), 5, context, end)
    assert found == pytest.approx(expected, rel=1e-12)


def test_only_the_own_line_may_be_read():
    ids = ids_of("\nab\nc\n", "\nabc")
    assert readable_in_lines(ids, 0).tolist() == [0, 1, 2, 3, 1, 2]
    assert readable_in_stream(ids).tolist() == [0, 1, 2, 3, 4, 5]


def test_contexts_longer_than_every_line_do_no_harm():
    ids = ids_of("\na\nb\na\n", "\nab")
    readable = readable_in_lines(ids, 0)
    ngram = NGram(ids, readable, 3, max_context=8)
    assert ngram.nats(ids, readable)[-1] == ngram.nats(ids, readable)[2]


def test_the_context_is_chosen_without_the_held_out_part():
    rng = random.Random(0)
    text = "".join(rng.choice(["abc", "acb", "b"]) for _ in range(2000))
    training = ids_of(text, "abc")
    like, unlike = ids_of("abcacb", "abc"), ids_of("ccccc", "abc")
    (first, low), (second, high) = (
        best_ngram_nats(training, held_out, 3) for held_out in (like, unlike)
    )
    assert first == second > 0
    assert low < high


def test_references_of_the_sonnets():
    """The published 1.758, 1.773 and 2.010 of the sonnets' last tenth."""
    corpus = load_corpus("sonnets")
    split = corpus.split(0.1)
    context, nats = best_ngram_nats(split.training, split.held_out, 61)
    assert (context, round(nats, 3)) == (3, 1.758)
    parts = [corpus.vocabulary.decode(x) for x in (split.training, split.held_out)]
    assert compressed_nats("bz2", *parts) == pytest.approx(1.773, abs=2e-3)
    assert compressed_nats("xz", *parts) == pytest.approx(2.010, abs=2e-3)


def test_references_of_lines_stand_per_name_too(tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "numpy_baseline_nats", lambda *_: 2.0)
    ngram, baseline = quality.references("dinos")
    assert ngram.name == "n-gram, contexts of 4"
    assert ngram.nats == pytest.approx(1.772, abs=1e-3)
    corpus = load_corpus("dinos")
    lines = corpus.vocabulary.decode(corpus.split(0.1).held_out)[1:-1].split("\n")
    assert len(lines) == 132
    per_name = 2.0 * sum(len(line) + 1 for line in lines) / len(lines)
    assert baseline.nats_per_line == pytest.approx(per_name)


# NumPy baseline


def test_the_baseline_is_measured_as_its_own_step_says():
    vocabulary = Vocabulary(("\n", "a", "b"))
    split = Split(*(vocabulary.encode(x) for x in ("\nab\nba\naab\n", "\nabb\nb\n")))
    nats = numpy_baseline_nats(split, vocabulary, iterations=50)
    ix = {symbol: number for number, symbol in enumerate("\nab")}
    parameters = numpy_rnn.model(
        "ab\nba\naab", dict(enumerate("\nab")), ix, 50, 50, 7, 3
    )
    losses = []
    for name in ("abb\n", "b\n"):
        a, x = np.zeros((50, 1)), np.zeros((3, 1))
        for symbol in name:
            a, p = numpy_rnn.rnn_step_forward(parameters, a, x)
            losses.append(-math.log(p[ix[symbol], 0]))
            x = np.eye(3)[:, [ix[symbol]]]
    assert nats == pytest.approx(np.mean(losses), rel=1e-12)


# Runs


def keras_nats(file: Path, ids: np.ndarray) -> float:
    """Measure a stream with plain Keras, all of it in one call."""
    import keras

    probabilities = keras.models.load_model(file).predict(ids[None, :-1], verbose=0)[0]
    return float(-np.log(probabilities[np.arange(len(ids) - 1), ids[1:]]).mean())


@pytest.mark.slow
def test_a_training_is_measured_as_plain_keras_measures_it(tmp_path):
    text = tmp_path / "verse.txt"
    rng = random.Random(1)
    words = ("thou", "art", "more", "lovely\n\n", "Shall", "compare")
    text.write_text(" ".join(rng.choice(words) for _ in range(400)))
    outcome = quality_runs.run_training("tiny", str(text), TINY, tmp_path)
    corpus = load_corpus(text)
    held_out = corpus.ids[int(len(corpus.ids) * 0.9) :].astype(np.int64)
    assert corpus.kind == "text"
    assert outcome.nats == pytest.approx(
        keras_nats(tmp_path / "model.h5", held_out), rel=1e-5
    )
    assert outcome.nats == pytest.approx(outcome.recorded_nats, rel=1e-5)
    assert outcome.seconds > outcome.facts["record"]["seconds"] > 0
    assert outcome.network == "1×8, T 8, B 64"
    assert outcome.nats_per_line is None
    json.dumps(outcome.facts)

    other = tmp_path / "other.txt"
    other.write_text(text.read_text() + "!")
    with pytest.raises(ContestError, match="not trained on"):
        quality_runs.measure_file("tiny", tmp_path / "model.h5", str(other))


@pytest.mark.slow
def test_names_are_measured_by_name_too(tmp_path):
    outcome = quality_runs.run_training("tiny", "dinos", TINY, tmp_path)
    corpus = load_corpus("dinos")
    lines = corpus.vocabulary.decode(corpus.split(0.1).held_out)[1:-1].split("\n")
    symbols = sum(len(line) + 1 for line in lines)
    assert outcome.nats_per_line == pytest.approx(outcome.nats * symbols / len(lines))
    assert outcome.nats == pytest.approx(outcome.recorded_nats, rel=1e-5)


def test_another_share_held_out_is_refused(prose_model):
    model = load_model(prose_model)
    corpus = load_corpus("sonnets")
    metadata = {**model.metadata, "corpus": {"sha256": corpus.sha256}}
    fitting = replace(model, metadata=metadata)
    assert len(quality_runs.load_held_out(fitting, "sonnets")[1].held_out) == 9466
    whole = replace(fitting, config=model.config.override(held_out=0.0))
    with pytest.raises(ContestError, match="another part held out"):
        quality_runs.load_held_out(whole, "sonnets")


def test_processes_are_timed_and_their_failure_is_told():
    code = "import time; time.sleep(0.2); print('done')"
    seconds, output = quality_runs.run_process("sleeper", [sys.executable, "-c", code])
    assert 0.2 <= seconds < 30
    assert output == "done\n"
    with pytest.raises(ContestError, match="broken ended with status 3"):
        quality_runs.run_process("broken", [sys.executable, "-c", "exit(3)"])


def test_a_peer_is_timed_from_outside(tmp_path, monkeypatch):
    script = tmp_path / "peer.py"
    script.write_text(
        "import json, sys, time\n"
        "recipe, text, seconds, seed = sys.argv[1:]\n"
        "time.sleep(float(seconds))\n"
        "print(json.dumps({'nats': 1.25, 'steps': 9, 'asked': [recipe, text, seed]}))\n"
    )
    monkeypatch.setattr(quality_runs, "PEERS_SCRIPT", script)
    outcome = quality_runs.run_peer("char-rnn", "x.txt", 0.2, 5)
    assert (outcome.name, outcome.nats) == ("PyTorch, char-rnn's recipe", 1.25)
    assert 0.2 <= outcome.seconds < 30
    assert outcome.facts == {"steps": 9, "asked": ["char-rnn", "x.txt", "5"]}


# Contests


@pytest.fixture
def trainings(monkeypatch):
    """Stand in for trainings; gives the list of what was asked for."""
    asked = []

    def training(name, text, options, folder, *, after_chars=0):
        asked.append((text, list(options), after_chars))
        return Outcome(name, 1.5, seconds=90.0)

    def peer(recipe, text, seconds, seed):
        asked.append((recipe, seconds, seed))
        return Outcome(recipe, 2.0, seconds=seconds)

    monkeypatch.setattr(quality, "run_training", training)
    monkeypatch.setattr(quality, "run_peer", peer)
    monkeypatch.setattr(quality, "references", lambda *_: [Outcome("bz2", 1.8)])
    return asked


def test_minutes_are_scaled_and_peers_get_the_same(trainings, tmp_path, monkeypatch):
    monkeypatch.setattr(quality.contest, "is_installed", lambda _: True)
    outcomes = quality.contest_of_text("x.txt", [0.4, 40], 1.5, 7, tmp_path)
    assert trainings == [
        ("x.txt", ["--minutes", "0.6000", "--seed", "7"], 0),
        ("char-rnn", pytest.approx(36), 7),
        ("torch-rnn", pytest.approx(36), 7),
        ("x.txt", ["--minutes", "60.0000", "--seed", "7"], 0),
        ("char-rnn", pytest.approx(3600), 7),
        ("torch-rnn", pytest.approx(3600), 7),
    ]
    assert outcomes[0].name == "textgen, 24 s there, 36 s here"
    assert outcomes[-1].name == "bz2"
    trainings.clear()
    quality.contest_of_text("x.txt", [1], 1, 0, tmp_path, peers=False)
    assert len(trainings) == 1


def test_the_course_gets_as_long_as_the_default(trainings, tmp_path):
    quality.contest_of_sonnets(3, tmp_path)
    default, course = trainings
    assert default == ("sonnets", ["--seed", "3"], 40)
    as_long = ["--seed", "3", "--preset", "course", "--minutes", "1.5000"]
    assert course == ("sonnets", as_long, 40)


def test_all_targets_get_a_tenth_of_the_seconds_of_the_course(trainings, tmp_path):
    every, course = quality.contest_of_course(20, 3, tmp_path)
    (name, options, after), (same_name, all_targets, same_after) = trainings
    assert (name, after) == (same_name, same_after) == ("sonnets", 40)
    assert options == ["--preset", "course", "--seed", "3", "--epochs", "20"]
    assert all_targets[:4] == ["--preset", "course", "--seed", "3"]
    assert all_targets[-2:] == ["--minutes", "0.1500"]  # of 90 s
    assert dict(itertools.pairwise(all_targets))["--targets"] == "all"
    assert every.name.endswith("a tenth of the seconds")
    assert course.name == "preset course, 20 epochs"


def test_the_command_prints_tables_and_writes_json(
    trainings, tmp_path, monkeypatch, capsys
):
    file = tmp_path / "out.json"
    monkeypatch.setattr(quality, "reference_step_ms", lambda: 82.0)
    command = ["quality.py", "--part", "text,dinos", "--minutes", "1", "--no-peers"]
    monkeypatch.setattr(sys, "argv", [*command, "--json", str(file)])
    quality.main()
    printed = capsys.readouterr().out
    assert "1 minute there is 2.00 minutes here" in printed
    assert "| textgen, 60 s there, 120 s here |    90.0 |     1.500 |" in printed
    record = json.loads(file.read_text())
    assert (record["reference_step_ms"], record["scale"]) == (82.0, 2.0)
    assert [x["nats"] for x in record["parts"]["text"]] == [1.5, 1.8]
    assert set(record["parts"]) == {"text", "dinos"}
    assert record["environment"]["versions"]["numpy"] == np.__version__


def test_pretrained_models_are_measured_on_their_own_corpora(tmp_path, monkeypatch):
    for name in ("zoo-pretrained.h5", "ark-pretrained.h5", "zoo.h5"):
        (tmp_path / name).touch()
    monkeypatch.setattr(quality, "data_folder", lambda kind: tmp_path)
    monkeypatch.setattr(quality, "measure_file", lambda *arguments: arguments)
    assert quality.measure_pretrained() == [
        ("ark-pretrained.h5", tmp_path / "ark-pretrained.h5", "ark"),
        ("zoo-pretrained.h5", tmp_path / "zoo-pretrained.h5", "zoo"),
    ]


def test_cells_of_an_outcome():
    outcome = Outcome("one", math.log(2), 61.25, 9.0, 0.7, "1×8, T 8, B 4")
    cells = ["one", "61.2", "0.693", "1.000", "0.700", "9.000", "1×8, T 8, B 4"]
    assert outcome.cells() == cells
    assert Outcome("two", 1.0).cells() == ["two", "–", "1.000", "1.443", "–", "–", "–"]
    assert len(cells) == len(quality_runs.HEADINGS)


def test_lists_of_numbers():
    assert report.positives("0.4,40") == [0.4, 40.0]
    with pytest.raises(argparse.ArgumentTypeError, match="above 0"):
        report.positives("1,0")
    with pytest.raises(
        argparse.ArgumentTypeError, match="a number above 0, but was ''"
    ):
        report.positives("1,,2")


# PyTorch


def test_recipes_and_a_short_training_with_torch(monkeypatch):
    torch = pytest.importorskip("torch")
    import quality_peers as peers

    rates = [peers.RECIPES["char-rnn"].rate(epoch) for epoch in (0, 9, 10, 11)]
    assert rates == pytest.approx([2e-3, 2e-3, 2e-3 * 0.97, 2e-3 * 0.97**2])
    rates = [peers.RECIPES["torch-rnn"].rate(epoch) for epoch in (0, 4, 5, 9, 10)]
    assert rates == pytest.approx([2e-3, 2e-3, 1e-3, 1e-3, 5e-4])

    ids = np.arange(2 * 50 * 50 + 9) % 7
    streams = peers.as_streams(ids)
    assert streams.shape == (50, 101)
    assert streams[3].tolist() == ids[300:401].tolist()
    with pytest.raises(ValueError, match="2,501 characters or more"):
        peers.as_streams(ids[:2000])

    torch.manual_seed(0)
    network = peers.Network(7, 0)
    assert peers.measure(network, ids) == pytest.approx(math.log(7), rel=0.05)
    monkeypatch.setattr(peers, "CHUNK_CHARS", 1000)
    whole, _ = network(torch.from_numpy(ids)[None])
    assert peers.measure(network, ids) == pytest.approx(whole.mean().item(), rel=1e-4)
    monkeypatch.setattr(peers, "STARTED_S", 0.0)
    for recipe in peers.RECIPES.values():  # by a clock that goes on when it is read
        clock = SimpleNamespace(monotonic=itertools.count(0, 0.1).__next__)
        monkeypatch.setattr(peers, "time", clock)
        outcome = peers.train(recipe, Split(ids, ids[:99]), 7, 6.0)
        assert 45 < outcome.steps < 58
        assert outcome.nats < 0.8 * math.log(7)


# Novelty


def naive_recital(text, sources, size):
    places = range(len(text) - size + 1)
    recited = [any(text[i : i + size] in source for source in sources) for i in places]
    return sum(recited) / max(len(recited), 1)


def test_recited_stretches_against_a_naive_loop():
    rng = random.Random(0)
    texts, sources = (
        ["".join(rng.choice("abc") for _ in range(length)) for length in lengths]
        for lengths in ((300, 40, 3), (200, 5, 150))
    )
    shares = []
    for size in (1, 5, 7):
        found = recitals(texts, sources, size)
        shares += [recital.share for recital in found]
        assert shares[-3:] == [naive_recital(text, sources, size) for text in texts]
    assert 0 < shares[6] < 1


def test_recitals_by_hand():
    sources = ["the cat sat", "on the mat"]
    (found,) = recitals(["a cat sat on the mat"], sources, size=4)
    # 17 stretches; recited are those within " cat sat" and "on the mat".
    assert found == Recital(characters=20, share=(5 + 7) / 17, longest=10)
    assert recitals(["dog"], sources, 4) == [Recital(3, 0.0, 0)]
    assert found.cells("x") == ["x", "20", "70.588%", "10"]
    assert recitals(["dogs bark"], sources)[0].cells("y")[-1] == "below 40"


@pytest.mark.parametrize(
    ("name", "well_formed"),
    [
        ("rexy", True),
        ("Aachenosaurus", True),
        ("rex", False),
        ("a" * 2 + "b" * 2 + "cd" * 13, True),
        ("a" * 2 + "b" * 2 + "cd" * 14, False),
        ("brrtt", False),
        ("brytt", True),
        ("sauuurus", False),
        ("sauUurus", False),
        ("two words", False),
        ("rex1saurus", False),
        ("", False),
    ],
)
def test_what_a_well_formed_name_is(name, well_formed):
    assert is_well_formed(name) is well_formed


def test_nearly_all_real_names_are_well_formed():
    names = load_corpus("dinos").vocabulary.decode(load_corpus("dinos").ids)
    bad = [name for name in names[1:-1].split("\n") if not is_well_formed(name)]
    assert bad == ["kol", "mei", "zby"]


def test_names_are_judged_by_hand():
    draws = ["newosaurus", "newosaurus", "oldosaurus", "xx", "hidosaurus"]
    judged = judge_names(draws, {"oldosaurus"}, {"hidosaurus", "unseen"})
    assert judged.draws == 5
    assert judged.distinct == pytest.approx(4 / 5)
    assert judged.novel == pytest.approx(4 / 5)
    assert judged.well_formed == pytest.approx(4 / 5)
    assert judged.all_three == pytest.approx(2 / 5)
    assert judged.held_out_hits == 1
    assert len(judged.cells("x")) == len(novelty.HEADINGS["lines"])


def trained_on(model_file: Path, corpus: Corpus):
    """Return an untrained model that claims to have been trained on a corpus."""
    model = load_model(model_file)
    origin = {"name": corpus.name, "kind": corpus.kind, "sha256": corpus.sha256}
    return replace(model, metadata={**model.metadata, "corpus": origin})


def run_novelty(monkeypatch, folder, model, *options) -> None:
    file = folder / "model.h5"
    file.touch()
    monkeypatch.setattr(novelty, "load_model", lambda _: model)
    monkeypatch.setattr(sys, "argv", ["novelty.py", str(file), *map(str, options)])
    novelty.run()


def test_a_text_is_written_and_judged(prose_model, tmp_path, monkeypatch, capsys):
    verse = tmp_path / "verse.txt"
    verse.write_text(
        "".join(f"Line {'abcdefghij'[i % 10]} of verse\n\n" for i in range(99))
    )
    more = tmp_path / "more.txt"
    more.write_text("Another text")
    model, out = trained_on(prose_model, load_corpus(verse)), tmp_path / "out.json"
    texts = ("--text", more, "--text", verse)
    options = ("--length", 200, "--temperatures", "0.7", "--json", out)
    run_novelty(monkeypatch, tmp_path, model, *texts, *options)
    assert "against verse, more.txt" in capsys.readouterr().out
    found = json.loads(out.read_text())["models"]["model.h5"]
    assert found["other_texts"] == ["more.txt"]
    assert found["found"]["temperature 0.7"] == {
        "characters": 200,
        "share": 0.0,
        "longest": 0,
    }
    # The held-out verse repeats the rest: all of it is found.
    assert found["found"]["held out"]["share"] == 1.0
    assert (
        found["found"]["held out"]["longest"] == len(load_corpus(verse).ids) // 10 + 1
    )


def test_names_are_drawn_and_judged(names_model, tmp_path, monkeypatch, capsys):
    model, out = trained_on(names_model, load_corpus("dinos")), tmp_path / "out.json"
    run_novelty(monkeypatch, tmp_path, model, "--count", 30, "--json", out)
    assert "against dinos; seed 1" in capsys.readouterr().out
    found = json.loads(out.read_text())["models"]["model.h5"]["found"]
    assert list(found) == [
        "temperature 0.5",
        "temperature 0.8",
        "temperature 1",
        "held out",
    ]
    assert found["temperature 1"]["draws"] == 30
    assert found["temperature 1"]["novel"] == 1.0
    assert found["held out"]["held_out_hits"] == found["held out"]["draws"] == 132


def test_an_unknown_text_is_asked_for(prose_model, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("Something else")
    with pytest.raises(ContestError, match="give that file with --text"):
        novelty.find_corpus(load_model(prose_model), [str(other)])
