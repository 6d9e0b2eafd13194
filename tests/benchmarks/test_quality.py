"""The benchmarks of quality: what they compare with, and small runs of each."""

import itertools
import math
import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.harness.worker import BenchmarkError
from benchmarks.quality import held_out_loss, novelty, trainings
from benchmarks.quality.ngram import (
    NGram,
    best_ngram_nats,
    readable_in_lines,
    readable_in_stream,
)
from benchmarks.quality.novelty_figures import (
    Recital,
    is_well_formed,
    judge_names,
    recitals,
)
from benchmarks.quality.references import compressed_nats, numpy_baseline_nats
from benchmarks.quality.trainings import Outcome
from textgen import numpy_rnn
from textgen.data.corpus import Split, load_corpus
from textgen.data.vocabulary import Vocabulary
from textgen.saving.model_file import load_model

TINY = ["--steps", "3", "--layers", "1", "--units", "8", "--window", "8"]


def ids_of(text: str, symbols: str) -> np.ndarray:
    return np.array([symbols.index(symbol) for symbol in text])


def held_out_names() -> list[str]:
    corpus = load_corpus("dinos")
    return corpus.vocabulary.decode(corpus.split(0.1).held_out)[1:-1].split("\n")


# What is compared with


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


def test_references_of_lines_stand_per_name_too(monkeypatch):
    monkeypatch.setattr(held_out_loss, "numpy_baseline_nats", lambda *_: 2.0)
    ngram, baseline = held_out_loss.references("dinos")
    assert ngram.name == "n-gram, contexts of 4"
    assert ngram.nats == pytest.approx(1.772, abs=1e-3)
    names = held_out_names()
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
    streams = peers.as_streams(ids)
    assert streams.shape == (50, 101)
    assert streams[3].tolist() == ids[300:401].tolist()
    with pytest.raises(ValueError, match="2,501 characters or more"):
        peers.as_streams(ids[:2000])

    torch.manual_seed(0)
    network = peers.Network(7, 0)
    monkeypatch.setattr(peers, "CHUNK_CHARS", 1000)
    whole, _ = network(torch.from_numpy(ids)[None])
    assert peers.measure(network, ids) == pytest.approx(whole.mean().item(), rel=1e-4)
    monkeypatch.setattr(peers, "STARTED_S", 0.0)
    for recipe in peers.RECIPES.values():  # by a clock that goes on when it is read
        clock = SimpleNamespace(monotonic=itertools.count(0, 0.1).__next__)
        monkeypatch.setattr(peers, "time", clock)
        outcome = peers.train(recipe, Split(ids, ids[:99]), 7, 6.0)
        assert 45 < outcome["steps"] < 58
        assert outcome["nats"] < 0.8 * math.log(7)


# Trainings


@pytest.mark.slow
def test_a_training_is_measured_as_plain_keras_measures_it(tmp_path):
    import keras

    rng = random.Random(1)
    words = ("thou", "art", "more", "lovely\n\n", "Shall", "compare")
    text, other, file = (tmp_path / x for x in ("verse.txt", "other.txt", "model.h5"))
    text.write_text(" ".join(rng.choice(words) for _ in range(400)))
    outcome = trainings.run_training("tiny", str(text), TINY, tmp_path)
    ids = load_corpus(text).ids
    ids = ids[int(len(ids) * 0.9) :].astype(np.int64)
    predicted = keras.models.load_model(file).predict(ids[None, :-1], verbose=0)[0]
    nats = -np.log(predicted[np.arange(len(ids) - 1), ids[1:]]).mean()
    assert outcome.nats == pytest.approx(nats, rel=1e-5)
    assert outcome.nats == pytest.approx(outcome.recorded_nats, rel=1e-5)
    assert outcome.seconds > load_model(file).metadata["training"]["seconds"] > 0
    assert outcome.network == "1×8, T 8, B 64"
    assert outcome.nats_per_line is None
    other.write_text(text.read_text() + "!")
    with pytest.raises(BenchmarkError, match="not trained on"):
        trainings.measure_file("tiny", file, str(other))


