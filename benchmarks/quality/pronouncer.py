"""How lines sound by eSpeak NG, which has nothing to do with the CMU dictionary.

Its rules turn spelling into phonemes in IPA, clause by clause, with stress marks. The
package `espeakng-loader` holds it (`pip install 'textgen-lstm[bench]'`).
"""

from __future__ import annotations

import ctypes
import functools
import re
from dataclasses import dataclass

from benchmarks.harness.worker import BenchmarkError

VOICE = b"en-us"
AUDIO_NONE = 2  # espeak_AUDIO_OUTPUT: AUDIO_OUTPUT_SYNCHRONOUS, without any sound
UTF8, IPA_PARTED = 1, 2 | ord("_") << 8  # phonemes as IPA, with _ between them
VOWELS = "aɐɑɒæeəɚɜɛiɪoɔøœuʊʌʉyɨɵ"
Phonemes = list[str]  # of a word


@functools.cache
def _espeak() -> ctypes.CDLL:
    try:
        import espeakng_loader
    except ImportError:
        problem = "the checker needs eSpeak NG: pip install 'textgen-lstm[bench]'"
        raise BenchmarkError(problem) from None
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    integer, pointer = ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)
    library.espeak_Initialize.argtypes = [integer, integer, ctypes.c_char_p, integer]
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_TextToPhonemes.argtypes = [pointer, integer, integer]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    path = espeakng_loader.get_data_path().encode()
    library.espeak_Initialize(AUDIO_NONE, 0, path, 0)
    if library.espeak_SetVoiceByName(VOICE):
        raise BenchmarkError(f"eSpeak NG has no voice {VOICE.decode()}")
    return library


def clauses(line: str) -> list[list[Phonemes]]:
    """Return the words of each of a line's clauses as phonemes."""
    left = ctypes.c_char_p(line.encode())
    found = []
    while left.value:
        told = _espeak().espeak_TextToPhonemes(ctypes.byref(left), UTF8, IPA_PARTED)
        words = [re.findall("[^_]+", word) for word in (told or b"").decode().split()]
        found.append([word for word in words if word])
    return [clause for clause in found if clause]


@dataclass(frozen=True)
class Syllable:
    """A syllable: its stress, 2 main, 1 lesser, 0 none, and where it stands."""

    stress: int
    of_long_word: bool
    begins_clause: bool


def syllables(line: str) -> list[Syllable]:
    """Return the syllables of a line, one for each vowel."""
    found = []
    for clause in clauses(line):
        for number, word in enumerate(clause):
            vowels = [phoneme for phoneme in word if _is_vowel(phoneme)]
            for place, vowel in enumerate(vowels):
                stress = 2 if "ˈ" in vowel else int("ˌ" in vowel)
                begins = number == place == 0
                found.append(Syllable(stress, len(vowels) > 1, begins))
    return found


def _is_vowel(phoneme: str) -> bool:
    return any(symbol in VOWELS for symbol in phoneme) or "\u0329" in phoneme


def scans(line: str) -> bool:
    """Tell whether a line is an iambic pentameter.

    It has ten syllables, or an eleventh without stress, and no main stress of a word
    of several syllables on an odd place, but for the first of a clause, if its second
    has none (Kiparsky 1975).
    """
    found = syllables(line)
    if len(found) == 11 and not found[10].stress:
        found = found[:10]
    if len(found) != 10:
        return False
    for place in range(0, 10, 2):
        here, after = found[place], found[place + 1]
        inverted = here.begins_clause and after.stress < 2
        if here.of_long_word and here.stress == 2 and not inverted:
            return False
    return True


def rhyme(line: str) -> str:
    """Return the sounds from a line's last stressed vowel on, lengths left out.

    Of words of three and more syllables that end in two without stress, as memory,
    those from the last vowel on.
    """
    words = [word for clause in clauses(line) for word in clause]
    word = words[-1] if words else []
    vowels = [place for place, phoneme in enumerate(word) if _is_vowel(phoneme)]
    if not vowels:
        return ""
    stressed = [place for place in vowels if re.search("[ˈˌ]", word[place])]
    start = (stressed or vowels)[-1]
    if len(vowels) > 2 and start <= vowels[-3]:
        start = vowels[-1]
    return re.sub("[ˈˌː]", "", "".join(word[start:]))


def do_rhyme(line: str, other: str) -> bool:
    """Tell whether two lines rhyme, their last words being different ones."""
    last, another = (re.findall("[a-z']+", x.lower())[-1:] for x in (line, other))
    return last != another and rhyme(line) == rhyme(other) != ""
