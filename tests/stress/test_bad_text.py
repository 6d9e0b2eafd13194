"""Any bytes as corpora and as prompts, trainings of tiny corpora, a huge vocabulary.

    nothing but `TextgenError` comes out: one short line, exit status 2
    a corpus is refused where it is no UTF-8 text long enough, or a table without the
    name of a column, and only there
    its ids decode to its text, normalised; its parts are the whole of it
    the output is the prompt, byte by byte, and exactly --length new characters
    on a terminal nothing comes out that steers it, on standard error neither
    JSON lines are ASCII, one object each, without lone surrogates

What is right is worked out here in the plainest way. The first two tests try many more
inputs, other ones each time, with ``--hypothesis-profile=long``.
"""

from __future__ import annotations

import collections
import contextlib
import io
import json
import math
import os
import re
import subprocess
import sys
import unicodedata
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from fakes import random_network
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textgen.cli import generate
from textgen.config import Config, WindowConfig
from textgen.data.corpus import load_corpus
from textgen.data.text_file import PIECE_BYTES
from textgen.data.vocabulary import Vocabulary
from textgen.errors import CorpusError
from textgen.generation import streaming
from textgen.saving.model_file import load_model
from textgen.saving.trained_model import TrainedModel
from textgen.system import terminal

MOST_LINE_CHARS = 700  # of a message: a path or two, and words
# What a terminal may obey: by Unicode's properties, not by the package's list.
STEERING_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
STEERING_CLASSES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS = {"\u200e", "\u200f", "\u061c"}  # the rest of Unicode's Bidi_Control


def check_line(message: str) -> None:
    assert len(message.splitlines()) == 1, f"not one line: {message[:500]!r}"
    assert len(message) <= MOST_LINE_CHARS, f"a line without end: {message[:500]!r}"


# Corpora


