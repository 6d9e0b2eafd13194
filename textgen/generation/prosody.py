"""How English words sound: their syllables, stresses and rhymes.

The pronunciations are those of the CMU dictionary, which the library `pronouncing`
reads (`pip install 'textgen-lstm[forms]'`), in its notation: phones in capitals, and
after each vowel its stress, 1 for the main one, 2 for a lesser one, 0 for none.

A word that the dictionary lacks is pronounced by the first of these rules that applies:

1. A few words of verse have their own entry (`VERSE_WORDS`).
2. An apostrophe within a word stands for a letter that isn't spoken: heav'n is heaven
   with a syllable less, tatter'd is tattered.
3. A known word with one of the `ENDINGS` has their sounds, too: feel'st, viewest.
4. A word of several parts with "un" before a known one begins with its sounds: unbless.
5. Any other word is unknown. No line with one is written. In a line of the user's, it
   has as many syllables as groups of vowels, and rhymes as the known word that shares
   the longest ending with it.
"""

from __future__ import annotations

import functools
import re
from types import ModuleType

from textgen.errors import OptionError

VERSE_WORDS = {
    "alway": "AO1 L W EY2",
    "aught": "AO1 T",
    "bounteous": "B AW1 N T IY0 AH0 S",
    "e'en": "IY1 N",
    "e'er": "EH1 R",
    "howe'er": "HH AW0 EH1 R",
    "nought": "N AO1 T",
    "o'er": "AO1 R",
    "whate'er": "W AH0 T EH1 R",
    "where'er": "W EH0 R EH1 R",
    "whoe'er": "HH UW0 EH1 R",
    "ye": "Y IY1",
}
# Endings and their sounds. A known word before one may have lost an e: love, lovest.
ENDINGS = {
    "'d": "D",
    "'ll": "L",
    "'st": "S T",
    "'t": "T",
    "est": "IH0 S T",
    "eth": "IH0 TH",
    "st": "S T",
    "ing": "IH0 NG",
    "ness": "N AH0 S",
    "less": "L AH0 S",
    "ful": "F AH0 L",
    "ly": "L IY0",
}
VOICELESS = {"P", "T", "K", "F", "TH"}
HISSING = {"S", "Z", "SH", "ZH", "CH", "JH"}
# Words that carry no stress and end no line.
ARTICLES = {"a", "an", "the"}
NEVER_LAST = ARTICLES | {"and", "of", "or", "nor", "to", "at", "as", "than", "from"}
LONGEST_WORD = 40  # letters; a longer one is unknown
MOST_REMEMBERED = 1 << 16  # words or pieces of words whose sound is kept in memory

Sound = tuple[str, str]  # of a rhyme: the consonants before its vowel; vowel and rest


@functools.cache
def dictionary() -> ModuleType:
    """Return the library of pronunciations, its dictionary read.

    Raises:
        OptionError: if it isn't installed.
    """
    try:
        import pronouncing
    except ImportError:
        problem = "`form` needs the library pronouncing, which isn't installed"
        advice = "install it with: pip install 'textgen-lstm[forms]'"
        raise OptionError(problem, advice) from None
    pronouncing.init_cmu()
    return pronouncing


@functools.lru_cache(MOST_REMEMBERED)
def pronunciations(word: str) -> tuple[str, ...]:
    """Return all that is known of how a word in lower case sounds; nothing if unknown.

    >>> pronunciations("tatter'd")
    ('T AE1 T ER0 D',)
    """
    if not word or len(word) > LONGEST_WORD:
        return ()
    if word in VERSE_WORDS:
        return (VERSE_WORDS[word],)
    known = tuple(dict.fromkeys(dictionary().phones_for_word(word)))
    found = known or _elided(word) or _with_ending(word) or _with_un(word)
    return tuple(phones for phones in found if count_syllables(phones))  # not "sh"


def _elided(word: str) -> tuple[str, ...]:
    """Return how a word sounds one of whose letters is left out."""
    if word.endswith("'d"):
        return pronunciations(word[:-2] + "ed")
    before, apostrophe, after = word.partition("'")
    if not (apostrophe and before and after[:1] in ("n", "r", "l")):
        return ()
    whole = pronunciations(f"{before}e{after}")
    shorter = (re.sub(r"ER0$|ER0(?= )", "R", x) for x in whole)
    shorter = (re.sub(r" [AI]H0(?= [NRL])", "", x) for x in shorter)
    return tuple(
        short
        for short, full in zip(shorter, whole, strict=True)
        if count_syllables(short) < count_syllables(full)
    )


def _with_ending(word: str) -> tuple[str, ...]:
    if word.endswith("'s") or (word.endswith("s") and not word.endswith("ss")):
        stems = pronunciations(word.removesuffix("s").removesuffix("'"))
        return tuple(f"{stem} {_plural(stem)}" for stem in stems)
    for ending, sounds in ENDINGS.items():
        stem = word.removesuffix(ending)
        if stem == word or not re.search("[aeiouy]", stem):
            continue
        for base in (stem, f"{stem}e", re.sub(r"i$", "y", stem)):
            phones = dictionary().phones_for_word(base)
            if phones and len(base) > 1:
                return tuple(f"{each} {sounds}" for each in phones)
    return ()


def _plural(stem: str) -> str:
    last = stem.split()[-1]
    if last in HISSING:
        return "IH0 Z"
    return "S" if last in VOICELESS else "Z"


def _with_un(word: str) -> tuple[str, ...]:
    if not word.startswith("un") or len(word) < 5:
        return ()
    return tuple(f"AH0 N {stem}" for stem in pronunciations(word[2:]))


