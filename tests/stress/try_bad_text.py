"""Try bad corpora and bad prompts at random, and see that each has a right outcome.

    python tests/try_bad_text.py --count 20000 --seed 1
    python tests/try_bad_text.py --seconds 600

Every other input is the bytes of a corpus, which is loaded, split and cut into windows;
the others are prompts, as the bytes of an argument, of standard input or of what is
typed on a terminal, which `generate.py` completes with small random networks, its
`main` running in this process. What must hold:

    nothing but `TextgenError` comes out: one short line, exit status 2
    a corpus is refused where it is no UTF-8 text of two characters, and only there
    its ids decode to its text, normalised; split and windows lose and add nothing
    the output is the prompt, byte by byte, and exactly --length new characters
    on a terminal nothing comes out that steers it, on standard error neither
    JSON lines are ASCII, one object each, without lone surrogates

What is right is worked out here, in the plainest way. An input that breaks a rule is
kept, its path is printed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import os
import sys
import tempfile
import time
import traceback
import unicodedata
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from textgen.cli import generate
from textgen.config import Config, WindowConfig
from textgen.data.corpus import Corpus, load_corpus
from textgen.data.text_file import PIECE_CHARS
from textgen.data.vocabulary import Vocabulary
from textgen.data.windows import make_windows
from textgen.errors import CorpusError, TextgenError
from textgen.inference.weights import LSTMWeights, Network
from textgen.saving.trained_model import TrainedModel
from textgen.system import terminal

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 60  # of processor time: the machine may have other work
MOST_LINE_CHARS = 700  # of a message: a path or two, and words
MANY_SYMBOLS = 100_000
MEGABYTE = 1 << 20
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz ABC.,;!'-\n",
    "a",
    "\n",
    " \n",
    "\r\n",
    "ab\r\n",
    "😀👩‍👩‍👧👍🏽🏴󠁧󠁢󠁥󠁮󠁧󠁿❤️",
    "e\u0301\u0316\u20ddo\u0308\u1ab0",
    "אבג\u05b8 عربي\u064b\u200f\u061c",
    "abc\u202e\u202d\u2066\u2069\u200e",
    "\x1b[]2J;0m\x07\x08\x0c\x7f",
    "\x80\x85\x9b\x9d\x9c2Jm\u2028\u2029\u206a\ufff9",
    "“É’—…ﬁßŒ\u00a0\ufdfa",
    "\ufeffa\n",
    "a\0",
    "/help more\n",
)  # fmt: skip
SEQUENCES = (
    "\x1b[2J",
    "\x1b]0;owned\x07",
    "\x9b31m",
    "\x1bP1;1|\x1b\\",
    "\r\n",
    "\ufeff",
)
# What a terminal may obey: by Unicode's properties, not by the package's list.
STEERING_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
STEERING_CLASSES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS = {"\u200e", "\u200f", "\u061c"}  # the rest of Unicode's Bidi_Control


class BrokenRuleError(Exception):
    """Says which rule an input breaks."""


def must(holds: bool, rule: str) -> None:
    if not holds:
        raise BrokenRuleError(rule)


# Bad text


def any_text(rng: np.random.Generator) -> str:
    """Return text of one to three alphabets, or of any symbols at all."""
    most = int(rng.choice([3, 20, 200, 2000], p=[0.2, 0.3, 0.4, 0.1]))
    length = int(rng.integers(most + 1))
    if rng.random() < 0.15:
        codes = rng.integers(1, 0x110000 - 0x800, length)
        return "".join(chr(c if c < 0xD800 else c + 0x800) for c in codes.tolist())
    chosen = rng.integers(len(ALPHABETS), size=rng.integers(1, 4))
    symbols = "".join(ALPHABETS[number] for number in chosen)
    text = "".join(symbols[i] for i in rng.integers(len(symbols), size=length))
    for _ in range(int(rng.integers(3)) if rng.random() < 0.3 else 0):
        at = int(rng.integers(len(text) + 1))
        text = text[:at] + SEQUENCES[rng.integers(len(SEQUENCES))] + text[at:]
    return text


def any_bytes(rng: np.random.Generator) -> bytes:
    """Return the bytes of a text, often spoiled."""
    text = any_text(rng)
    data = bytearray(text.encode())
    match int(rng.integers(12)):
        case 0:
            data[:0] = b"\xef\xbb\xbf"
        case 1:
            data = bytearray(text.replace("\n", "\r\n").encode())
        case 2:
            del data[rng.integers(len(data) + 1) :]
        case 3:
            encoding = rng.choice(["utf-16", "utf-16-le", "utf-32", "cp1252"])
            data = bytearray(text.encode(str(encoding), "replace"))
        case 4:
            at = int(rng.integers(len(data) + 1))
            data[at:at] = rng.bytes(int(rng.integers(1, 4)))
        case 5:
            at = int(rng.integers(len(data) + 1))
            data[at:at] = b"\xed\xa0\x80" if rng.random() < 0.5 else b"\0"
        case 6:
            data = bytearray(rng.bytes(int(rng.integers(60))))
    return bytes(data)


def many_symbols(rng: np.random.Generator) -> bytes:
    codes = rng.permutation(np.r_[1:0xD800, 0xE000:0x20000])[:MANY_SYMBOLS]
    return "".join(map(chr, codes.tolist())).encode()


def longer_than_a_piece(rng: np.random.Generator, data: bytes) -> bytes:
    """Repeat a text until it is read in several pieces, cut anywhere."""
    size = PIECE_CHARS + int(rng.integers(PIECE_CHARS))
    return b"x" * int(rng.integers(9)) + (data or b"\n") * (size // max(1, len(data)))


def one_in(rng: np.random.Generator, number: int) -> bool:
    return bool(rng.integers(number) == 0)


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


def in_form(text: str, kind: str) -> str:
    if kind == "text":
        return text
    return "\n" + "".join(f"{line}\n" for line in text.split("\n") if line)


@dataclass
class CorpusTrial:
    """The bytes of a corpus, and what is done with it."""

    data: bytes = field(repr=False)
    kind: str | None = None
    held_out: float = 0.1
    windows: WindowConfig = WindowConfig(4)  # noqa: RUF009
    batch_size: int = 4

    @classmethod
    def of(cls, rng: np.random.Generator) -> CorpusTrial:
        data = any_bytes(rng)
        if one_in(rng, 50):
            data = longer_than_a_piece(rng, data)
        elif one_in(rng, 500):
            data = many_symbols(rng)
        targets = str(rng.choice(["all", "last"]))
        stride = int(rng.integers(1, 9)) if rng.random() < 0.3 else None
        return cls(
            data,
            [None, "lines", "text"][rng.integers(3)],
            float(rng.choice([0, 0.1, 0.5, 0.999])),
            WindowConfig(int(rng.choice([1, 2, 4, 64])), stride, targets),
            int(rng.choice([1, 4, 32])),
        )

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
        must(corpus.kind == (self.kind or corpus.kind), "another kind")
        self._check_ids(corpus, in_form(text, corpus.kind))
        return "done" if self._check_parts(corpus) else "refused"

    @staticmethod
    def _check_ids(corpus: Corpus, text: str) -> None:
        vocabulary = corpus.vocabulary
        must(vocabulary.symbols == tuple(sorted(set(text))), "other symbols")
        must(vocabulary.decode(corpus.ids) == text, "ids that decode to another text")
        must((vocabulary.encode(text) == corpus.ids).all(), "encode isn't decode's own")

    def _check_parts(self, corpus: Corpus) -> bool:
        """Check split and windows; return False if it is too short for a window."""
        text, decode = corpus.vocabulary.decode(corpus.ids), corpus.vocabulary.decode
        split = corpus.split(self.held_out)
        training, held_out = decode(split.training), decode(split.held_out)
        must(len(training) > 0, "nothing to train on")
        end_id = None
        if corpus.kind == "text":
            must(training + held_out == text, "the split is not the text")
        else:
            end_id = int(corpus.vocabulary.encode("\n")[0])
            parts = [part.strip("\n").split("\n") for part in (training, held_out)]
            kept, measured = (collections.Counter(filter(None, p)) for p in parts)
            whole = collections.Counter(text.strip("\n").split("\n"))
            must(kept + measured == whole, "the split is not the text")
            must(not kept.keys() & measured.keys(), "a line on both sides")
        too_short = corpus.kind == "text" and (len(training) <= self.windows.seq_length)
        try:
            windows = make_windows(
                split.training, corpus.kind, self.windows, self.batch_size, 0, end_id
            )
        except CorpusError as error:
            check_line(str(error))
            must(too_short, f"long enough for windows, but refused: {error}")
            return False
        must(not too_short, "too short for windows, but accepted")
        self._check_windows(windows, split.training, corpus.kind, training, decode)
        return True

    def _check_windows(self, windows, ids, kind, text, decode) -> None:
        counted = []
        steps = windows.steps_per_epoch
        for step in range(min(steps, 100)):
            inputs, targets, weights = windows.batch(0, step)
            real = weights > 0
            counted.append(targets[real])
            row = int(np.flatnonzero(real.any(axis=1))[0])
            length = int(np.flatnonzero(real[row])[-1]) + 1
            symbols = [*inputs[row, :length], targets[row, length - 1]]
            must(decode(symbols) in text, "a window that is not in the text")
        exhaustive = (kind == "lines" and self.windows.targets == "all") or (
            self.windows.targets == "last" and self.windows.stride in (None, 1)
        )
        if exhaustive and steps <= 100:
            first = 1 if kind == "lines" else self.windows.seq_length
            found = np.sort(np.concatenate(counted))
            must(np.array_equal(found, np.sort(ids[first:])), "targets lost or added")


# Prompts


def small_model(
    symbols: str, kind: str, targets: str, seed: int, units: int = 4
) -> TrainedModel:
    """Return a random network; it may draw every one of its symbols."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    vocabulary = Vocabulary.from_text(symbols)
    size = len(vocabulary)
    layer = LSTMWeights(
        normal(3, 4 * units), normal(units, 4 * units), normal(4 * units)
    )
    network = Network(normal(size, 3), (layer,), normal(units, size), normal(size))
    config = Config(windows=WindowConfig(5, targets=targets))
    metadata = {"corpus": {"name": "sonnets", "kind": kind}}
    return TrainedModel(network, vocabulary, kind, config, metadata, None)


