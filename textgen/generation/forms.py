"""What a poem of a form is: how long its lines are, how they sound, which rhyme."""

from __future__ import annotations

import re
from dataclasses import dataclass

from textgen.errors import OptionError, shown
from textgen.system.checks import check_choice, check_number

MOST_LINES = 100
MOST_SYLLABLES = 20
DEFAULT_FORM = "sonnet"
DEFAULT_SYLLABLES = 10


@dataclass(frozen=True)
class LineForm:
    """What a line has to be.

    Attributes:
        metres: each a letter for a syllable: w weak, s strong, x either. The line may
            have any of them.
        rhyme: lines with the same letter rhyme with each other; "" with none.
        indent: what stands before it.
        pause: one of these characters ends it; "" for any or none.
    """

    metres: tuple[str, ...]
    rhyme: str = ""
    indent: str = ""
    pause: str = ""


@dataclass(frozen=True)
class Form:
    """A kind of poem, line by line."""

    name: str
    lines: tuple[LineForm, ...]


ANY_PAUSE = ",.;:!?"
END = ".!?"
PENTAMETER = ("ws" * 5,)
# Three feet and two, of two or three syllables each, the last strong.
LONG_LIMERICK = ("wswwswws", "wwswwswws")
SHORT_LIMERICK = ("wswws", "wwswws")


def _rhymed(name: str, scheme: str, metres: tuple[str, ...]) -> Form:
    """Return lines of one kind; every fourth and the last end with a pause."""
    last = len(scheme) - 1
    pauses = dict.fromkeys(range(3, last, 4), ANY_PAUSE) | {last: END}
    return Form(
        name,
        tuple(
            LineForm(metres, letter.strip("-"), pause=pauses.get(place, ""))
            for place, letter in enumerate(scheme)
        ),
    )


def _sonnet() -> Form:
    twelve = _rhymed("sonnet", "ABABCDCDEFEFGG", PENTAMETER).lines[:12]
    couplet = (
        LineForm(PENTAMETER, "G", "  "),
        LineForm(PENTAMETER, "G", "  ", END),
    )
    return Form("sonnet", (*twelve, *couplet))


def _limerick() -> Form:
    scheme = "AABBA"
    lines = [
        LineForm(LONG_LIMERICK if letter == "A" else SHORT_LIMERICK, letter)
        for letter in scheme[:-1]
    ]
    return Form("limerick", (*lines, LineForm(LONG_LIMERICK, "A", pause=END)))


FORMS = {
    form.name: form
    for form in (
        _sonnet(),
        _rhymed("couplet", "AA", PENTAMETER),
        _rhymed("quatrain", "ABAB", PENTAMETER),
        Form(
            "haiku",
            (
                LineForm(("xxxxx",)),
                LineForm(("xxxxxxx",)),
                LineForm(("xxxxx",), pause=END),
            ),
        ),
        _limerick(),
    )
}


def find_form(
    name: str | None, rhyme_scheme: str | None = None, syllables: int | None = None
) -> Form:
    """Return the form of a name, or one's own; a sonnet if nothing is given.

    One's own has a line for each letter of ``rhyme_scheme``, where equal letters rhyme
    and ``-`` rhymes with nothing, of so many ``syllables`` (10 if None). Strong and
    weak ones alternate, the last one strong.

    Raises:
        OptionError: for a name that is none, a scheme or a number that can't be, or
            both a name and one's own.
    """
    if rhyme_scheme is None and syllables is None and name is None:
        name = DEFAULT_FORM
    if name is not None:
        if rhyme_scheme is not None or syllables is not None:
            both = "`form` has its own rhymes and syllables"
            raise OptionError(
                both, "leave out `rhyme_scheme` and `syllables`, or `form`"
            )
        check_choice("form", name, tuple(FORMS))
        return FORMS[name]
    if rhyme_scheme is None:
        raise OptionError("`syllables` needs a `rhyme_scheme`, such as ABBA")
    scheme = rhyme_scheme.upper() if isinstance(rhyme_scheme, str) else ""
    if not re.fullmatch(f"[A-Z-]{{1,{MOST_LINES}}}", scheme):
        expected = f"a letter or - for each of 1 to {MOST_LINES} lines, such as ABBA"
        raise OptionError(
            f"`rhyme_scheme` must be {expected}, but was {shown(rhyme_scheme)}"
        )
    count = DEFAULT_SYLLABLES if syllables is None else syllables
    count = check_number("syllables", count, 2, MOST_SYLLABLES, whole=True)
    metre = ("ws" * MOST_SYLLABLES)[-count:]
    return _rhymed(scheme, scheme, (metre,))
