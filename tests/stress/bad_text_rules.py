"""What must hold when any bytes come as a corpus or as a prompt.

    nothing but `TextgenError` comes out: one short line, exit status 2
    a corpus is refused where it is no UTF-8 text long enough, and only there
    its ids decode to its text, normalised; split and windows lose and add nothing
    the output is the prompt, byte by byte, and exactly --length new characters
    on a terminal nothing comes out that steers it, on standard error neither
    JSON lines are ASCII, one object each, without lone surrogates

What is right is worked out here in the plainest way. `test_bad_text.py` tries the rules
on random inputs.
"""

from __future__ import annotations

import collections
import contextlib
import io
import json
import os
import re
import sys
import unicodedata
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
from fakes import random_network

from textgen.cli import generate
from textgen.config import Config, WindowConfig
from textgen.data.corpus import Corpus, load_corpus
from textgen.data.vocabulary import Vocabulary
from textgen.data.windows import make_windows
from textgen.errors import CorpusError
from textgen.saving.trained_model import TrainedModel
from textgen.system import terminal

MOST_LINE_CHARS = 700  # of a message: a path or two, and words
# What a terminal may obey: by Unicode's properties, not by the package's list.
STEERING_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
STEERING_CLASSES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS = {"\u200e", "\u200f", "\u061c"}  # the rest of Unicode's Bidi_Control


def must(holds: bool, rule: str) -> None:
    assert holds, rule


def check_line(message: str) -> None:
    must(len(message.splitlines()) == 1, f"not one line: {message[:500]!r}")
    must(len(message) <= MOST_LINE_CHARS, f"a line without end: {message[:500]!r}")


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


