"""Whether a user's own text goes on from the model of English that comes with it.

A network that knows English is far ahead on English texts, and behind on others. So
the model predicts a sample of the training part as it is, and bzip2 compresses the
beginning of it, which says about how well a fresh network would do: a text goes on
from the model if that needs at most `MOST_OF_BZIP2` times as many nats per character
(docs/experiments.md has both for several texts). Both read the words with single spaces
between them, since another layout, such as lines that are indented, is soon learned.
"""

from __future__ import annotations

import bz2
import math
import os
from collections.abc import Mapping
from typing import Any

from textgen.config import Config
from textgen.data.corpus import Corpus
from textgen.data.vocabulary import Vocabulary
from textgen.evaluation.nats import held_out_nats
from textgen.saving.find_model import pretrained
from textgen.saving.model_file import load_trainable
from textgen.saving.trained_model import TrainedModel

BASE_MODEL = "english"
MOST_OF_BZIP2 = 1.8
COMPRESSED_CHARS = 100_000
SAMPLED_CHARS, MEASURED_CHARS = 1_000_000, 4_000  # as many are measured, of the first
LEAST_KNOWN = 0.9  # share of the characters that the model, or a like symbol, knows
# Whoever sets one of these wants another network than the model's.
OF_ANOTHER_NETWORK = (
    "layers", "units", "cell", "embedding", "targets", "seq_length", "stride",
    "vocabulary_size",
)  # fmt: skip


def base_model_for(
    corpus: Corpus, overrides: Mapping[str, Any]
) -> tuple[TrainedModel | None, list[str]]:
    """Return the model to go on from, or None if the text is better trained afresh.

    A line says which of the two, where the model was tried.
    """
    path = pretrained(BASE_MODEL)
    asked = any(overrides.get(name) is not None for name in OF_ANOTHER_NETWORK)
    asked = asked or overrides.get("level") not in (None, "character")
    if asked or corpus.kind != "text" or not os.path.isfile(path):
        return None, []
    base = load_trainable(path)
    if reason := why_not(base, corpus, overrides.get("held_out")):
        return None, [f"beginning with new weights: the model of English {reason}"]
    return base, [
        f"going on from the model of English, {str(path)!r}, which predicts this text "
        "well (`from_scratch` trains anew)"
    ]


def why_not(model: TrainedModel, corpus: Corpus, held_out: float | None) -> str:
    """Say why a model isn't worth going on from for a text; nothing if it is.

    It is if it predicts the training part well enough.
    """
    held_out = Config().training.held_out if held_out is None else held_out
    training = corpus.split(held_out).training[:SAMPLED_CHARS]
    text = " ".join(corpus.vocabulary.decode(training).split())
    if not text:
        return "finds no words in this text"
    first = text[:COMPRESSED_CHARS]
    by_bzip2 = 8 * math.log(2) * len(bz2.compress(first.encode())) / len(first)
    vocabulary = Vocabulary.from_text(text)
    ids = model.vocabulary.ids_like(vocabulary.symbols)[vocabulary.encode(text)]
    known = ids[ids >= 0]
    if len(known) < LEAST_KNOWN * len(ids):
        return f"knows only {len(known) / len(ids):.0%} of this text's characters"
    nats = held_out_nats(model, known, max_symbols=MEASURED_CHARS)
    if nats <= MOST_OF_BZIP2 * by_bzip2:
        return ""
    return (
        f"predicts this text poorly, with {nats:.2f} nats per character where bzip2 "
        f"needs {by_bzip2:.2f}"
    )