def stresses(phones: str) -> str:
    """Return the stresses of the syllables, a digit each."""
    return re.sub("[^012]", "", phones)


def count_syllables(phones: str) -> int:
    """Return the number of syllables, which is that of the vowels."""
    return phones.count("0") + phones.count("1") + phones.count("2")


def as_estimated(word: str) -> tuple[str, ...]:
    """Return pronunciations, by rule 5 for a word that is unknown."""
    if known := pronunciations(word):
        return known
    count = max(1, len(re.findall("[aeiouy]+", re.sub(r"(?<=[a-z]{2})e$", "", word))))
    words = dictionary().lookup
    for length in range(min(len(word) - 1, LONGEST_WORD), 1, -1):
        ending = word[-length:]
        if not re.search("[aeiouy]", ending):
            continue
        alike = next((x for x in words if x.endswith(ending)), None)
        if alike:
            (sound, *_) = rhyme_sounds(alike) or [("", "AH")]
            vowel, _, rest = sound[1].partition(" ")
            return (" ".join(["AH0"] * (count - 1) + [f"{vowel}1 {rest}".strip()]),)
    return (" ".join(["AH0"] * (count - 1) + ["AH1"]),)


@functools.lru_cache(MOST_REMEMBERED)
def rhyme_sounds(word: str) -> frozenset[Sound]:
    """Return how a word may rhyme: from its last stressed vowel on.

    The third syllable of a word such as memory may bear the rhyme, too, as it bears
    the verse's stress: memory, thee.
    """
    known = pronunciations(word) or (as_estimated(word) if word else ())
    # Of a word as "been", the weak form that it has within a sentence doesn't count.
    strong = [x for x in known if "1" in x or "2" in x] or known
    return frozenset(_rhyme_sound(phones.split()) for phones in strong)


def _rhyme_sound(phones: list[str]) -> Sound:
    vowels = [place for place, phone in enumerate(phones) if phone[-1].isdigit()]
    stressed = [place for place in vowels if phones[place][-1] != "0"]
    place = (stressed or vowels)[-1]
    if len(vowels) > 2 and place <= vowels[-3]:
        place = vowels[-1]
    onset = phones[max((v + 1 for v in vowels if v < place), default=0) : place]
    tail = [phone.rstrip("012") for phone in phones[place:]]
    return " ".join(onset), " ".join(tail)


@functools.lru_cache(MOST_REMEMBERED)
def do_rhyme(word: str, other: str) -> bool:
    """Tell whether two words rhyme: as they sound, with different consonants before.

    A word doesn't rhyme with itself, nor with one that sounds like it (sea, see) or
    only begins in another way (light, delight).
    """
    mine, theirs = rhyme_sounds(word), rhyme_sounds(other)
    if mine & theirs:
        return False
    return any(tail == another for _, tail in mine for _, another in theirs)


@functools.lru_cache(MOST_REMEMBERED)
def short_rhymes(word: str) -> tuple[str, ...]:
    """Return the words, in order, that rhyme with a word and are all rhyme.

    Those are of one syllable for most words; of two for words like ever.
    """
    found = {x for _, tail in rhyme_sounds(word) for x in _words_that_are(tail)}
    return tuple(sorted(x for x in found - NEVER_LAST if do_rhyme(word, x)))


@functools.lru_cache(MOST_REMEMBERED)
def _words_that_are(tail: str) -> frozenset[str]:
    """Return the words that have a rhyme's sounds, and no syllable before it."""
    first, *rest = tail.split()
    key = " ".join([f"{first}1", *(x + "0" if x[0] in "AEIOU" else x for x in rest)])
    return frozenset(
        word
        for word in dictionary().rhyme_lookup.get(key, ())
        if re.fullmatch("[a-z]*[aeiouy][a-z]*", word)
        and min(map(count_syllables, pronunciations(word))) == count_syllables(key)
    )


def rhyme_length(word: str) -> int:
    """Return of how many syllables a rhyme on the word is: mostly 1; 2 as in ever."""
    tails = [tail for _, tail in rhyme_sounds(word)]
    return min((len(re.findall("[AEIOU][A-Z]", tail)) for tail in tails), default=1)


@functools.lru_cache(MOST_REMEMBERED)
def places_after(
    word: str, before: int, metre: str, begins: bool, lenient: bool = False
) -> frozenset[int]:
    """Return how many syllables a line may have after a word; none if it doesn't fit.

    ``before`` are those before it. The ``metre`` has a letter for each syllable of the
    line: w weak, s strong, x either. The main stress of a word of several syllables
    may not be weak, except at the beginning of a line or after a pause (``begins``),
    where the first two syllables may change places, if they aren't the line's last:
    "Making a famine" (after Kiparsky, "Stress, Syntax, and Meter", 1975). A word of one
    syllable stands anywhere, but no article is strong. If ``lenient``, only syllables
    are counted, and any word is known.
    """
    found = set()
    for phones in as_estimated(word) if lenient else pronunciations(word):
        stress = stresses(phones)
        here = metre[before : before + len(stress)]
        may_invert = begins and before + 2 < len(metre)
        fits = len(here) == len(stress) and _fits(word, stress, here, may_invert)
        if lenient or fits:
            found.add(before + len(stress))
    return frozenset(found)


def _fits(word: str, stress: str, here: str, may_invert: bool) -> bool:
    if len(stress) == 1:
        return not (here == "s" and word in ARTICLES)
    for place, (stressed, position) in enumerate(zip(stress, here, strict=True)):
        inverted = may_invert and place == 0 and here.startswith("ws")
        if stressed == "1" and position == "w" and not inverted:
            return False
    return True
