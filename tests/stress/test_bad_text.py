"""Any bytes as corpora and as prompts, trainings of tiny corpora, a huge vocabulary.

The rules are those of `bad_text_rules.py`. The first two tests try many more inputs,
other ones each time, with ``--hypothesis-profile=long``.
"""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bad_text_rules import (
    CorpusTrial,
    PromptTrial,
    check_line,
    small_model,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textgen.config import WindowConfig
from textgen.data.text_file import PIECE_CHARS
from textgen.errors import CorpusError
from textgen.generation import streaming
from textgen.saving.model_file import load_model

ROOT = Path(__file__).parents[2]
MANY_SYMBOLS = 100_000
PIECES = (
    *"abz AB.,'-\n\r\0\t\b\x0c\x7f\x85\x9b\u2028\u202d\u2066\u200f\u206a\ufff9“ﬁŒ",
    *("\r\n", "\n\n", "/help more\n", "\ufeff", "e\u0301\u0316\u20dd", "o\u0308\u1ab0"),
    *("😀", "👩‍👩‍👧", "👍🏽", "❤️", "אבג\u05b8", "عربي\u064b", "abc\u202e", "\ufdfa"),
    *("\x1b[2J", "\x1b]0;owned\x07", "\x9b31m", "\x1bP1;1|\x1b\\"),
)
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.text(st.sampled_from("ab\n") | st.sampled_from(" \r\n"), max_size=200),
    st.text(st.characters(exclude_categories=("Cs",))),
)
SPOILING = st.sampled_from([b"\xef\xbb\xbf", b"\xef\xbb", b"\xed\xa0\x80", b"\xff\0"])
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "cp1252")
BYTES = st.one_of(
    TEXTS.map(str.encode),
    st.binary(),
    st.builds(lambda text, at: text.encode()[:at], TEXTS, st.integers(0, 99)),
    st.tuples(TEXTS.map(str.encode), SPOILING, TEXTS.map(str.encode)).map(b"".join),
    st.builds(lambda x, to: x.encode(to, "replace"), TEXTS, st.sampled_from(ENCODINGS)),
)
CORPORA = st.builds(
    CorpusTrial,
    BYTES,
    kind=st.sampled_from([None, "lines", "text"]),
    held_out=st.sampled_from([0, 0.1, 0.5, 0.999]),
    windows=st.builds(
        WindowConfig,
        st.sampled_from([1, 2, 4, 64]),
        st.none() | st.integers(1, 9),
        st.sampled_from(["all", "last"]),
    ),
    batch_size=st.integers(1, 33),
)


MODELS = st.builds(
    lambda symbols, kind, *how: small_model(
        symbols + "\n" * (kind == "lines"), kind, *how
    ),
    TEXTS.filter(bool),
    st.sampled_from(["text", "lines"]),
    st.sampled_from(["all", "last"]),
    st.sampled_from([0.1, 1, 3]),
)
OPTIONS = st.tuples(
    st.sampled_from(["--temperature=0", "--temperature=0.5", "--temperature=100"]),
    st.sampled_from(["--top-k=1", "--top-k=3", f"--top-k={2**31}", "--top-p=1"]),
    st.sampled_from(["--top-p=1e-9", "--top-p=0.5", "--top-p=1"]),
)


