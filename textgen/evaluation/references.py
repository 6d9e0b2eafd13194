"""What a model's figure stands beside: an n-gram, bz2 and xz on the same text.

They begin with nothing and learn a text while they read it, or go on from a text that
they have read before. A model learned beforehand, and learns nothing from the text.
"""

from __future__ import annotations

import bz2
import lzma
import math
from collections.abc import Callable

import numpy as np

from textgen.data.vocabulary import Vocabulary
from textgen.evaluation.ngram import (
    ngram_nats,
    readable_in_lines,
    readable_in_text,
)

MOST_CHARS = 4_000_000  # of a text with what was read before it: some 600 MB, 10 s
LEAST_DICTIONARY_BYTES, MOST_DICTIONARY_BYTES = 1 << 12, 1 << 26  # of xz


def reference_nats(
    ids: np.ndarray,
    vocabulary: Vocabulary,
    end_id: int | None = None,
    *,
    before: np.ndarray | None = None,
    first: int = 1,
) -> dict[str, float]:
    """Return what each reference needs for a text's ids (N,), in nats per character.

    Of a longer text only the first `MOST_CHARS` are read.

    Args:
        ids: the text, at least ``first + 1`` symbols.
        vocabulary: what the n-gram expects, all symbols alike, before it knows more.
        end_id: of lines, the end symbol, with which they begin and each of them ends;
            None of a text.
        before: ids (M,) of what is read before it.
        first: the first place that the n-gram has to predict.
    """
    ids = ids[:MOST_CHARS]
    before = ids[:0] if before is None else before
    before = before[max(0, len(before) + len(ids) - MOST_CHARS) :]
    if end_id is not None and len(before):
        ids, first = ids[1:], first - 1  # what was read before ends with it
    everything = np.concatenate([before, ids])
    if end_id is None:
        readable = readable_in_text(everything)
    else:
        readable = readable_in_lines(everything, end_id)
    nats = ngram_nats(everything, readable, len(vocabulary))
    found = {"n-gram": float(nats[len(before) + first :].mean())}
    counted = ids if end_id is None or len(before) else ids[1:]
    seen, text = (vocabulary.decode(x).encode() for x in (before, counted))
    for name, compress in COMPRESSORS.items():
        grown = len(compress(seen + text)) - (len(compress(seen)) if seen else 0)
        found[name] = 8 * math.log(2) * max(grown, 0) / len(counted)
    return found


def _xz(data: bytes) -> bytes:
    # A dictionary of the usual 64 MiB takes ten times as much memory, whatever the
    # length of the text, and is of use to none that is shorter.
    dictionary = min(max(len(data), LEAST_DICTIONARY_BYTES), MOST_DICTIONARY_BYTES)
    preset = 9 | lzma.PRESET_EXTREME
    lzma_2 = {"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": dictionary}
    return lzma.compress(data, filters=[lzma_2])


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"bz2": bz2.compress, "xz": _xz}
