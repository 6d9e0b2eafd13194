"""The benchmarks of quality: what they compare with, and small runs of each."""

import itertools
import math
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from model_files import write_own_file

from benchmarks.harness.worker import BenchmarkError
from benchmarks.quality import (
    drawing,
    held_out_loss,
    levels,
    mixing,
    novelty,
    own_texts,
    trainings,
)
from benchmarks.quality.ngram import (
    NGram,
    best_ngram_nats,
    readable_in_lines,
    readable_in_stream,
)
from benchmarks.quality.novelty_figures import is_well_formed, judge_names, recitals
from benchmarks.quality.references import compressed_nats, numpy_baseline_nats
from benchmarks.quality.trainings import Outcome
from textgen import numpy_rnn
from textgen.data.corpus import Split, load_corpus
from textgen.data.vocabulary import Vocabulary
from textgen.saving.model_file import load_model

# What is compared with


def naive_nats(training, held_out, size, context, end=None) -> float:
    """Witten–Bell with strings of symbols, counted anew for every prediction."""

    def history(ids, i):
        start = 0 if end is None else max(j for j in range(i) if ids[j] == end)
        return tuple(ids[max(start, i - context) : i])

    seen = [(history(training, i), training[i]) for i in range(1, len(training))]

    def likelihood(symbol, before):
        after = [s for h, s in seen if h[len(h) - len(before) :] == before]
        shorter = likelihood(symbol, before[1:]) if before else 1 / size
        types = len(set(after))
        if not after:
            return shorter
        return (after.count(symbol) + types * shorter) / (len(after) + types)

    predicted = range(1, len(held_out))
    losses = [
        -math.log(likelihood(held_out[i], history(held_out, i))) for i in predicted
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


def test_the_context_is_chosen_without_the_held_out_part():
    rng = np.random.default_rng(0)
    training = rng.permuted([[0, 1, 2]] * 999, axis=1).ravel()
    (first, low), (second, high) = (
        best_ngram_nats(training, np.array(held_out), 3)
        for held_out in ([0, 1, 2, 0, 2, 1], [2, 2, 2, 2, 2])
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


def test_references_of_lines_stand_per_name_too(monkeypatch):
    monkeypatch.setattr(held_out_loss, "numpy_baseline_nats", lambda *_: 2.0)
    ngram, baseline = held_out_loss.references("dinos")
    assert (ngram.name, round(ngram.nats, 3)) == ("n-gram, contexts of 4", 1.772)
    corpus = load_corpus("dinos")
    names = corpus.vocabulary.decode(corpus.split(0.1).held_out)[1:-1].split("\n")
    assert len(names) == 132
    per_name = 2.0 * sum(len(name) + 1 for name in names) / len(names)
    assert baseline.nats_per_line == pytest.approx(per_name)


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


def test_recipes_and_a_short_training_with_torch(monkeypatch):
    torch = pytest.importorskip("torch")
    from benchmarks.quality import torch_recipes as peers

    rates = [peers.RECIPES["char-rnn"].rate(epoch) for epoch in (0, 9, 10, 11)]
    assert rates == pytest.approx([2e-3, 2e-3, 2e-3 * 0.97, 2e-3 * 0.97**2])
    rates = [peers.RECIPES["torch-rnn"].rate(epoch) for epoch in (0, 4, 5, 9, 10)]
    assert rates == pytest.approx([2e-3, 2e-3, 1e-3, 1e-3, 5e-4])
    ids = np.arange(2 * 50 * 50 + 9) % 7
    assert peers.as_streams(ids)[3].tolist() == ids[300:401].tolist()
    network = peers.Network(7, 0)
    whole, _ = network(torch.from_numpy(ids)[None])
    monkeypatch.setattr(peers, "CHUNK_CHARS", 1000)
    assert peers.measure(network, ids) == pytest.approx(whole.mean().item(), rel=1e-4)
    monkeypatch.setattr(peers, "STARTED_S", 0.0)
    clock = SimpleNamespace(monotonic=itertools.count(0, 0.1).__next__)
    monkeypatch.setattr(peers, "time", clock)  # goes on when it is read
    outcome = peers.train(peers.RECIPES["char-rnn"], Split(ids, ids[:99]), 7, 6.0)
    assert 45 < outcome["steps"] < 58
    assert outcome["nats"] < 0.8 * math.log(7)


# Trainings


@pytest.mark.long
def test_a_training_is_measured_as_plain_keras_measures_it(tmp_path):
    import keras

    rng = random.Random(1)
    words = ("thou", "art", "more", "lovely,\n\n", "Shall", "compare")
    text, other, file = (tmp_path / x for x in ("verse.txt", "other.txt", "model.h5"))
    text.write_text(" ".join(rng.choice(words) for _ in range(400)))
    tiny = ["--steps", "3", "--layers", "1", "--units", "8", "--window", "8"]
    outcome = trainings.run_training("tiny", str(text), tiny, tmp_path)
    ids = load_corpus(text).ids
    ids = ids[int(len(ids) * 0.9) :].astype(np.int64)
    predicted = keras.models.load_model(file).predict(ids[None, :-1], verbose=0)[0]
    nats = -np.log(predicted[np.arange(len(ids) - 1), ids[1:]]).mean()
    assert outcome.nats == pytest.approx(nats, rel=1e-5)
    assert outcome.nats == pytest.approx(outcome.recorded_nats, rel=1e-5)
    assert outcome.seconds > load_model(file).metadata["training"]["seconds"] > 0
    assert outcome.cells()[-2:] == ["–", "1×8, T 8, B 64"]
    other.write_text(text.read_text() + "!")
    with pytest.raises(BenchmarkError, match="not trained on"):
        trainings.measure_file("tiny", file, str(other))
    model = load_model(file)
    whole = replace(model, config=model.config.override(held_out=0.0))
    with pytest.raises(BenchmarkError, match="another part held out"):
        trainings.load_held_out(whole, str(text))


def test_minutes_are_scaled_and_peers_get_the_same(monkeypatch, capsys):
    asked = []

    def training(name, text, options, folder, *, after_chars=0):
        asked.append((text, options, after_chars))
        return Outcome(name, 1.5, seconds=90.0)

    def peer(*arguments):
        asked.append(arguments)
        return Outcome("peer", 2.0)

    monkeypatch.setattr(held_out_loss, "run_training", training)
    monkeypatch.setattr(held_out_loss, "run_peer", peer)
    monkeypatch.setattr(held_out_loss, "references", lambda *_: [Outcome("bz2", 1.8)])
    monkeypatch.setattr(held_out_loss.contest, "is_installed", lambda _: True)
    monkeypatch.setattr(held_out_loss, "reference_step_ms", lambda: 82.0)
    words = ["x", "--part", "text", "--minutes", "1,40", "--seed", "7"]
    monkeypatch.setattr("sys.argv", words)
    held_out_loss.main()
    text = str(held_out_loss.ROOT / "corpora" / "shakespeare.txt")
    assert asked == [
        (text, ["--from-scratch", "--minutes", "2.0000", "--seed", "7"], 0),
        ("char-rnn", text, 120, 7),
        ("torch-rnn", text, 120, 7),
        (text, ["--from-scratch", "--minutes", "80.0000", "--seed", "7"], 0),
        ("char-rnn", text, 4800, 7),
        ("torch-rnn", text, 4800, 7),
    ]
    assert "| textgen, 60 s there, 120 s here " in capsys.readouterr().out


# Novelty


@pytest.mark.parametrize("size", [1, 5, 7])
def test_recited_stretches_against_a_naive_loop(size):
    rng = random.Random(0)
    texts, sources = (
        ["".join(rng.choice("abc") for _ in range(length)) for length in lengths]
        for lengths in ((300, 40, 3), (200, 5, 150))
    )
    for text, found in zip(texts, recitals(texts, sources, size), strict=True):
        places = range(len(text) - size + 1)
        recited = [any(text[i : i + size] in x for x in sources) for i in places]
        assert found.share == sum(recited) / max(len(recited), 1)
    (found,) = recitals(["a cat sat on the mat"], ["the cat sat", "on the mat"], 4)
    assert found.longest == len("on the mat")


def test_names_are_judged_by_hand():
    good = ["rexy", "Aachenosaurus", "aabb" + "cd" * 13, "brytt"]
    bad = ["rex", "aabb" + "cd" * 14, "brrtt", "sauUurus", "two words", "rex1", ""]
    assert [name for name in good + bad if is_well_formed(name)] == good
    draws = ["newosaurus", "newosaurus", "oldosaurus", "xx", "hidosaurus"]
    judged = judge_names(draws, {"oldosaurus"}, {"hidosaurus", "unseen"})
    assert judged.cells("x") == ["x", "5", "80.0%", "80.0%", "80.0%", "40.0%", "1"]


def test_a_text_is_written_and_judged(prose_model, tmp_path, monkeypatch, capsys):
    """An untrained model is judged as if it were trained on a verse."""
    verse, more = tmp_path / "verse.txt", tmp_path / "more.txt"
    verse.write_text("".join(f"Line {x} of verse\n\n" for x in "abcdefg" * 14))
    more.write_text("Another text")
    model, corpus = load_model(prose_model), load_corpus(verse, "text")
    model = replace(model, metadata={**model.metadata, "corpus": corpus.identity})
    monkeypatch.setattr(novelty, "load_model", lambda _: model)
    options = ["--text", str(more), "--length", "200", "--temperatures", "0.7"]
    words = ["novelty", str(prose_model), *options]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(BenchmarkError, match="give that file with --text"):
        novelty.main()
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", [*words, "--text", str(verse)])
    novelty.main()
    title, *table = capsys.readouterr().out.splitlines()[3:]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table[1:]]
    rows = {row[0]: row[1:] for row in rows}
    assert "against verse, more; seed 1" in title
    assert rows["temperature 0.7"] == ["200", "0.000%", "below 40"]
    # The held-out verse repeats the rest: all of it is found.
    assert rows["held out"][1:] == ["100.000%", rows["held out"][0]]


def test_poems_and_names_are_measured_by_hand():
    assert drawing.words("O'er the sun-lit Sea, 'tis\n") == [
        *("o'er", "the", "sun-lit", "sea", "tis")
    ]
    assert drawing.grams("abcde", 4) == ["abcd", "bcde"]
    assert not drawing.loops("abcdefgh" * 5)
    assert drawing.loops("abcdefgh" * 6)
    assert drawing.lines_again("a\n\nb\n a\nb\nb") == (3, 5)
    poems = ["the sun\nthe sun\n", "round and round"]
    row = drawing.judge_poems("x", poems, {"the", "sun"}, "The sun, the sxn")
    assert row == ["x", "75.0%", "33.3%", "18", "0%"]
    known = {"^ab$", "abcd", "bcd$"}
    assert drawing.known_grams(["ab", "abcd", "x"], known) == 3 / 4


@pytest.mark.parametrize("kind", ["poems", "names"])
def test_what_options_give_is_measured_beside_the_corpus(kind, monkeypatch, capsys):
    given = ["--options", "--temperature 0.3", "--options", "--beam 9", "--only", kind]
    given += ["--count", "1" if kind == "poems" else "9", "--seed", "5"]
    monkeypatch.setattr("sys.argv", ["drawing", *given])
    drawing.main()
    _, _, _, title, *table = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table if row]
    assert ("1 poems; seed 5" if kind == "poems" else "9 names; seed 5") in title
    assert [row[0] for row in rows[2:4]] == ["--temperature 0.3", "--beam 9"]
    last = {"poems": "the sonnets' own", "names": "held-out names"}[kind]
    assert rows[4][0] == last
    assert all(len(row) == len(rows[0]) for row in rows)


