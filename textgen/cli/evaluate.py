"""The command `evaluate`: measure how well a model predicts texts."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from textgen.cli.options import (
    add_model,
    add_options,
    check_mixed,
    load_one_or_mixed,
    positional,
)
from textgen.config import MixConfig
from textgen.data.corpus import Corpus, read_corpus
from textgen.data.documents import CorpusSource
from textgen.data.rows import AS_IT_IS
from textgen.errors import CorpusError, OptionError
from textgen.evaluation.judging import Evaluation, evaluate_corpus
from textgen.evaluation.nats import bits_per_char, perplexity
from textgen.evaluation.seen import seen_remark
from textgen.saving.find_model import is_model_name, passed_over
from textgen.saving.own_text import own_corpus
from textgen.saving.sandbox import Reader
from textgen.saving.trained_model import TrainedModel
from textgen.system.terminal import Parser, one_line, say, say_warnings, writer

DESCRIPTION = """\
Measure how well a model predicts a text, character by character.

  %(prog)s sonnets letters.txt           a model by its name, a text of yours
  %(prog)s models/mine.h5 --held-out     what it never saw of its own text
  %(prog)s mine.h5 a.txt b.txt --json    each text for itself, one a line
  %(prog)s sonnets letters.txt --surprise --html letters.html
  %(prog)s dinos --novelty               what it writes, and what of it is copied

Beside the model stand what an n-gram and two compressors need for the same text. These
begin with nothing and learn it while they read it; before a held-out part they have
read the rest. Lower is better but for accuracy, the share of characters that the model
thought the likeliest. Results go to standard output and everything else to standard
error. Exit status: 0 done, 2 for an error that one line explains, 130 after Ctrl-C, 143
after SIGTERM.
"""
HEADINGS = ("nats/char", "bits/char", "perplexity", "accuracy")
LARGEST_PLAIN = 1e6  # a greater perplexity is shown with an exponent
FIRST_SHOWN_S, SHOWN_EVERY_S = 1.0, 0.2  # progress on a terminal
LINE_EVERY_S = 30.0  # and elsewhere


def parse_arguments(arguments: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line, and check it before a model is loaded."""
    parser = Parser(DESCRIPTION, prog, usage="%(prog)s MODEL TEXT... [options]")
    # fmt: off
    add_model(parser)
    add = parser.add_argument
    add("text", metavar="TEXT", nargs="*", help="the path of a text, the name of a "
        "corpus, and whatever else train takes; with --held-out it may be left out")
    add("--column", metavar="NAME", help="of CSV, TSV, JSON or Parquet, each row "
        "an example")
    add("--encoding", metavar="NAME", help="of the files (default: utf-8)")
    add("--label-column", metavar="NAME", help="the column of each row's label")
    add("--label", metavar="TEXT", help="that of the whole text, in their place")
    add("--held-out", action="store_true", help="measure the part of the text that the "
        "model never saw, though it was trained on the rest")
    add("--novelty", action="store_true", help="let the model write 1,000 lines or 20 "
        "texts of 1,000 characters, always the same, and tell how much of that stands "
        "in its own text, or in TEXT")
    add("--with", metavar="MODEL", action="append", default=[], dest="others",
        help="another model to predict with it; may be repeated")
    add_options(parser, MixConfig)
    add("--strict", action="store_true", help="refuse characters that are new to the "
        "model")
    add("--json", action="store_true", help="print one JSON object a text")
    add("--surprise", action="store_true", help="show the beginning of a text instead, "
        "each character coloured by how little the model expected it")
    add("--activations", action="store_true", help="tell instead which units follow "
        "quotes, lines, words and the like in the beginning of a text")
    add("--html", metavar="FILE", help="write what one of these shows as a page for a "
        "browser, with more to see; it is one file and needs no network")
    # fmt: on
    options = parser.parse_intermixed_args(arguments)
    check_mixed(options, bool(options.others), "give the others as `with`")
    if options.novelty and (options.held_out or options.strict):
        raise OptionError("`novelty` measures what the model writes", "give it alone")
    if options.novelty and options.label is not None:
        raise OptionError("`novelty` has the model write without a `label`")
    for name in ("column", "encoding", "label_column"):
        if not options.text and getattr(options, name) is not None:
            raise OptionError(f"`{name}` tells how to read a TEXT", "name one")
    if not options.text and not options.held_out and not options.novelty:
        instead = "or `held_out` for what the model never saw of its own"
        raise OptionError(f"a TEXT to measure is needed, {instead}")
    _check_what_is_shown(options)
    return options


def _check_what_is_shown(options: argparse.Namespace) -> None:
    """Raise `OptionError` for options that don't go together."""
    shown = [name for name in ("surprise", "activations") if getattr(options, name)]
    if len(shown) + options.novelty > 1:
        given = "`surprise`, `activations` and `novelty`"
        raise OptionError(f"of {given}, one at a time is shown")
    if shown and options.json:
        raise OptionError(f"`json` prints figures, without `{shown[0]}`")
    if options.html is not None and not shown:
        raise OptionError("`html` is a page of `surprise` or of `activations`")
    if options.html is not None and len(options.text) > 1:
        given = f"but received {len(options.text)}"
        raise OptionError(f"`html` is a page of one TEXT, {given}")