def small_models() -> list[TrainedModel]:
    kinds = [("text", "all"), ("lines", "all"), ("text", "last"), ("lines", "last")]
    models = [
        small_model(symbols if kind == "text" else symbols + "\n", kind, targets, seed)
        for seed, symbols in enumerate(ALPHABETS)
        for kind, targets in kinds
    ]
    many = many_symbols(np.random.default_rng(0)).decode()
    return [*models, small_model(many, "text", "all", 0)]


class Stream(io.TextIOWrapper):
    """A standard stream in memory, which may pass for a terminal."""

    def __init__(self, data: bytes = b"", on_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8", newline="\n")
        self.isatty = lambda: on_terminal

    def written(self) -> bytes:
        self.flush()
        return self.buffer.getvalue()


@dataclass
class Result:
    """Exit status and the bytes of both streams."""

    status: int
    out: bytes
    err: bytes


def run_command(
    command,
    model: TrainedModel,
    arguments: list[str],
    read: bytes,
    *,
    on_terminal: bool = False,
    typed: bool = False,
) -> Result:
    """Run the command in this process, as the shell would, with a model at hand.

    Args:
        command: the module `textgen.cli.generate`.
        model: completes the prompts.
        arguments: the command line, as Python decodes it.
        read: standard input.
        on_terminal: standard output and standard error are a terminal.
        typed: standard input is one.
    """
    out, err = Stream(on_terminal=on_terminal), Stream(on_terminal=on_terminal)
    with (
        warnings.catch_warnings(),
        mock.patch.object(sys, "stdin", Stream(read, typed)),
        mock.patch.object(command, "load_model_for", return_value=model),
        mock.patch.object(command, "passed_over", return_value=""),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            terminal.run(partial(command.main, arguments, "generate.py", reader=None))
        except SystemExit as left:
            return Result(left.code, out.written(), err.written())


@dataclass
class PromptTrial:
    """The bytes of a prompt or of several, and how they are completed."""

    data: bytes = field(repr=False)
    model: TrainedModel = field(repr=False)
    way: str = "argument"  # or input, many, conversation
    on_terminal: bool = False
    jsonl: bool = False
    length: int = 5
    options: tuple[str, ...] = ()
    stop: str | None = None
    strict: bool = False

    @classmethod
    def of(cls, rng: np.random.Generator, models: list[TrainedModel]) -> PromptTrial:
        data = any_bytes(rng)
        ways = ["argument", "input", "many", "conversation"]
        way = str(rng.choice(ways, p=[0.35, 0.4, 0.05, 0.2]))
        if one_in(rng, 1000):
            line = data.replace(b"\n", b" ") or b"x"
            data, way = line * (MEGABYTE // len(line) + 1), "input"
        options = [f"--temperature={rng.choice([0, 0.5, 1, 100])}"]
        if rng.random() < 0.3:
            options.append(f"--top-k={rng.choice([1, 3, 2**31])}")
        if rng.random() < 0.3:
            options.append(f"--top-p={rng.choice([1e-9, 0.5, 1])}")
        stop = None
        if one_in(rng, 8):
            stop = (
                any_bytes(rng).replace(b"\0", b"")[:3].decode(errors="surrogateescape")
            )
        typed = way == "conversation"
        return cls(
            data,
            models[rng.integers(len(models))],
            way,
            typed or rng.random() < 0.4,
            not typed and rng.random() < 0.3,
            int(rng.choice([1, 2, 20])),
            tuple(options),
            stop or None,
            not typed and one_in(rng, 8),
        )

    def outcome(self, command) -> str:
        """Return ``done`` or ``refused``; raise what is wrong."""
        arguments = ["--seed=1", f"--length={self.length}", *self.options]
        arguments += ["--strict"] * self.strict + ["--jsonl"] * self.jsonl
        if self.stop is not None:
            arguments.append(f"--stop={os.fsdecode(as_bytes(self.stop))}")
        data = read = self.data
        if self.way in ("argument", "many"):
            data, read = data.replace(b"\0", b""), b""
            arguments.append(f"--prompt={os.fsdecode(data)}")
        if self.way == "many":
            arguments.append("--count=3")
        result = run_command(
            command,
            self.model,
            arguments,
            read,
            on_terminal=self.on_terminal,
            typed=self.way == "conversation",
        )
        shown = result.out.decode(errors="surrogateescape")
        if self.on_terminal:
            must(not steers(shown), "the terminal is steered")
        self._check_messages(result)
        if self.way == "conversation":
            must(result.status == 0, "the conversation ended")
            return "done"
        prompts = lines_of(data) if self.way == "input" else [as_text(data)]
        refused = [p for p in prompts if self.strict and self._unknown(p)]
        must((result.status == 2) == bool(refused), f"status {result.status}")
        answered = prompts[: prompts.index(refused[0])] if refused else prompts
        self._check_output(shown, answered)
        return "refused" if refused else "done"

    def _unknown(self, prompt: str) -> bool:
        return not set(prompt) <= set(self.model.vocabulary.symbols)

    @staticmethod
    def _check_messages(result: Result) -> None:
        messages = result.err.decode()
        must(not steers(messages), "standard error steers the terminal")
        for line in messages.splitlines():
            check_line(line)
        errors = messages.count("\nerror: ") + messages.startswith("error: ")
        must(errors == (result.status == 2), "not one line of error")
        must(result.status in (0, 2), f"status {result.status}")
        must("Traceback" not in messages, "a traceback")

    def _check_output(self, shown: str, prompts: list[str]) -> None:
        if self.jsonl:
            self._check_json(shown, prompts)
            return
        if self.on_terminal:
            prompts = [visible(prompt) for prompt in prompts]
        if self.way == "many":
            self._check_many(shown, prompts)
            return
        end = "\n" if self.way == "argument" else "\n\n"
        at = 0
        for prompt in prompts:
            must(shown.startswith(prompt, at), "not the prompt as it was given")
            at += len(prompt)
            if self.model.kind == "lines":  # of which no completion has a line end
                size = shown.index(end, at) - at
            elif self._exact:
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

    @property
    def _exact(self) -> bool:
        """Whether completions are shown as they are, as long as they were asked for."""
        return self.model.kind == "text" and self.stop is None and not self.on_terminal

    def _check_many(self, shown: str, prompts: list[str]) -> None:
        for prompt in prompts:
            # Of lines there may be no other than empty ones.
            nothing = self.model.kind == "lines" and not shown
            must(nothing or shown.startswith(prompt), "not the prompt as it was given")
            if self._exact:
                size = 3 * (len(prompt) + self.length) + 2 * len("\n\n") + len("\n")
                must(len(shown) == size, "not --length new characters, three times")

    def _check_json(self, shown: str, prompts: list[str]) -> None:
        if self.on_terminal:
            return
        must(shown.isascii(), "JSON that isn't ASCII")
        records = [json.loads(line) for line in shown.splitlines()]
        if self.way == "many":
            prompts = prompts * len(records)
        must(len(records) == len(prompts), "not a line for each completion")
        for record, prompt in zip(records, prompts, strict=True):
            text = "".join("\ufffd" if is_surrogate(c) else c for c in prompt)
            must(record["prompt"] == text, "another prompt in JSON")
            made = record["completion"]
            must(not any(map(is_surrogate, made)), "surrogates in JSON")
            must(len(made) <= self.length, "more than --length characters")
            if self.model.kind == "text" and self.stop is None:
                must(len(made) == self.length, "not --length new characters")
            must(self.stop is None or self.stop not in made, "beyond --stop")


def as_bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def as_text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def lines_of(data: bytes) -> list[str]:
    """Return the prompts that standard input holds."""
    lines = as_text(data).removeprefix("\ufeff").split("\n")
    ended = lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    return [*lines, ended.removesuffix("\r")] if ended else lines


def is_surrogate(symbol: str) -> bool:
    return unicodedata.category(symbol) == "Cs"


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


def check_line(message: str) -> None:
    must(len(message.splitlines()) == 1, f"not one line: {message[:500]!r}")
    must(len(message) <= MOST_LINE_CHARS, f"a line without end: {message[:500]!r}")


# Trying


def broken_rule(trial: CorpusTrial | PromptTrial, place) -> tuple[str, str]:
    """Try an input; return what came of it, and the rule that it breaks, or ``""``.

    Args:
        trial: the input.
        place: the folder for a corpus, the command for a prompt.
    """
    started_s = time.process_time()
    try:
        came = trial.outcome(place)
    except BrokenRuleError as error:
        return "broken", str(error)
    except (Exception, TextgenError):
        return "broken", traceback.format_exc()
    if time.process_time() - started_s > MOST_SECONDS:
        return "broken", "too slow"
    return came, ""


def attempt(count: int | None, seconds: float | None, seed: int) -> int:
    """Try inputs; return the number of rules broken."""
    tally: collections.Counter = collections.Counter()
    models, command = small_models(), generate
    started = time.monotonic()
    number = 0
    with tempfile.TemporaryDirectory(prefix="bad-text-") as name:
        while (count is None or number < count) and (
            seconds is None or time.monotonic() - started < seconds
        ):
            rng = np.random.default_rng((seed, number))
            if number % 2:
                trial, place = PromptTrial.of(rng, models), command
            else:
                trial, place = CorpusTrial.of(rng), Path(name)
            what = "prompts" if number % 2 else "corpora"
            came, rule = broken_rule(trial, place)
            tally[what, came] += 1
            if rule:
                kept = Path(tempfile.gettempdir(), f"bad-text-{seed}-{number}")
                kept.write_bytes(trial.data)
                print(f"{kept}: {trial}: {rule}", flush=True)
            number += 1
            if number % 1000 == 0:
                print(f"{number:,} inputs …", file=sys.stderr, flush=True)
    broken = tally["corpora", "broken"] + tally["prompts", "broken"]
    print(
        f"bad inputs tried: {number:,}, seed {seed}, "
        f"{time.monotonic() - started:,.0f} s"
    )
    for what, done in (("corpora", "cut into windows"), ("prompts", "completed")):
        total = sum(n for (kind, _), n in tally.items() if kind == what)
        print(
            f"{what} {total:,}: {tally[what, 'done']:,} {done}, "
            f"{tally[what, 'refused']:,} refused in one line"
        )
    print(f"failures: {broken}")
    return broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, help="so many inputs")
    parser.add_argument("--seconds", type=float, help="so long")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.count is None and arguments.seconds is None:
        arguments.count = 2000
    sys.exit(1 if attempt(arguments.count, arguments.seconds, arguments.seed) else 0)


if __name__ == "__main__":
    main()