@pytest.mark.slow
def test_names_are_measured_by_name_too(tmp_path):
    outcome = trainings.run_training("tiny", "dinos", TINY, tmp_path)
    names = held_out_names()
    symbols = sum(len(name) + 1 for name in names)
    assert outcome.nats_per_line == pytest.approx(outcome.nats * symbols / len(names))
    assert outcome.nats == pytest.approx(outcome.recorded_nats, rel=1e-5)


def test_another_share_held_out_is_refused(trained_on, prose_model):
    model = trained_on(prose_model, "sonnets")
    assert len(trainings.load_held_out(model, "sonnets")[1].held_out) == 9466
    whole = replace(model, config=model.config.override(held_out=0.0))
    with pytest.raises(BenchmarkError, match="another part held out"):
        trainings.load_held_out(whole, "sonnets")


@pytest.fixture
def asked(monkeypatch):
    """Stand in for trainings; gives the list of what was asked for."""
    asked = []

    def training(name, text, options, folder, *, after_chars=0):
        asked.append((text, list(options), after_chars))
        return Outcome(name, 1.5, seconds=90.0)

    def peer(recipe, text, seconds, seed):
        asked.append((recipe, seconds, seed))
        return Outcome(recipe, 2.0, seconds=seconds)

    monkeypatch.setattr(held_out_loss, "run_training", training)
    monkeypatch.setattr(held_out_loss, "run_peer", peer)
    monkeypatch.setattr(held_out_loss, "references", lambda *_: [Outcome("bz2", 1.8)])
    monkeypatch.setattr(held_out_loss.contest, "is_installed", lambda _: True)
    return asked


def test_minutes_are_scaled_and_peers_get_the_same(asked, tmp_path):
    outcomes = held_out_loss.contest_of_text(
        "x.txt", [0.4, 40], 1.5, 7, tmp_path, peers=held_out_loss.PEERS
    )
    assert asked == [
        ("x.txt", ["--minutes", "0.6000", "--seed", "7"], 0),
        ("char-rnn", pytest.approx(36), 7),
        ("torch-rnn", pytest.approx(36), 7),
        ("x.txt", ["--minutes", "60.0000", "--seed", "7"], 0),
        ("char-rnn", pytest.approx(3600), 7),
        ("torch-rnn", pytest.approx(3600), 7),
    ]
    assert outcomes[0].name == "textgen, 24 s there, 36 s here"
    assert outcomes[-1].name == "bz2"


def test_the_course_gets_as_long_as_the_default(asked, tmp_path):
    held_out_loss.contest_of_sonnets(3, tmp_path)
    as_long = ["--seed", "3", "--preset", "course", "--minutes", "1.5000"]
    assert asked == [("sonnets", ["--seed", "3"], 40), ("sonnets", as_long, 40)]


def test_all_targets_get_a_tenth_of_the_seconds_of_the_course(asked, tmp_path):
    every, course = held_out_loss.contest_of_course(20, 3, tmp_path)
    (_, options, _), (_, all_targets, after) = asked
    assert options == ["--preset", "course", "--seed", "3", "--epochs", "20"]
    assert all_targets[:4] == options[:4]
    assert all_targets[-2:] == ["--minutes", "0.1500"]  # of 90 s
    assert dict(itertools.pairwise(all_targets))["--targets"] == "all"
    assert after == 40
    assert every.name.endswith("a tenth of the seconds")
    assert course.name == "preset course, 20 epochs"


def test_the_command_prints_a_table_for_each_part(asked, monkeypatch, capsys):
    monkeypatch.setattr(held_out_loss, "reference_step_ms", lambda: 82.0)
    words = ["x", "--part", "text,dinos", "--minutes", "1", "--no-peers"]
    monkeypatch.setattr("sys.argv", words)
    held_out_loss.main()
    printed = capsys.readouterr().out
    assert "1 minute there is 2.00 minutes here" in printed
    assert "| textgen, 60 s there, 120 s here |    90.0 |     1.500 |" in printed
    assert [text for text, *_ in asked][1:] == ["dinos"]


def test_pretrained_models_are_measured_on_their_own_corpora(tmp_path, monkeypatch):
    for name in ("zoo-pretrained.h5", "ark-pretrained.h5", "zoo.h5"):
        (tmp_path / name).touch()
    monkeypatch.setattr(held_out_loss, "data_folder", lambda _: tmp_path)
    monkeypatch.setattr(held_out_loss, "measure_file", lambda *arguments: arguments)
    assert held_out_loss.measure_pretrained() == [
        ("ark-pretrained.h5", tmp_path / "ark-pretrained.h5", "ark"),
        ("zoo-pretrained.h5", tmp_path / "zoo-pretrained.h5", "zoo"),
    ]


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


