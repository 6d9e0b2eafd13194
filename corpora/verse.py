"""English verse out of a pickled table of lines: what is read, cleaned and left out.

`prepare.py` makes ``verse.txt`` with it. The table is a pandas frame with one line of
verse a row: three million lines of Project Gutenberg's books, in the books' order, but
without empty lines, and with nothing that says where a book begins. Between the poems
stand prefaces, notes, indexes and poems in other languages, and many poems stand there
several times.

`pickled_column` takes the lines out of the pickle and executes nothing of it;
`cleaned` makes a line plain; `dropped_lines` says which lines are left out, and why;
`joined` writes what remains. A line by itself often doesn't show what it is, so most
rules look at the lines around it, too. Standard library only.
"""

from __future__ import annotations

import gzip
import io
import pickletools
import re
import unicodedata
import zlib
from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from itertools import accumulate

from overlap import letters_of, stretches_of

# A line goes out if it shares so many letters running with the sonnets; shorter ones
# are turns of phrase that any poet uses.
STRETCH = 16
# "Around a line" is this many lines before it, itself, and as many after it.
REACH = 10
# A share of the words around a line that the plays know, too. In modern spelling it is
# nine in ten; old spelling and dialects are below, other languages far below.
KNOWN_AROUND = 0.85
# In a single line that share says little: two thirds may be somebody's names.
KNOWN_IN_LINE = 1 / 3
# A share of lines around that begin with a small letter, as only broken prose does.
SMALL_AROUND = 1 / 5
# A share of lines around that have figures or editors' signs, as notes do.
SIGNS_AROUND = 1 / 5
# Shares of lines around that are Shakespeare's, and that are repeats.
SHAKESPEARE_AROUND = 1 / 2
REPEATS_AROUND = 1 / 3
# Three lines running that stand again so many lines further on are no refrain.
REFRAIN_WITHIN = 200
# So many lines left out running part what stands before from what stands behind, and a
# part with fewer lines than these is left out as well.
GAP = 5

# What pickle writes between two items of a list.
BETWEEN_ITEMS = {"MEMOIZE", "FRAME", "MARK", "APPENDS"}

PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’‛´`ʼ", "'"),
        **dict.fromkeys("“”„«»", '"'),
        "—": "--",
        "―": "--",
        "–": "-",
        "…": "...",
        "Æ": "Ae",
        "Œ": "Oe",
        "œ": "oe",
        "\xa0": " ",
        "\xad": "",  # an optional hyphen
        "_": "",  # italics
    }
)
ACCENTED = "æèé"  # what the prose has, too
SYMBOLS = re.compile(f"[ -~{ACCENTED}]*")
SIGNS = re.compile(r"[\d\[\]{}=*|<>#~^+@\\]")
WORD = re.compile(f"[a-z{ACCENTED}]+")
LETTER = re.compile(r"[^\W\d_]")


def pickled_column(compressed: bytes) -> list[str]:
    """Return a pickled frame's column of texts; nothing of the pickle is executed.

    A pickle is a program that builds objects, and loading it may run anything. Here its
    instructions are only read: a frame writes its number of rows as the ``stop`` of its
    index and, later, the texts of its first text column one after the other.

    Args:
        compressed: a frame as ``DataFrame.to_pickle`` writes it, compressed by gzip.

    Raises:
        ValueError: if that isn't what it is; one line says why.
    """
    rows, texts, running = None, [], []
    try:
        with gzip.open(io.BytesIO(compressed)) as pickled:
            for instruction, argument, _ in pickletools.genops(pickled):
                if "UNICODE" in instruction.name:
                    running.append(argument)
                elif instruction.name not in BETWEEN_ITEMS:
                    if running[-1:] == ["stop"] and isinstance(argument, int):
                        rows = argument
                    elif rows and not texts and len(running) >= rows:
                        texts = running[:rows]
                    running = []
    except (OSError, EOFError, MemoryError, zlib.error, ValueError) as error:
        reason = str(error) or "it asks for too much memory"
        raise ValueError(
            f"expected a gzipped pickle, but it can't be read ({reason})"
        ) from error
    if not texts:
        raise ValueError(
            "expected a pickled frame with a column of texts, but received none"
        )
    return texts


def cleaned(line: str) -> str:
    """Return a line in plain symbols: quotes, dashes, accents, spaces, half lines.

    A letter that has no plain form (`þ`, `α`) stays, so that `dropped_lines` finds it.
    """
    line = line.translate(PLAIN)
    if not line.isascii():
        line = "".join(map(without_accent, unicodedata.normalize("NFC", line)))
    # Some editors part a verse's halves by a stroke.
    return " ".join(word for word in line.split() if word != "/")


def without_accent(symbol: str) -> str:
    """Return a symbol without its accents, unless it is one that is kept."""
    if symbol in ACCENTED:
        return symbol
    parts = unicodedata.normalize("NFKD", symbol)
    return "".join(part for part in parts if not unicodedata.combining(part))


def around(counts: Iterable[int]) -> list[int]:
    """Return for every line the sum of what is counted around it.

    >>> around([1, 0, 0] + 20 * [0])[:12]
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]
    """
    sums = [0, *accumulate(counts)]
    sums = [0] * REACH + sums + sums[-1:] * REACH
    return [high - low for low, high in zip(sums, sums[2 * REACH + 1 :], strict=False)]


def shares_stretch(letters: str, stretches: Collection[str]) -> bool:
    """Return whether `STRETCH` letters running are among some stretches."""
    starts = range(len(letters) - STRETCH + 1)
    return any(letters[start : start + STRETCH] in stretches for start in starts)


def across_line_ends(lines: Sequence[str], stretches: Collection[str]) -> set[int]:
    """Return the numbers of lines that share a stretch only together with others.

    Args:
        lines: each line's letters.
        stretches: of `STRETCH` letters.
    """
    found = set()
    for first, letters in enumerate(lines):
        run, last = letters[1 - STRETCH :], first
        enough = len(run) + STRETCH - 1  # what begins in this line ends before
        while len(run) < enough and last + 1 < len(lines):
            last += 1
            run += lines[last]
        if shares_stretch(run[:enough], stretches):
            found.update(range(first, last + 1))
    return found


def standing_in(lines: Sequence[str], whole: str) -> list[bool]:
    """Return for every line whether it stands in a text, be it as part of a line.

    A line of fewer than `STRETCH` letters tells nothing and doesn't count.

    Args:
        lines: each line's letters.
        whole: the text's letters.
    """
    # Looking up both ends first makes the search for the whole line a rare one.
    stretches = stretches_of(whole, STRETCH)
    return [
        len(letters) >= STRETCH
        and letters[:STRETCH] in stretches
        and letters[-STRETCH:] in stretches
        and letters in whole
        for letters in lines
    ]


def repeats(lines: Sequence[str], kept: Sequence[int]) -> set[int]:
    """Return the numbers of lines that stood before, further off than a refrain.

    Args:
        lines: each line's letters.
        kept: the numbers of the lines that haven't been left out already, ascending.
    """
    found, first_seen = set(), {}
    for first, second, third in zip(kept, kept[1:], kept[2:], strict=False):
        if third - first != 2:  # something between them was left out
            continue
        letters = "|".join(lines[first : third + 1])
        key = blake2b(letters.encode(), digest_size=8).digest()  # saves memory
        if first - first_seen.setdefault(key, first) > REFRAIN_WITHIN:
            found.update((first, second, third))
    return found


def parts_of(kept: Iterable[int]) -> list[list[int]]:
    """Return line numbers in parts: a new part begins after `GAP` missing ones.

    >>> parts_of([0, 1, 3, 9, 10])
    [[0, 1, 3], [9, 10]]
    """
    parts: list[list[int]] = []
    for number in kept:
        if not parts or number - parts[-1][-1] > GAP:
            parts.append([])
        parts[-1].append(number)
    return parts


def looks_like(lines: Sequence[str], plays: str) -> dict[int, str]:
    """Return the lines that are no verse in modern English, and what they are.

    Args:
        lines: `cleaned`.
        plays: a text whose words are known.
    """
    vocabulary = set(WORD.findall(plays.lower()))
    words, known = [], []
    for line in lines:
        found = WORD.findall(line.lower())
        words.append(len(found))
        known.append(sum(word in vocabulary for word in found))
    first_letters = [LETTER.search(line) for line in lines]
    small = around(bool(found and found[0].islower()) for found in first_letters)
    signs = around(bool(SIGNS.search(line)) for line in lines)
    all_around = around([1] * len(lines))
    words_around, known_around = around(words), around(known)
    what = {}
    for number, line in enumerate(lines):
        if not SYMBOLS.fullmatch(line):
            what[number] = "other symbols"
        elif not re.search("[A-Za-z]", line):
            what[number] = "no letter"
        elif known_around[number] / max(1, words_around[number]) < KNOWN_AROUND:
            what[number] = "not modern English"
        elif words[number] >= 3 and known[number] / words[number] < KNOWN_IN_LINE:
            what[number] = "foreign line"
        elif small[number] / all_around[number] > SMALL_AROUND:
            what[number] = "prose"
        elif signs[number] / all_around[number] > SIGNS_AROUND:
            what[number] = "notes"
    return what


def dropped_lines(lines: Sequence[str], sonnets: str, plays: str) -> dict[int, str]:
    """Return the numbers of the lines that are left out, and why.

    Args:
        lines: `cleaned`.
        sonnets: nothing that shares `STRETCH` letters with them stays.
        plays: no line of theirs stays, and their words are the known ones.
    """
    letters = [letters_of(line) for line in lines]
    of_sonnets = stretches_of(letters_of(sonnets), STRETCH)
    shared = [shares_stretch(line, of_sonnets) for line in letters]
    in_plays = standing_in(letters, letters_of(plays))
    either = [one or other for one, other in zip(shared, in_plays, strict=True)]
    either_around, all_around = around(either), around([1] * len(lines))

    dropped = looks_like(lines, plays)
    for number in range(len(lines)):  # of several reasons, these are the ones told
        if shared[number]:
            dropped[number] = "shares letters with the sonnets"
        elif in_plays[number]:
            dropped[number] = "stands in the plays"
        elif either_around[number] / all_around[number] >= SHAKESPEARE_AROUND:
            dropped[number] = "among Shakespeare's lines"

    def kept() -> list[int]:
        return [number for number in range(len(lines)) if number not in dropped]

    again = repeats(letters, kept())
    again_around = around(number in again for number in range(len(lines)))
    for number in kept():
        if number in again:
            dropped[number] = "repeat"
        elif again_around[number] / all_around[number] >= REPEATS_AROUND:
            dropped[number] = "among repeats"
    for part in parts_of(kept()):
        if len(part) < GAP:
            dropped |= dict.fromkeys(part, "stands alone")
    # What is left out brings together what stands around it: look until nothing is.
    while True:
        numbers = kept()
        found = across_line_ends([letters[number] for number in numbers], of_sonnets)
        if not found:
            return dropped
        for index in found:
            dropped[numbers[index]] = "shares letters with the sonnets over a line end"


def joined(lines: Sequence[str], dropped: Collection[int]) -> str:
    """Return the lines that stay, one a line, an empty line where much is missing."""
    kept = [number for number in range(len(lines)) if number not in dropped]
    parts = parts_of(kept)
    return "\n\n".join("\n".join(lines[n] for n in part) for part in parts) + "\n"