@dataclass
class CorpusTrial:
    """The bytes of a corpus, and what is done with it."""

    data: bytes = field(repr=False)
    kind: str | None = None
    held_out: float = 0.1
    windows: WindowConfig = WindowConfig(4)  # noqa: RUF009
    batch_size: int = 4

    def outcome(self, folder: Path) -> str:
        """Return ``done`` or ``refused``; raise what is wrong."""
        path = folder / "corpus.txt"
        path.write_bytes(self.data)
        text = normalised(self.data)
        try:
            corpus = load_corpus(path, self.kind)
        except CorpusError as error:
            check_line(str(error))
            hopeless = text is None or len(text) < 2
            no_line = self.kind == "lines" and not (text or "").strip("\n")
            must(hopeless or no_line, f"a good corpus is refused: {error}")
            return "refused"
        enough = text is not None and len(text) >= (1 if self.kind == "lines" else 2)
        must(enough, "no text, but it is accepted")
        must(self.kind in (None, corpus.kind), "another kind")
        if corpus.kind == "lines":
            text = "\n" + "".join(f"{line}\n" for line in text.split("\n") if line)
        vocabulary, ids = corpus.vocabulary, corpus.ids
        must(vocabulary.symbols == tuple(sorted(set(text))), "other symbols")
        must(vocabulary.decode(ids) == text, "ids that decode to another text")
        must((vocabulary.encode(text) == ids).all(), "encode isn't decode's own")
        return "done" if self._check_parts(corpus, text) else "refused"

    def _check_parts(self, corpus: Corpus, text: str) -> bool:
        """Check split and windows; return False if it is too short for a window."""
        split, decode = corpus.split(self.held_out), corpus.vocabulary.decode
        training, held_out = decode(split.training), decode(split.held_out)
        must(len(training) > 0, "nothing to train on")
        end_id, too_short = None, len(training) <= self.windows.seq_length
        if corpus.kind == "text":
            must(training + held_out == text, "the split is not the text")
        else:
            end_id, too_short = int(corpus.vocabulary.encode("\n")[0]), False
            kept, measured, whole = (
                collections.Counter(filter(None, part.split("\n")))
                for part in (training, held_out, text)
            )
            must(kept + measured == whole, "the split is not the text")
            must(not kept.keys() & measured.keys(), "a line on both sides")
        try:
            windows = make_windows(
                split.training, corpus.kind, self.windows, self.batch_size, 0, end_id
            )
        except CorpusError as error:
            check_line(str(error))
            must(too_short, f"long enough for windows, but refused: {error}")
            return False
        must(not too_short, "too short for windows, but accepted")
        self._check_windows(windows, split.training, corpus, training)
        return True

    def _check_windows(self, windows, ids, corpus: Corpus, text: str) -> None:
        counted = []
        steps = windows.steps_per_epoch
        for step in range(min(steps, 100)):
            inputs, targets, weights = windows.batch(0, step)
            real = weights > 0
            counted.append(targets[real])
            row = int(np.flatnonzero(real.any(axis=1))[0])
            length = int(np.flatnonzero(real[row])[-1]) + 1
            symbols = [*inputs[row, :length], targets[row, length - 1]]
            window = corpus.vocabulary.decode(symbols)
            must(window in text, "a window that is not in the text")
        is_lines, config = corpus.kind == "lines", self.windows
        each = config.targets == "last" and config.stride in (None, 1)
        if steps <= 100 and (each or (is_lines and config.targets == "all")):
            expected = np.sort(ids[1 if is_lines else config.seq_length :])
            found = np.sort(np.concatenate(counted))
            must(np.array_equal(found, expected), "targets lost or added")


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

    def outcome(self) -> str:
        """Return ``done`` or ``refused``; raise what is wrong."""
        data = self.data
        if self.way in ("argument", "many"):
            data = data.replace(b"\0", b"")
        status, out, messages = self._complete(data)
        shown = out.decode(errors="surrogateescape")
        must(not (self.on_terminal and steers(shown)), "the terminal is steered")
        self._check_messages(status, messages.decode())
        if self.way == "conversation":
            must(status == 0, "the conversation ended")
            return "done"
        prompts = lines_of(data) if self.way == "input" else [as_text(data)]
        refused = [p for p in prompts if self.strict and self._unknown(p)]
        must((status == 2) == bool(refused), f"status {status}")
        answered = prompts[: prompts.index(refused[0])] if refused else prompts
        if self.jsonl:
            self._check_json(shown, answered)
        else:
            self._check_texts(shown, answered)
        return "refused" if refused else "done"

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
        must(not steers(messages), "standard error steers the terminal")
        for line in messages.splitlines():
            check_line(line)
        errors = messages.count("\nerror: ") + messages.startswith("error: ")
        must(status in (0, 2), f"status {status}")
        must(errors == (status == 2), "not one line of error")

    def _check_texts(self, shown: str, prompts: list[str]) -> None:
        """Check completions that follow each other."""
        is_lines, at = self.model.kind == "lines", 0
        # Whether completions are shown as they are, as long as they were asked for.
        exact = not (is_lines or self.stop is not None or self.on_terminal)
        many, one = self.way == "many", self.way == "argument"
        end = "\n" if one or (many and is_lines) else "\n\n"
        if many and prompts:
            shown, prompts = shown + end[1:], prompts * 3
        for prompt in map(visible, prompts) if self.on_terminal else prompts:
            if many and is_lines and at == len(shown):
                break  # there are no three different lines
            must(shown.startswith(prompt, at), "not the prompt as it was given")
            at += len(prompt)
            if is_lines:  # of which no completion has a line end
                size = shown.index(end, at) - at
            elif exact:
                size = self.length
                must(shown.startswith(end, at + size), "not --length new characters")
            else:
                return
            if not self.on_terminal:
                made = shown[at : at + size]
                must(len(made) <= self.length, "more than --length new characters")
                must(not self._unknown(made), "unknown symbols made")
            at += size + len(end)
        must(at == len(shown), "more than was asked for")

    def _check_json(self, shown: str, prompts: list[str]) -> None:
        if self.on_terminal:
            return
        must(shown.isascii(), "JSON that isn't ASCII")
        records = [json.loads(line) for line in shown.splitlines()]
        if self.way == "many":
            prompts = prompts * len(records)
        must(len(records) == len(prompts), "not a line for each completion")
        for record, prompt in zip(records, prompts, strict=True):
            text = re.sub("[\ud800-\udfff]", "\ufffd", prompt)
            must(record["prompt"] == text, "another prompt in JSON")
            made = record["completion"]
            must(not re.search("[\ud800-\udfff]", made), "surrogates in JSON")
            must(len(made) <= self.length, "more than --length characters")
            if self.model.kind == "text" and self.stop is None:
                must(len(made) == self.length, "not --length new characters")
            must(self.stop is None or self.stop not in made, "beyond --stop")


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