PROMPTS = st.builds(
    PromptTrial,
    BYTES,
    MODELS,
    st.sampled_from(["argument", "input", "many", "conversation"]),
    on_terminal=st.booleans(),
    jsonl=st.booleans(),
    length=st.sampled_from([1, 2, 9, 20]),
    options=OPTIONS,
    stop=st.none() | TEXTS.map(lambda text: text.replace("\0", "x")[:3] or None),
    strict=st.booleans(),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("corpora")


# An input that takes more than a minute breaks a rule, too.
thorough = settings(max_examples=max(250, settings().max_examples), deadline=60_000)


@thorough
@given(trial=CORPORA)
def test_a_corpus_is_refused_in_a_line_or_nothing_of_it_is_lost(folder, trial):
    assert trial.outcome(folder) in ("done", "refused")


@thorough
@given(trial=PROMPTS)
@example(PromptTrial(b"\xef\xbb", small_model("ab"), "input"))
@example(PromptTrial(b"\xef\xbb\xbf", small_model("ab"), "input"))
@example(PromptTrial(b"a\r\r\n\r", small_model("ab"), "input"))
def test_a_prompt_begins_what_comes_out_or_is_refused_in_a_line(trial):
    if trial.way == "conversation":
        trial.on_terminal, trial.jsonl, trial.strict = True, False, False
    assert trial.outcome() in ("done", "refused")


@settings(max_examples=15, deadline=60_000)
@given(BYTES.filter(bool), st.integers(0, 9))
def test_a_corpus_longer_than_what_is_read_at_once(folder, data, shift):
    data = b"x" * shift + data * (PIECE_CHARS // len(data) + 9)
    assert CorpusTrial(data).outcome(folder) in ("done", "refused")


# Trainings of tiny corpora, and a vocabulary that isn't


TINY = {"steps": 2, "layers": 1, "units": 3, "embedding": 2, "batch_size": 4}
PROMPT = "ab ☃\x1b\u202e\n"


def learned(path: Path, text: str, kind: str, **options):
    """Train on a corpus and open the result, or return what was said instead."""
    from textgen.training.pipeline import train

    path.write_text(text, "utf-8", newline="")
    try:
        output = train(
            path, kind=kind, output=path.with_suffix(".h5"), **TINY, **options
        )
    except CorpusError as error:
        check_line(str(error))
        assert [*path.parent.iterdir()] == [path]
        return str(error)
    return load_model(output)


def completed(model: Path, prompt: bytes, *options: str) -> tuple[bytes, list[str]]:
    """Complete standard input by 7 characters; return what was added, and messages."""
    command = [sys.executable, ROOT / "generate.py", "--model", model, "--length", "7"]
    command += ["--seed", "1", *options]
    done = subprocess.run(command, input=prompt, capture_output=True)
    assert done.returncode == 0
    assert done.stdout.startswith(prompt.rstrip(b"\r\n"))
    return done.stdout[len(prompt) :], done.stderr.decode().splitlines()


@pytest.mark.parametrize("kind", ["text", "lines"])
@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("ab", {"seq_length": 1}),
        ("hello you.", {"seq_length": 4, "targets": "last", "held_out": 0}),
        ("\ufeffone two\r\nthree\r\nno final newline at all, none", {}),
        ("😀e\u0301\u202eאב\x1b[2J\n" * 20, {"held_out": 0.2}),
    ],
)
@pytest.mark.filterwarnings(
    "ignore::textgen.generation.streaming.UnknownSymbolsWarning"
)
def test_a_tiny_corpus_is_learned_and_completed(tmp_path, text, kind, options):
    model = learned(tmp_path / "tiny.txt", text, kind, **{"seq_length": 8} | options)
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    symbols = set(plain) | ({"\n"} if kind == "lines" else set())
    assert model.vocabulary.symbols == tuple(sorted(symbols))
    nats = model.metadata["training"]["held_out_nats_per_char"]
    assert nats is None or 0 <= nats <= 2 * math.log(max(2, len(symbols)))
    whole = streaming.generate_output(model, PROMPT, length=9, seed=1)
    made = whole.removeprefix(PROMPT)
    assert (whole, set(made) <= symbols) == (PROMPT + made, True)
    assert len(made) == 9 or (kind == "lines" and len(made) < 9)


@pytest.mark.parametrize("kind", ["text", "lines"])
@pytest.mark.parametrize(("text", "window"), [("a", 1), ("\n\n", 64), ("abc", 64)])
def test_what_is_too_short_is_refused_and_leaves_nothing(tmp_path, text, window, kind):
    said = learned(tmp_path / "short.txt", text, kind, seq_length=window)
    if text != "\n\n" and kind == "lines":
        assert said.vocabulary.symbols == tuple(f"\n{text}")
    else:
        assert said.startswith("expected ")


@pytest.mark.slow
def test_a_hundred_thousand_symbols_are_learned_and_completed(tmp_path):
    codes = np.random.default_rng(2).permutation(np.r_[1:0xD800, 0xE000:0x20000])
    text = "".join(map(chr, codes[:MANY_SYMBOLS].tolist()))
    model = learned(tmp_path / "many.txt", text, "text", seq_length=4, held_out=0)
    # Carriage returns were taken for the ends of lines.
    assert len(model.vocabulary) == len(set(text) - {"\r"} | {"\n"})
    prompt = text.replace("\n", "").replace("\r", "")[:50_000]
    added, messages = completed(model.path, prompt.encode(), "--strict")
    assert (len(added.decode()), added[-2:], len(messages)) == (7 + 2, b"\n\n", 1)


def test_a_megabyte_of_any_symbols_on_standard_input(prose_model):
    codes = np.random.default_rng(3).integers(0x20, 0xD800, 360_000)
    prompt = "".join(map(chr, codes.tolist())).encode() + b"\xff\0\xf0\x9f\r"
    assert len(prompt) > 1 << 20
    added, (_, note) = completed(prose_model, prompt + b"\r\n")
    assert len(added) == 7
    assert "more" in note
    assert len(note) < 400