def test_recitals_by_hand():
    sources = ["the cat sat", "on the mat"]
    (found,) = recitals(["a cat sat on the mat"], sources, size=4)
    # 17 stretches; recited are those within " cat sat" and "on the mat".
    assert found == Recital(characters=20, share=(5 + 7) / 17, longest=10)
    assert recitals(["dog"], sources, 4) == [Recital(3, 0.0, 0)]
    assert found.cells("x") == ["x", "20", "70.588%", "10"]
    assert recitals(["dogs bark"], sources)[0].cells("y")[-1] == "below 40"


def test_what_a_well_formed_name_is():
    good = ["rexy", "Aachenosaurus", "aabb" + "cd" * 13, "brytt"]
    bad = [
        "rex",
        "aabb" + "cd" * 14,
        "brrtt",
        "sauUurus",
        "two words",
        "rex1saurus",
        "",
    ]
    assert [name for name in good + bad if is_well_formed(name)] == good
    assert [x for x in held_out_names() if not is_well_formed(x)] == []


def test_names_are_judged_by_hand():
    draws = ["newosaurus", "newosaurus", "oldosaurus", "xx", "hidosaurus"]
    judged = judge_names(draws, {"oldosaurus"}, {"hidosaurus", "unseen"})
    assert judged.draws == 5
    assert judged.distinct == judged.novel == judged.well_formed == 4 / 5
    assert judged.all_three == 2 / 5
    assert judged.held_out_hits == 1
    assert len(judged.cells("x")) == len(novelty.HEADINGS["lines"])


@pytest.fixture
def trained_on():
    """Return a function: an untrained model that claims to be trained on a corpus."""

    def claim(model_file, text):
        model, corpus = load_model(model_file), load_corpus(text)
        origin = {"name": corpus.name, "kind": corpus.kind, "sha256": corpus.sha256}
        return replace(model, metadata={**model.metadata, "corpus": origin})

    return claim


@pytest.fixture
def judge(tmp_path, monkeypatch, capsys):
    """Return a function that judges a model, and gives its table's cells by row."""

    def judge(model, *options):
        (tmp_path / "model.h5").touch()
        monkeypatch.setattr(novelty, "load_model", lambda _: model)
        words = ["novelty", str(tmp_path / "model.h5"), *map(str, options)]
        monkeypatch.setattr("sys.argv", words)
        novelty.main()
        title, *table = capsys.readouterr().out.splitlines()[3:]
        rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table[1:]]
        return title, {row[0]: row[1:] for row in rows}

    return judge


def test_a_text_is_written_and_judged(prose_model, tmp_path, trained_on, judge):
    verse, more = tmp_path / "verse.txt", tmp_path / "more.txt"
    verse.write_text(
        "".join(f"Line {'abcdefghij'[i % 10]} of verse\n\n" for i in range(99))
    )
    more.write_text("Another text")
    texts = ("--text", more, "--text", verse)
    options = ("--length", 200, "--temperatures", "0.7")
    title, rows = judge(trained_on(prose_model, verse), *texts, *options)
    assert "against verse, more; seed 1" in title
    assert rows["temperature 0.7"] == ["200", "0.000%", "below 40"]
    # The held-out verse repeats the rest: all of it is found.
    assert rows["held out"][1:] == ["100.000%", rows["held out"][0]]


def test_names_are_drawn_and_judged(names_model, trained_on, judge):
    title, rows = judge(trained_on(names_model, "dinos"), "--count", 30)
    assert "against dinos; seed 1" in title
    assert list(rows)[2:] == [f"temperature {x}" for x in ("0.5", "0.8", "1")] + [
        "held out"
    ]
    assert rows["temperature 1"][0] == "30"
    assert rows["temperature 1"][2] == "100.0%"
    assert rows["held out"][0] == rows["held out"][-1] == "132"


def test_an_unknown_text_is_asked_for(prose_model, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("Something else")
    with pytest.raises(BenchmarkError, match="give that file with --text"):
        novelty.find_corpus(load_model(prose_model), [str(other)])
