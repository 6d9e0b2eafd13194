"""Everything about a training that needs no TensorFlow: read, checked and cut.

What a user can put right is found here, before the seconds that TensorFlow takes to
start and long before anything is trained.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textgen.config import DEFAULT_CORPUS, Config
from textgen.corpus import Corpus, load_corpus
from textgen.held_out import HeldOut
from textgen.model_file import TrainedModel, load_model
from textgen.output import prepare_output
from textgen.recipe import choose_config
from textgen.vocabulary import END_SYMBOL
from textgen.windows import Windows, make_windows


@dataclass(frozen=True)
class Preparation:
    """A training that is ready to start; made by `prepare`.

    Attributes:
        corpus: what it trains on.
        config: how.
        windows: the training part, cut into windows.
        held_out: the part that is only measured.
        start: the saved model to go on from, or None.
        path: the file to write; its folder exists and can be written.
    """

    corpus: Corpus
    config: Config
    windows: Windows
    held_out: HeldOut
    start: TrainedModel | None
    path: Path


def prepare(
    corpus: str | os.PathLike = DEFAULT_CORPUS,
    *,
    preset: str | None = None,
    kind: str | None = None,
    output: str | os.PathLike | None = None,
    init_from: str | os.PathLike | None = None,
    **overrides: Any,
) -> Preparation:
    """Read and check everything that a training needs.

    Args:
        corpus: a named corpus or the path of a UTF-8 text file.
        preset: name in `textgen.config.PRESETS`; None means the corpus' own.
        kind: ``lines`` or ``stream``; None means the saved model's, or the guess.
        output: the file to write; None means ``models/NAME.h5``.
        init_from: a saved model to go on from.
        **overrides: fields of `textgen.config.Config`, flat.

    Raises:
        TextgenError: one line about what the caller can put right.
    """
    start = None if init_from is None else load_model(init_from)
    if start is None:
        text = load_corpus(corpus, kind)
    else:
        text = load_corpus(corpus, kind or start.kind, start.vocabulary)
    config = choose_config(text, preset, start, overrides)
    windows, held_out = _cut(text, config)
    path = prepare_output(output, text.name)
    return Preparation(text, config, windows, held_out, start, path)


def _cut(text: Corpus, config: Config) -> tuple[Windows, HeldOut]:
    """Split the held-out part off and cut the rest into windows."""
    split = text.split(config.training.held_out)
    end_id = None
    if text.kind == "lines":
        end_id = int(text.vocabulary.encode(END_SYMBOL)[0])
    windows = make_windows(
        split.training,
        text.kind,
        config.windows,
        config.training.batch_size,
        config.training.seed,
        end_id,
    )
    held_out = HeldOut(split.held_out, len(split.training), whole=text.named)
    return windows, held_out