def normalised(data: bytes) -> str | None:
    """Return the text that a corpus' bytes must give, or None if they are no text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def check_corpus(path: Path, data: bytes, kind: str | None, held_out: float) -> None:
    path.write_bytes(data)
    text = normalised(data)
    try:
        corpus = load_corpus(path, kind)
    except CorpusError as error:
        check_line(str(error))
        is_table = kind is None and "looks like" in str(error)
        hopeless = text is None or len(text) < 2 or is_table
        no_line = kind == "lines" and not (text or "").strip("\n")
        if hopeless or no_line:
            return
        raise
    enough = text is not None and len(text) >= (1 if kind == "lines" else 2)
    assert enough, "no text, but it is accepted"
    assert kind in (None, corpus.kind), "another kind"
    if corpus.kind == "lines":
        text = "\n" + "".join(f"{line}\n" for line in text.split("\n") if line)
    vocabulary, ids = corpus.vocabulary, corpus.ids
    assert vocabulary.symbols == tuple(sorted(set(text))), "other symbols"
    assert vocabulary.decode(ids) == text, "ids that decode to another text"
    assert (vocabulary.encode(text) == ids).all(), "encode isn't decode's own"
    parts = vars(corpus.split(held_out)).values()
    training, measured = map(vocabulary.decode, parts)
    assert len(training) > 0, "nothing to train on"
    if corpus.kind == "text":
        assert training + measured == text, "the split is not the text"
        return
    kept, left, whole = (
        collections.Counter(filter(None, part.split("\n")))
        for part in (training, measured, text)
    )
    assert kept + left == whole, "the split is not the text"
    assert not kept.keys() & left.keys(), "a line on both sides"


# Prompts


def small_model(
    symbols: str, kind: str = "text", targets: str = "all", scale: float = 1
) -> TrainedModel:
    """Return a random network; it may draw every one of its symbols."""
    vocabulary = Vocabulary.from_text(symbols)
    network = random_network([4], len(vocabulary), scale=scale)
    config = Config(windows=WindowConfig(5, targets=targets))
    metadata = {"corpus": {"name": "sonnets", "kind": kind}}
    return TrainedModel(network, vocabulary, kind, config, metadata, None)


class Stream(io.TextIOWrapper):
    """A standard stream in memory, which may pass for a terminal."""

    def __init__(self, data: bytes = b"", on_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8", newline="\n")
        self.isatty = lambda: on_terminal

    def written(self) -> bytes:
        self.flush()
        return self.buffer.getvalue()


@dataclass
class PromptTrial:
    """The bytes of a prompt or of several, and how they are completed."""

    data: bytes
    model: TrainedModel = field(repr=False)
    way: str = "argument"  # or input, many, conversation
    on_terminal: bool = False
    jsonl: bool = False
    length: int = 5
    options: tuple[str, ...] = ()
    stop: str | None = None
    strict: bool = False

    def check(self) -> None:
        data = self.data
        if self.way in ("argument", "many"):
            data = data.replace(b"\0", b"")
        status, out, messages = self._complete(data)
        shown = out.decode(errors="surrogateescape")
        assert not (self.on_terminal and steers(shown)), "the terminal is steered"
        self._check_messages(status, messages.decode())
        if self.way == "conversation":
            assert status == 0, "the conversation ended"
            return
        prompts = lines_of(data) if self.way == "input" else [as_text(data)]
        refused = [p for p in prompts if self.strict and self._unknown(p)]
        if self.way == "many" and b"no more than 0 came" in messages:
            assert status == 2  # of a model that knows empty lines only
            return
        assert (status == 2) == bool(refused), f"status {status}"
        answered = prompts[: prompts.index(refused[0])] if refused else prompts
        if not self.jsonl:
            self._check_texts(shown, answered)
        elif not self.on_terminal:
            self._check_json(shown, answered)

    def _complete(self, data: bytes) -> tuple[int, bytes, bytes]:
        """Run the command in this process; return exit status and what it wrote."""
        arguments = ["--seed=1", f"--length={self.length}", *self.options]
        arguments += ["--strict"] * self.strict + ["--jsonl"] * self.jsonl
        arguments += ["--count=3"] * (self.way == "many")
        if self.stop is not None:
            stop = self.stop.encode(errors="surrogateescape")
            arguments.append(f"--stop={os.fsdecode(stop)}")
        typed, read = self.way == "conversation", data
        if self.way in ("argument", "many"):
            arguments.append(f"--prompt={os.fsdecode(data)}")
            read = b""
        out, err = (Stream(on_terminal=self.on_terminal) for _ in range(2))
        with (
            warnings.catch_warnings(),
            mock.patch.object(sys, "stdin", Stream(read, typed)),
            mock.patch.object(generate, "load_model_for", return_value=self.model),
            mock.patch.object(generate, "passed_over", return_value=""),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                terminal.run(partial(generate.main, arguments, "x", reader=None))
            except SystemExit as left:
                return left.code, out.written(), err.written()
        raise AssertionError("the command returned")

    def _unknown(self, prompt: str) -> bool:
        return not set(prompt) <= set(self.model.vocabulary.symbols)

    @staticmethod
    def _check_messages(status: int, messages: str) -> None:
        assert not steers(messages), "standard error steers the terminal"
        for line in messages.splitlines():
            check_line(line)
        errors = messages.count("\nerror: ") + messages.startswith("error: ")
        assert status in (0, 2), f"status {status}"
        assert errors == (status == 2), "not one line of error"

    def _check_texts(self, shown: str, prompts: list[str]) -> None:
        """Check completions that follow each other."""
        is_lines, at = self.model.makes_lines, 0
        # Whether completions are shown as they are, as long as they were asked for.
        has_end = self.model.end_id is not None or self.stop is not None
        exact = not (has_end or self.on_terminal)
        many, one = self.way == "many", self.way == "argument"
        if many and self.model.kind == "lines" and not shown:
            return  # there is not even one that isn't empty
        end = "\n" if one or (many and is_lines) else "\n\n"
        if many and prompts:
            shown, prompts = shown + end[1:], prompts * 3
        for prompt in map(visible, prompts) if self.on_terminal else prompts:
            if many and is_lines and at == len(shown):
                break  # there are no three different lines
            assert shown.startswith(prompt, at), "not the prompt as it was given"
            at += len(prompt)
            if is_lines:  # of which no completion has a line end
                size = shown.index(end, at) - at
            elif exact:
                size = self.length
                assert shown.startswith(end, at + size), "not --length new characters"
            else:
                return
            if not self.on_terminal:
                made = shown[at : at + size]
                assert len(made) <= self.length, "more than --length new characters"
                assert not self._unknown(made), "unknown symbols made"
            at += size + len(end)
        assert at == len(shown), "more than was asked for"

    def _check_json(self, shown: str, prompts: list[str]) -> None:
        assert shown.isascii(), "JSON that isn't ASCII"
        records = [json.loads(line) for line in shown.splitlines()]
        if self.way == "many":
            prompts = prompts * len(records)
        assert len(records) == len(prompts), "not a line for each completion"
        for record, prompt in zip(records, prompts, strict=True):
            text = re.sub("[\ud800-\udfff]", "\ufffd", prompt)
            assert record["prompt"] == text, "another prompt in JSON"
            made = record["completion"]
            assert not re.search("[\ud800-\udfff]", made), "surrogates in JSON"
            assert len(made) <= self.length, "more than --length characters"
            if self.model.end_id is None and self.stop is None:
                assert len(made) == self.length, "not --length new characters"
            assert self.stop is None or self.stop not in made, "beyond --stop"


def as_text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def lines_of(data: bytes) -> list[str]:
    """Return the prompts that standard input holds."""
    text = as_text(data).removeprefix("\ufeff")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if text.endswith("\n") or not text else lines


def is_steering(symbol: str) -> bool:
    return symbol not in "\n\t" and (
        unicodedata.category(symbol) in STEERING_CATEGORIES
        or unicodedata.bidirectional(symbol) in STEERING_CLASSES
        or symbol in MARKS
        or "\u206a" <= symbol <= "\u206f"
    )


def steers(text: str) -> bool:
    return any(map(is_steering, set(text)))


def visible(text: str) -> str:
    """Return a text as a terminal must show it."""
    return "".join(
        c.encode("unicode_escape").decode() if is_steering(c) else c for c in text
    )


# Random inputs

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
    st.sampled_from(["--top-k=1", "--top-k=3", f"--top-k={2**31}"]),
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
@given(
    BYTES,
    st.sampled_from([None, "lines", "text"]),
    st.sampled_from([0, 0.1, 0.5, 0.999]),
)
def test_a_corpus_is_refused_in_a_line_or_nothing_of_it_is_lost(
    folder, data, kind, part
):
    check_corpus(folder / "corpus.txt", data, kind, part)


@thorough
@given(trial=PROMPTS)
@example(PromptTrial(b"\xef\xbb", small_model("ab"), "input"))
@example(PromptTrial(b"\xef\xbb\xbf", small_model("ab"), "input"))
@example(PromptTrial(b"a\r\r\n\r", small_model("ab"), "input"))
def test_a_prompt_begins_what_comes_out_or_is_refused_in_a_line(trial):
    if trial.way == "conversation":
        trial.on_terminal, trial.jsonl, trial.strict = True, False, False
    trial.check()


@settings(max_examples=15, deadline=60_000)
@given(BYTES.filter(bool), st.integers(0, 9))
def test_a_corpus_longer_than_what_is_read_at_once(folder, data, shift):
    data = b"x" * shift + data * (PIECE_BYTES // len(data) + 9)
    check_corpus(folder / "long.txt", data, None, 0.1)


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


@pytest.mark.long
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
