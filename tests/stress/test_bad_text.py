"""Bad corpora and bad prompts: properties, the script that tries many, trainings.

The rules are those of `try_bad_text.py`; what each module makes of bad text is tested
with the module.
"""

import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import try_bad_text as script
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textgen.cli import chat as interactive
from textgen.cli import printing
from textgen.config import WindowConfig
from textgen.data import corpus, windows
from textgen.data.corpus import Corpus, Split
from textgen.data.vocabulary import Vocabulary
from textgen.errors import CorpusError, OptionError
from textgen.generation import streaming as generation
from textgen.saving.model_file import load_model
from textgen.system import terminal

SYMBOLS = st.characters(exclude_categories=("Cs",))
TRICKY = st.lists(
    st.sampled_from(
        (*script.SEQUENCES, "a", "b", "\n", "\r", "é", "e\u0301", "😀", "ا")
    )
).map("".join)
TEXTS = st.text(SYMBOLS) | TRICKY
BYTES = st.binary() | st.tuples(
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff", b"\0"]), TEXTS.map(str.encode)
).map(b"".join)


@pytest.fixture(scope="module")
def command():
    return script.generate


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("corpora")


# Properties


@given(
    data=BYTES,
    kind=st.sampled_from([None, "lines", "text"]),
    held_out=st.sampled_from([0, 0.1, 0.5, 0.999]),
    window=st.builds(
        WindowConfig,
        st.integers(1, 8),
        st.none() | st.integers(1, 9),
        st.sampled_from(["all", "last"]),
    ),
    batch_size=st.integers(1, 9),
)
def test_a_corpus_is_refused_in_a_line_or_nothing_of_it_is_lost(
    folder, data, kind, held_out, window, batch_size
):
    trial = script.CorpusTrial(data, kind, held_out, window, batch_size)
    assert trial.outcome(folder) in ("done", "refused")


@given(st.text(SYMBOLS, min_size=2, max_size=200))
def test_every_text_of_two_characters_is_a_corpus(folder, text):
    text = text.replace("\0", "x")
    path = folder / "any.txt"
    path.write_text(text, "utf-8", newline="")
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if len(plain) > 1:
        loaded = corpus.load_corpus(path, "text")
        assert loaded.vocabulary.decode(loaded.ids) == plain


MODELS = st.builds(
    lambda symbols, kind, targets, seed: script.small_model(
        symbols + "\n" * (kind == "lines"), kind, targets, seed
    ),
    st.text(SYMBOLS, min_size=1) | TRICKY.filter(bool),
    st.sampled_from(["text", "lines"]),
    st.sampled_from(["all", "last"]),
    st.integers(0, 9),
)
MARKLESS = script.small_model("ab", "text", "all", 0)


@settings(max_examples=150)
@given(
    data=BYTES,
    model=MODELS,
    way=st.sampled_from(["argument", "input", "conversation"]),
    length=st.integers(1, 9),
    stop=st.none() | st.text(SYMBOLS, min_size=1, max_size=3),
    on_terminal=st.booleans(),
    jsonl=st.booleans(),
    strict=st.booleans(),
)
@example(b"\xef\xbb", MARKLESS, "input", 2, None, False, False, False)
@example(b"\xef\xbb\xbf", MARKLESS, "input", 2, None, False, False, False)
@example(b"a\r\r\n\r", MARKLESS, "input", 2, None, False, True, False)
def test_a_prompt_begins_what_comes_out_or_is_refused_in_a_line(
    command, data, model, way, length, stop, on_terminal, jsonl, strict
):
    typed = way == "conversation"
    trial = script.PromptTrial(
        data,
        model,
        way,
        typed or on_terminal,
        jsonl and not typed,
        length,
        stop=stop and stop.replace("\0", "x"),
        strict=strict and not typed,
    )
    assert trial.outcome(command) in ("done", "refused")


