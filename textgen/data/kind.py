"""Whether a text is ``lines``, each an example of its own, or one running ``text``.

Names, titles, messages and recipes of one paragraph are lines, however long. The lines
of prose, verse, plays and code belong together, and that shows at their ends, between
them and in their lengths. The signs were chosen on the files that docs/texts.md lists.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Iterable, Sequence

FEWEST_LINES = 20
SINGLE_LINES = 0.95  # share of blocks between empty lines: it is messages, so parted
MOST_EMPTY = 0.02
MOST_UNFINISHED, UNFINISHED = 0.1, re.compile(r"[,;:，、；：([{\\–—-]\s*$")
LEAST_WRAPPED, WRAPPED_WORDS, WRAPPED_CHARS = 0.5, 4, 40
LEAST_SPEECH, MOST_SPEECH, SPEECH_CHARS = 0.1, 0.9, 60
QUOTATION_MARKS = tuple("\"'“‘„«»—")
LEAST_INDENTED, INDENTED_CHARS = 0.5, 100
MOST_SPREAD, SPREAD_CHARS = 1.0, 100
LONG_CHARS = 1000  # a text of its own rather than a line

GUESSED_LINES = "guessed: its {0} stand alone; `kind` text takes them as one text"
GUESSED_TEXT = "guessed: {1}; `kind` lines takes its {0} one by one"


def kind_of_lines(beginning: str, *, is_whole: bool) -> tuple[str, str]:
    """Return a kind and why, from the beginning of a text or the whole of it."""
    lines = beginning.strip("\n").split("\n")
    if not is_whole and len(lines) > 1:
        lines.pop()  # cut where the beginning ends
    if sign := _sign_of_a_text(lines):
        return "text", GUESSED_TEXT.format("lines", sign)
    return "lines", GUESSED_LINES.format("lines")


def kind_of_rows(rows: Sequence[str]) -> tuple[str, str]:
    """Return a kind and why, from the first rows of a table, or strings."""
    chars = statistics.fmean(map(len, rows)) if rows else 0
    if chars > LONG_CHARS:
        return "text", GUESSED_TEXT.format("rows", f"{chars:,.0f} characters a row")
    return "lines", GUESSED_LINES.format("rows")


def _sign_of_a_text(lines: list[str]) -> str | None:
    """Return what shows that lines belong together, or None if nothing does."""
    full = [line for line in lines if line.strip()]
    if len(full) < FEWEST_LINES:
        return f"it has fewer than {FEWEST_LINES} lines"
    blocks = 1 + sum(
        not one.strip() and bool(two.strip()) for one, two in itertools.pairwise(lines)
    )
    if blocks >= SINGLE_LINES * len(full):
        lines = full
    if len(lines) - len(full) > MOST_EMPTY * len(lines):
        return "it has empty lines between its lines"
    if _share(UNFINISHED.search(line) for line in full) >= MOST_UNFINISHED:
        return "many of its lines end amid a sentence"
    lengths = [len(line) for line in full]
    mean = statistics.fmean(lengths)
    if _is_wrapped(lines):
        return "its lines are wrapped"
    if mean > LONG_CHARS:
        return f"its lines are of {mean:,.0f} characters"
    indented = _share(line[0].isspace() for line in full)
    if mean >= INDENTED_CHARS and indented >= LEAST_INDENTED:
        return "its lines are indented paragraphs"
    speech = _share(line.lstrip().startswith(QUOTATION_MARKS) for line in full)
    if mean >= SPEECH_CHARS and LEAST_SPEECH <= speech <= MOST_SPEECH:
        return "many of its lines begin with speech"
    spread = statistics.pstdev(math.log(length) for length in lengths)
    if mean >= SPREAD_CHARS and spread > MOST_SPREAD:
        return "its lines are paragraphs of very different lengths"
    return None


def _is_wrapped(lines: list[str]) -> bool:
    """Tell whether lines end where the next word would have made them too long."""
    words = statistics.fmean(len(line.split()) for line in lines if line.strip())
    limit = sorted(map(len, lines))[int(0.95 * (len(lines) - 1))]
    if words < WRAPPED_WORDS or limit < WRAPPED_CHARS:
        return False
    full = [pair for pair in itertools.pairwise(lines) if all(map(str.strip, pair))]
    too_long = (len(one) + 1 + len(two.split()[0]) > limit for one, two in full)
    return _share(too_long) >= LEAST_WRAPPED


def _share(tests: Iterable[object]) -> float:
    """Return the share of what is true, 0 of nothing."""
    found = [bool(test) for test in tests]
    return sum(found) / max(1, len(found))
