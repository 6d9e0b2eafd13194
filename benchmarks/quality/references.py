"""What a held-out loss is compared with: compressors and the NumPy baseline.

The n-gram has a module of its own, and so has PyTorch.
"""

from __future__ import annotations

import bz2
import contextlib
import io
import lzma
import math
from collections.abc import Callable

import numpy as np

from textgen import numpy_rnn
from textgen.data.corpus import Split
from textgen.data.vocabulary import END_SYMBOL, Vocabulary

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "bz2": lambda data: bz2.compress(data, 9),
    "xz": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
}


def numpy_baseline_nats(
    split: Split, vocabulary: Vocabulary, iterations: int = 35_000
) -> float:
    """Train the graded baseline on lines with its own settings, and measure it.

    Args:
        split: of a corpus of ``lines``. The baseline has its own seeds.
        vocabulary: of the corpus.
        iterations: lines to learn from.

    Returns:
        Nats per held-out character, end symbols counted; each line from zero state.
    """
    symbols = vocabulary.symbols
    char_to_ix = {symbol: number for number, symbol in enumerate(symbols)}
    size = len(symbols)
    with contextlib.redirect_stdout(io.StringIO()):
        parameters = numpy_rnn.model(
            vocabulary.decode(split.training).strip(END_SYMBOL),
            dict(enumerate(symbols)),
            char_to_ix,
            num_iterations=iterations,
            vocab_size=size,
        )
    nats, count = 0.0, 0
    lines = vocabulary.decode(split.held_out).strip(END_SYMBOL).split(END_SYMBOL)
    zero_state = np.zeros((len(parameters["b"]), 1))
    for line in lines:
        ids = [char_to_ix[symbol] for symbol in line]
        expected = [*ids, char_to_ix[END_SYMBOL]]
        loss, _ = numpy_rnn.rnn_forward(
            [None, *ids], expected, zero_state, parameters, size
        )
        nats += loss
        count += len(expected)
    return float(nats / count)


def compressed_nats(name: str, training: str, held_out: str) -> float:
    """Return how much a compressor needs for a text when it has read another before.

    Args:
        name: of `COMPRESSORS`.
        training: the text before.
        held_out: the text to measure.

    Returns:
        Nats per character, from the growth of the compressed text.
    """
    compress = COMPRESSORS[name]
    before = len(compress(training.encode()))
    both = len(compress((training + held_out).encode()))
    return 8 * math.log(2) * (both - before) / len(held_out)