@given(st.text(SYMBOLS, min_size=1), st.text(st.characters(exclude_categories=())))
def test_the_library_takes_any_text_for_a_prompt(known, prompt):
    model = script.small_model(known, "text", "all", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation.warnings, "warn", lambda *_, **__: None)
        text = generation.generate_output(model, prompt, length=7, seed=0)
    assert text.startswith(prompt)
    assert len(text) == len(prompt) + 7
    assert set(text[len(prompt) :]) <= set(known)


# The script


def test_some_hundred_bad_inputs():
    command = [sys.executable, script.__file__, "--count", "300", "--seed", "9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bad inputs tried: 300" in done.stdout
    assert "failures: 0" in done.stdout


def test_a_seed_repeats_its_inputs():
    rngs = [np.random.default_rng((1, n)) for n in [*range(50)] * 2]
    made = [script.any_bytes(rng) for rng in rngs]
    assert made[:50] == made[50:]
    assert len(set(made)) > 30


def trained_on(data: bytes, kind: str | None = "text", **options):
    return script.CorpusTrial(data, kind, **options)


def prompted(data: bytes, **options):
    options = {"model": script.small_model("ab\x1b", "text", "all", 0)} | options
    return script.PromptTrial(data, **options)


def altered(owner, name, change):
    """Return a patch: the result of a function or method is changed."""
    original = getattr(owner, name)
    return owner, name, lambda *args, **options: change(original(*args, **options))


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def swapped(gathered):
    """Take inputs for targets and targets for inputs."""
    lengths, batch = gathered
    return lengths, batch._replace(inputs=batch.targets, targets=batch.inputs)


@pytest.mark.parametrize(
    ("trial", "patch", "rule"),
    [
        (
            trained_on(b"some text"),
            altered(Vocabulary, "decode", lambda text: text[::-1]),
            "ids that decode to another text",
        ),
        (
            trained_on(b"a\r\nb"),
            (corpus, "text_pieces", lambda path: iter([path.read_bytes().decode()])),
            "other symbols",
        ),
        (
            trained_on(b"good"),
            (script, "load_corpus", failing(CorpusError("expected better"))),
            "a good corpus is refused",
        ),
        (
            trained_on(b"bad\n\n"),
            (script, "load_corpus", failing(CorpusError("line\nline"))),
            "not one line",
        ),
        (
            trained_on(b"a\0b"),
            (corpus, "text_pieces", lambda path: iter([path.read_text()])),
            "no text, but it is accepted",
        ),
        (
            trained_on(b"some text"),
            (Corpus, "split", lambda self, _: Split(self.ids[:-1], self.ids[:0])),
            "the split is not the text",
        ),
        (
            trained_on(b"a\nb\n", "lines"),
            (Corpus, "split", lambda self, _: Split(self.ids, self.ids)),
            "the split is not the text",
        ),
        (
            trained_on(b"some text", windows=WindowConfig(3)),
            altered(windows.TextWindows, "_gather", swapped),
            "a window that is not in the text",
        ),
        (
            trained_on(b"abcdefghi", windows=WindowConfig(3, targets="last")),
            altered(
                windows.TextWindows,
                "_locate",
                lambda located: (np.maximum(located[0] - 1, 0), located[1]),
            ),
            "targets lost or added",
        ),
        (
            trained_on(b"abc"),
            (script, "make_windows", failing(ZeroDivisionError())),
            "ZeroDivisionError",
        ),
        (
            prompted(b"\x1b[2J", on_terminal=True),
            (terminal, "printable", str),
            "the terminal is steered",
        ),
        (
            prompted(b"\x1b[2J", on_terminal=True, strict=True),
            (terminal, "one_line", lambda text: "\x1b" + text),
            "standard error steers the terminal",
        ),
        (
            prompted(b"a\xff", jsonl=True),
            (printing.json, "dumps", lambda record: '{"prompt": "a"}'),
            "another prompt in JSON",
        ),
        (
            prompted(b"a\xff", jsonl=True),
            (printing, "LONE_SURROGATES", re.compile("none")),
            "another prompt in JSON",
        ),
        (
            prompted(b"a", jsonl=True, stop="b"),
            (printing, "stream_completion", lambda *_, **__: "ab"),
            "beyond --stop",
        ),
        (
            prompted(b"\x1b\n", way="conversation", on_terminal=True),
            (interactive, "writer", lambda stream: stream.write),
            "the terminal is steered",
        ),
        (
            prompted(b"a\n\nb", way="input"),
            altered(printing, "lines_from", lambda lines: [*lines][::-1]),
            "not the prompt as it was given",
        ),
        (
            prompted(b"ab", length=9),
            altered(printing, "stream_completion", lambda made: [*made][:-1]),
            "not --length new characters",
        ),
        (
            prompted(b"ab", length=9),
            altered(printing, "stream_completion", lambda made: "x" * len([*made])),
            "unknown symbols made",
        ),
        (
            prompted(b"ab"),
            (printing, "stream_completion", failing(ZeroDivisionError())),
            "ZeroDivisionError",
        ),
        (
            prompted(b"ab"),
            (printing, "stream_completion", failing(OptionError("why not"))),
            "status 2",
        ),
        (
            prompted(b"\xff", strict=True),
            (printing, "stream_completion", failing(OptionError("no " * 999))),
            "a line without end",
        ),
        (trained_on(b"some text"), (script, "MOST_SECONDS", -1), "too slow"),
    ],
)
def test_broken_rules_are_noticed(trial, patch, rule, command, folder, monkeypatch):
    place = folder if isinstance(trial, script.CorpusTrial) else command
    assert script.broken_rule(trial, place)[1] == ""
    monkeypatch.setattr(*patch)
    came, broken = script.broken_rule(trial, place)
    assert came == "broken"
    assert rule in broken


def test_what_breaks_a_rule_is_kept_and_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(script, "small_models", lambda: [prompted(b"").model])
    assert script.attempt(20, None, 0) == 0
    assert [*tmp_path.iterdir()] == []
    # What no corpus' text is: all good ones are broken, and no prompt.
    monkeypatch.setattr(script, "in_form", lambda text, kind: text + "more")
    broken = script.attempt(20, None, 0)
    printed = capsys.readouterr().out
    assert 0 < broken <= 10
    assert f"failures: {broken}\n" in printed
    kept = [*tmp_path.iterdir()]
    assert len(kept) == broken
    assert all(f"{path}: CorpusTrial(" in printed for path in kept)


# Trainings of tiny corpora, and a vocabulary that isn't


TINY = {"steps": 2, "layers": 1, "units": 3, "embedding": 2, "batch_size": 4}
PROMPT = "ab ☃\x1b\u202e\n"


def learned(path: Path, kind: str, **options):
    """Train on a corpus and open the result, or return what was said instead."""
    from textgen.training.pipeline import train

    output = path.with_suffix(".h5")
    try:
        assert train(path, kind=kind, output=output, **TINY, **options) == output
    except CorpusError as error:
        script.check_line(str(error))
        assert [*path.parent.iterdir()] == [path]
        return str(error)
    return load_model(output)


@pytest.mark.parametrize("kind", ["text", "lines"])
@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("ab", {"seq_length": 1}),
        ("a\nb", {"seq_length": 1, "held_out": 0}),
        ("hello you.", {"seq_length": 4, "targets": "last"}),
        ("a" * 57, {"seq_length": 4, "held_out": 0.2}),
        ("\ufeffone two\r\nthree\r\nno final newline at all, none", {}),
        ("😀e\u0301\u202eאב\x1b[2J\n" * 20, {"held_out": 0.2}),
    ],
)
@pytest.mark.filterwarnings(
    "ignore::textgen.generation.streaming.UnknownSymbolsWarning"
)
def test_a_tiny_corpus_is_learned_and_completed(tmp_path, text, kind, options):
    path = tmp_path / "tiny.txt"
    path.write_text(text, "utf-8", newline="")
    model = learned(path, kind, **{"seq_length": 8} | options)
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    symbols = set(plain) | ({"\n"} if kind == "lines" else set())
    assert model.vocabulary.symbols == tuple(sorted(symbols))
    weights = [model.network.dense_kernel, model.network.layers[0].kernel]
    assert all(np.isfinite(array).all() for array in weights)
    nats = model.metadata["training"]["held_out_nats_per_char"]
    assert nats is None or 0 <= nats <= 2 * math.log(max(2, len(symbols)))
    whole = generation.generate_output(model, PROMPT, length=9, seed=1)
    made = whole.removeprefix(PROMPT)
    assert whole == PROMPT + made
    assert set(made) <= symbols
    assert len(made) == 9 or (kind == "lines" and len(made) < 9)