def main(arguments: Sequence[str], prog: str, *, reader: Reader) -> None:
    """Load a model by ``reader``; measure and print each text."""
    options = parse_arguments(arguments, prog)
    say_warnings()
    write = writer(sys.stdout)
    with positional("model", "text"):
        model = load_one_or_mixed([options.model, *options.others], options, reader)
        other = passed_over(model.path) if is_model_name(options.model) else ""
        say(f"model: {model.source!r}{model.remark}{other}")
        # What can't be read is found before anything is measured.
        corpora = {text: _corpus(model, text, options) for text in options.text}
        if not corpora:
            corpus = own_corpus(model)
            corpora = {corpus.name: corpus}
        for number, (name, corpus) in enumerate(corpora.items()):
            if options.novelty:
                _print_novelty(model, corpus, name, options.json, write)
                continue
            if not options.held_out and (remark := seen_remark(model, corpus)):
                say(f"note: {name}: {remark}")
            if options.surprise or options.activations:
                from textgen.cli.looking import look  # figures don't wait for it

                write("\n" if number else "")
                look(model, corpus, name, options, _ProgressLine(name))
                continue
            found = _judged(model, corpus, name, options)
            if options.json:
                about = {"model": model.source, "text": name}
                write(_as_json(about, corpus, options.held_out, found))
            else:
                table = _as_table(name, options.held_out, found)
                write(f"\n{table}" if number else table)


def _print_novelty(
    model: TrainedModel,
    corpus: Corpus,
    name: str,
    as_json: bool,
    write: Callable[[str], None],
) -> None:
    """Print how new what a model writes is, beside a corpus."""
    from textgen.cli.novelty import as_json_line, as_table
    from textgen.evaluation.novelty import novelty_of

    found = novelty_of(model, corpus)
    about = {"model": model.source, "text": name}
    write(as_json_line(about, found) if as_json else as_table(name, found))


def _corpus(model: TrainedModel, text: str, options: argparse.Namespace) -> Corpus:
    how = options.column, options.encoding, options.label_column
    source = CorpusSource(text, None, *how)
    try:
        corpus = read_corpus(source, None, model.vocabulary, usual_kind=model.kind)
        for label in corpus.labels:  # raises for one that the model doesn't know
            model.vocabulary.label_id(label, "a label of `label_column`")
        return corpus
    except CorpusError as error:
        error.advice = error.advice.removesuffix(AS_IT_IS)  # there is no --kind here
        raise


def _judged(
    model: TrainedModel, corpus: Corpus, name: str, options: argparse.Namespace
) -> Evaluation:
    """Measure a text, and say how far it is."""
    with _ProgressLine(name) as progress:
        return evaluate_corpus(
            model,
            corpus,
            held_out=options.held_out,
            strict=options.strict,
            label=options.label,
            progress=progress,
        )


def _as_json(
    about: dict[str, Any], corpus: Corpus, held_out: bool, found: Evaluation
) -> str:
    """Return one object on a line; a perplexity beyond all numbers is null."""
    record = about | {"sha256": corpus.sha256, "held_out": held_out} | asdict(found)
    if math.isinf(found.perplexity):
        record["perplexity"] = None
    return json.dumps(record, allow_nan=False) + "\n"


def _as_table(name: str, held_out: bool, found: Evaluation) -> str:
    """Return a title and a row for the model and each reference."""
    what = " that the model never saw" if held_out else ""
    title = f"{one_line(name)}: {found.characters:,} characters{what}"
    learnt = "after the rest" if held_out else "from nothing"
    if found.reference_characters < found.characters:
        learnt += f", first {found.reference_characters:,}"
    rows = [("", *HEADINGS), ("model", *_figures(found.nats_per_char))]
    rows[1] = (*rows[1], f"{found.accuracy:.1%}")
    for reference, nats in found.references.items():
        rows.append((f"{reference}, {learnt}", *_figures(nats)))
    width = max(len(label) for label, *_ in rows)
    lines = [
        f"  {label:{width}}" + "".join(f"{figure:>12}" for figure in figures)
        for label, *figures in rows
    ]
    return "\n".join([title, *lines]) + "\n"


def _figures(nats: float) -> tuple[str, str, str]:
    symbols = perplexity(nats)  # of a few characters, a compressor's has no end
    shown = f"{symbols:.2f}" if symbols < LARGEST_PLAIN else f"{symbols:.2e}"
    return f"{nats:.3f}", f"{bits_per_char(nats):.3f}", shown


class _ProgressLine:
    """Shows on standard error how much of a long text is read.

    On a terminal it is one line that is kept up to date and vanishes at the end,
    elsewhere a line each half minute.
    """

    def __init__(self, name: str) -> None:
        self._name = one_line(name)
        self._on_terminal = sys.stderr.isatty()
        self._started = time.monotonic()
        self._due = FIRST_SHOWN_S if self._on_terminal else LINE_EVERY_S
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        seconds = time.monotonic() - self._started
        if seconds < self._due or not done:
            return
        self._due = seconds + (SHOWN_EVERY_S if self._on_terminal else LINE_EVERY_S)
        left = int(seconds / done * (total - done))
        text = (
            f"{self._name}: {done / total:.0%} read, {left // 60}:{left % 60:02d} left"
        )
        if self._on_terminal:
            self._shown = True
            self._write(f"\r{text}\x1b[K")
        else:
            say(text)

    def __enter__(self) -> _ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._write("\r\x1b[K")

    @staticmethod
    def _write(text: str) -> None:
        with contextlib.suppress(OSError):  # what shows progress never ends the work
            sys.stderr.write(text)
            sys.stderr.flush()
