"""Which words or byte pairs of a text are symbols, and the text in their ids.

A corpus is in ids of characters. For the levels ``word`` and ``bpe`` a vocabulary is
made of its training part, and each of its parts is encoded by itself, so that what is
held out is the same characters whatever the level.

There are as many symbols as are asked for with `vocabulary_size` or else, besides the
characters, 2·√n words or √n / 3 byte pairs for n characters to train on: some 600 or
100 for the sonnets, 4,200 or 700 for Shakespeare's other works. None that is longer
than a character comes less than `LEAST_TIMES` times, since a network would learn little
of it.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from textgen.config import MOST_SYMBOLS, ModelConfig
from textgen.data.ids import IdArray, blocks_of
from textgen.data.spelling import pieces_of_blocks, tokenizers_library
from textgen.data.vocabulary import MOST_SYMBOL_CHARS, Vocabulary
from textgen.errors import OptionError

LEAST_TIMES = 4
USUAL_NUMBERS = {"word": 2, "bpe": 1 / 3}  # times √n
USUAL_SYMBOL_CHARS = 2  # about, of words and byte pairs alike


def most_symbols(config: ModelConfig, alphabet: int, characters: int) -> int:
    """Return how many symbols a vocabulary has at the most.

    The text has an ``alphabet`` of so many characters and, to train on, so many
    ``characters`` in all. An `OptionError` says that too few symbols are asked for.
    """
    asked = config.vocabulary_size
    if config.level == "character":
        if asked is not None:
            problem = "`vocabulary_size` is for `level` word or bpe"
            raise OptionError(problem, "every character of the text is a symbol")
        return alphabet
    if asked is None:
        usual = round(USUAL_NUMBERS[config.level] * math.sqrt(characters))
        return min(alphabet + usual, MOST_SYMBOLS)
    if asked <= alphabet:
        raise OptionError(
            f"`vocabulary_size` must be more than the {alphabet:,} characters of the "
            f"text, but was {asked:,}"
        )
    return asked


def learn_vocabulary(
    config: ModelConfig, alphabet: Vocabulary, training: np.ndarray
) -> Vocabulary:
    """Return the vocabulary of a level, of a training part's ids (N,) of characters.

    The ``alphabet`` is that of the whole text; its characters keep their ids.
    """
    size = most_symbols(config, len(alphabet), len(training))
    if config.level == "character":
        return alphabet
    pieces = _pieces(alphabet, training)
    if config.level == "word":
        longer = _usual_words(pieces, size - len(alphabet))
        return replace(alphabet, symbols=(*alphabet.symbols, *longer), level="word")
    merges = _learn_merges(pieces, alphabet.symbols, size)
    longer = list(dict.fromkeys(left + right for left, right in merges))
    symbols = (*alphabet.symbols, *longer)
    return replace(alphabet, symbols=symbols, level="bpe", merges=merges)


def in_symbols(
    ids: np.ndarray, alphabet: Vocabulary, vocabulary: Vocabulary
) -> np.ndarray:
    """Return ids (N,) of characters as those (M,) of a vocabulary's symbols."""
    if vocabulary.level == "character":
        return ids
    symbols = IdArray(vocabulary.dtype)
    blocks = map(alphabet.decode, blocks_of(ids))
    for block in vocabulary.encoded(blocks, labels=True):
        symbols.append(block)
    return symbols.array()


def in_characters(vocabulary: Vocabulary, ids: np.ndarray) -> np.ndarray:
    """Return a text's ids (N,) of symbols as those (M,) of the alphabet's characters.

    A model's text has the end symbols that it had as symbols, each being a character.
    """
    if vocabulary.level == "character":
        return ids
    alphabet = vocabulary.alphabet
    blocks = map(vocabulary.decode, blocks_of(ids))
    parts = (alphabet.encode(block, labels=True) for block in blocks)
    return np.concatenate([ids[:0], *parts])


def _pieces(alphabet: Vocabulary, ids: np.ndarray) -> Iterator[str]:
    blocks = map(alphabet.decode, blocks_of(ids))
    return itertools.chain.from_iterable(pieces_of_blocks(blocks))


def _usual_words(pieces: Iterable[str], most: int) -> list[str]:
    """Return the pieces that come most often, those first; at most so many."""
    counts = Counter(pieces)
    usual = (
        (-count, piece)
        for piece, count in counts.items()
        if count >= LEAST_TIMES and 1 < len(piece) <= MOST_SYMBOL_CHARS
    )
    return [piece for _, piece in sorted(usual)[:most]]


def _learn_merges(
    pieces: Iterable[str], alphabet: tuple[str, ...], size: int
) -> tuple[tuple[str, str], ...]:
    """Return the pairs that make up to ``size`` symbols, the most frequent first."""
    tokenizers = tokenizers_library()
    pairs = tokenizers.Tokenizer(tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=LEAST_TIMES,
        initial_alphabet=list(alphabet),
        max_token_length=MOST_SYMBOL_CHARS,
        show_progress=False,
    )
    pairs.train_from_iterator(pieces, trainer)
    merges = json.loads(pairs.to_str())["model"]["merges"]
    return tuple((left, right) for left, right in merges)