@pytest.mark.parametrize("kind", ["text", "lines"])
@pytest.mark.parametrize(("text", "window"), [("a", 1), ("\n\n", 64), ("abc", 64)])
def test_what_is_too_short_is_refused_and_leaves_nothing(tmp_path, text, window, kind):
    path = tmp_path / "short.txt"
    path.write_text(text)
    said = learned(path, kind, seq_length=window)
    if text != "\n\n" and kind == "lines":
        assert said.vocabulary.symbols == tuple(f"\n{text}")
    else:
        assert said.startswith("expected ")


def test_every_length_from_2_to_200_is_cut_into_windows_or_refused(folder):
    for length in range(2, 201):
        text = (b"a" if length % 2 else b"the cat sat.\n") * length
        trial = script.CorpusTrial(text[:length], "text", windows=WindowConfig(64))
        # Nine tenths are trained on, and windows are of 65 symbols with the last one.
        assert (trial.outcome(folder) == "refused") == (length * 0.9 < 65)
        trial.kind = "lines"
        assert trial.outcome(folder) == "done"


@pytest.mark.parametrize("kind", ["text", "lines"])
def test_a_hundred_thousand_symbols_are_prepared(folder, kind):
    data = script.many_symbols(np.random.default_rng(1))
    assert len(set(data.decode())) == script.MANY_SYMBOLS
    assert script.CorpusTrial(data, kind).outcome(folder) == "done"


