"""What `evaluate` shows of a text itself: how surprising it was, and what units did."""

from __future__ import annotations

import argparse
import math
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from textgen.data.corpus import Corpus
from textgen.errors import OutputError, shown_path
from textgen.evaluation.activations import Activations, activations_of
from textgen.evaluation.judging import Progress, read_beginning
from textgen.evaluation.nats import describe
from textgen.evaluation.pages import (
    SHOWN_CHARS,
    activations_page,
    is_page,
    surprise_page,
)
from textgen.evaluation.surprise import Surprise, surprise_of
from textgen.saving.trained_model import TrainedModel
from textgen.system.files import write_atomically
from textgen.system.terminal import one_line, print_result, printable, say

TERMINAL_CHARS = 2000  # of a text, shown on a terminal
# The colours of 0 to 1 nats, 1 to 2, and so forth; the first one is the terminal's own.
STYLES = (
    "",
    "black on #ffe9b3",
    "black on #ffc266",
    "black on #ff8c42",
    "bright_white on #d9482b",
    "bright_white on #8f1d1d",
)


def look(
    model: TrainedModel,
    corpus: Corpus,
    name: str,
    options: argparse.Namespace,
    progress: AbstractContextManager[Progress],
) -> None:
    """Show the beginning of a text, or its held-out part, as the options say."""
    if options.html is not None:
        check_page(Path(options.html))
    what = "surprise" if options.surprise else "activations"
    on_terminal = what == "surprise" and options.html is None
    most = TERMINAL_CHARS if on_terminal else SHOWN_CHARS
    text, whole = read_beginning(
        model, corpus, most, options.held_out, options.strict, options.label
    )
    part = f"{name}, what the model never saw" if options.held_out else name
    named = model.path.name if model.path else "the model"
    if what == "surprise":
        with progress as tell:
            surprise = surprise_of(model, text, tell)
        if options.html is None:
            _print_surprise(surprise, part, whole)
            return
        read, page = len(surprise.text), surprise_page(surprise, named, part, whole)
    else:
        with progress as tell:
            units = activations_of(model, text, tell)
        if options.html is None:
            _print_followers(units, part, whole)
            return
        read, page = len(units.text), activations_page(units, named, part, whole)
    path = Path(options.html)
    try:
        write_atomically(page.encode(), path)
    except OutputError as error:
        error.advice = error.advice.replace("`output`", "`html`")
        raise
    say(f"{part}: {_extent(read, whole)}")
    print_result(str(path))


def check_page(path: Path) -> None:
    """Raise `OutputError` if a page would replace what is none, such as the text."""
    try:
        if not path.is_file() or not path.stat().st_size:
            return
        with path.open("rb") as file:
            is_other = not is_page(file.read(1000))
    except (OSError, ValueError):
        return  # writing it says why
    if is_other:
        problem = "`html` must be a new file, or a page that it replaces"
        raise OutputError(
            f"{problem}, but {shown_path(path)} is neither", "choose another name"
        )


def _extent(read: int, whole: int) -> str:
    if read < whole:
        return f"the first {read:,} of {whole:,} characters"
    return f"{read:,} characters"


def _print_surprise(found: Surprise, part: str, whole: int) -> None:
    """Print a text, each character on the colour of its surprisal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    if console.color_system is None or console.no_color:
        say(
            "note: standard output takes no colours here: `html` writes a page, and "
            "FORCE_COLOR=1 in the environment sends them through a pipe"
        )
    nats = describe(found.nats_per_char)
    print(one_line(f"{part}: {_extent(len(found.text), whole)}, {nats}"), end="\n\n")
    shown = Text()
    for symbol, surprisal in zip(found.text, found.surprisal.tolist(), strict=True):
        shown.append(_visible(symbol), STYLES[_level(surprisal)])
    console.print(shown, end="\n\n")
    legend = Text("nats:")
    for level, style in enumerate(STYLES):
        last = level == len(STYLES) - 1
        legend.append(" ")
        legend.append(f" {level}+ " if last else f" {level}–{level + 1} ", style)
    console.print(legend)


def _level(nats: float) -> int:
    return 0 if math.isnan(nats) else int(min(nats, len(STYLES) - 1))


def _visible(symbol: str) -> str:
    """Return a character so that its colour can be seen and it steers nothing."""
    return {"\n": "↵\n", "\0": "␄\n"}.get(symbol) or printable(symbol)


def _print_followers(found: Activations, part: str, whole: int) -> None:
    """Print the unit that follows each feature of the text most closely."""
    rows = [("", "unit", "first half", "second half")]
    for each in found.followers():
        where = f"layer {each.layer}, unit {each.unit}"
        rows.append((each.feature, where, f"{each.found:+.2f}", f"{each.checked:+.2f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(one_line(f"{part}: {_extent(len(found.text), whole)}"))
    print("correlations; each unit was chosen in the first half, layers count from 0")
    for label, *cells in rows:
        placed = [f"{x:>{width}}" for x, width in zip(cells, widths[1:], strict=True)]
        print("  ".join([f"  {label:{widths[0]}}", *placed]))