def test_mixtures_are_measured_beside_their_models(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("a bed, a cab and a dead bee. " * 9)
    write_own_file(Path("m.h5"), "\n .,abcden")
    write_own_file(Path("n.h5"), "n .,abcde")
    monkeypatch.setattr(mixing, "TEXT_MODELS", ("m.h5", "n.h5"))
    monkeypatch.setattr(mixing, "WEIGHTS", (0.25,))
    *alone, mixed = (nats for _, nats in mixing.contest_of_texts("a.txt"))
    # By Jensen's inequality no mixture of probabilities is worse than this mean.
    assert mixed <= 0.25 * alone[0] + 0.75 * alone[1]


def test_what_models_of_different_levels_write_is_judged_by_another(monkeypatch):
    monkeypatch.setattr(levels, "evaluate", lambda model, text: SimpleNamespace(
        nats_per_char=len(text) / model))  # fmt: skip
    judge = levels.Judge(4, frozenset(["to", "be"]))
    share, nats = judge.figures(["To be, so", "(be)"])
    assert share == 3 / 4
    assert nats == len("To be, so\n\n(be)") / 4
    assert judge.figures([""])[0] == 0


def test_seeds_are_trained_for_the_minutes_and_mixed(monkeypatch, tmp_path):
    text, trained = tmp_path / "a.txt", []
    text.write_text("a bed, a cab and a dead bee. " * 9)
    sha256 = load_corpus(str(text), "text").sha256
    source = {"name": "a.txt", "kind": "text", "sha256": sha256}

    def train(name, corpus, options, folder):
        trained.append(options)
        units = 2 * len(trained)
        write_own_file(folder / "model.h5", " ,.abcden", units=units, corpus=source)

    monkeypatch.setattr(mixing, "run_training", train)
    rows = mixing.contest_of_seeds(str(text), [3, 4], tmp_path, minutes=0.5)
    assert [" ".join(options) for options in trained] == [
        "--from-scratch --minutes 0.5000 --seed 3",
        "--from-scratch --minutes 0.5000 --seed 4"]  # fmt: skip
    names, nats = zip(*rows, strict=True)
    assert names == ("seed 3", "seed 4", "all")
    assert nats[0] != pytest.approx(nats[1])
    assert nats[2] <= sum(nats[:2]) / 2  # Jensen's inequality


def test_a_text_of_ones_own_is_trained_on_in_three_ways(monkeypatch, tmp_path):
    run = []
    monkeypatch.setattr(own_texts, "run_training", lambda *given: run.append(given))
    own_texts.contest_of_text("a.txt", 1.5, tmp_path, long_minutes=20, base="b.h5")
    own_texts.contest_of_text("a.txt", 1.5, tmp_path)
    options = [" ".join(given[2]) for given in run]
    assert options == [
        "--kind text --minutes 1.5 --init-from b.h5",
        "--kind text --minutes 1.5 --from-scratch",
        "--kind text --minutes 20 --from-scratch",
        "--kind text --minutes 1.5",
        "--kind text --minutes 1.5 --from-scratch",
    ]
    assert {given[1] for given in run} == {"a.txt"}