@pytest.mark.slow
def test_a_hundred_thousand_symbols_are_learned_and_completed(tmp_path):
    data = script.many_symbols(np.random.default_rng(2))
    path = tmp_path / "many.txt"
    path.write_bytes(data)
    model = learned(path, "text", seq_length=4, held_out=0)
    # Carriage returns were taken for the ends of lines.
    assert len(model.vocabulary) == len(set(data.decode()) - {"\r"} | {"\n"})
    prompt = data.decode().replace("\n", "").replace("\r", "")[:50_000]
    command = [sys.executable, str(script.ROOT / "generate.py"), "--strict"]
    command += ["--model", str(model.path), "--length", "7", "--seed", "1"]
    done = subprocess.run(command, input=prompt.encode(), capture_output=True)
    assert (done.returncode, done.stderr.count(b"\n")) == (0, 1)
    shown = done.stdout.decode()
    assert shown.startswith(prompt)
    assert shown.endswith("\n\n")
    assert len(shown) == len(prompt) + 7 + 2


def test_a_megabyte_of_any_symbols_on_standard_input(prose_model):
    rng = np.random.default_rng(3)
    codes = rng.integers(0x20, 0xD800, 360_000)
    prompt = "".join(map(chr, codes.tolist())).encode() + b"\xff\0\xf0\x9f\r"
    assert len(prompt) > script.MEGABYTE
    command = [sys.executable, str(script.ROOT / "generate.py")]
    command += ["--model", str(prose_model), "--length", "7", "--seed", "1"]
    done = subprocess.run(command, input=prompt + b"\r\n", capture_output=True)
    assert done.returncode == 0
    assert done.stdout.startswith(prompt)
    assert len(done.stdout) == len(prompt) + 7 + 2
    _, note = done.stderr.decode().splitlines()
    assert "more" in note
    assert len(note) < 400
