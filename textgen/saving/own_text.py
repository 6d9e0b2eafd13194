"""The text that a model was trained on, found again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from textgen.data.corpus import Corpus, read_corpus
from textgen.data.documents import CorpusSource
from textgen.data.sources import named_corpora
from textgen.data.vocabulary import Vocabulary
from textgen.errors import CorpusError, OptionError, shown
from textgen.saving.trained_model import TrainedModel


def own_corpus(model: TrainedModel) -> Corpus:
    """Read the text that a model was trained on last.

    It is a named corpus, or the unchanged file of that name in the current folder;
    otherwise an `OptionError` says that it has to be given.
    """
    own = model.texts[-1]
    if own.sha256 is None:
        problem = "the text that this model was trained on isn't known"
        raise OptionError(problem, "give a text, without `held_out`")
    how = model.metadata.get("corpus", {})
    began = {**how, "name": own.name, "sha256": own.sha256}
    corpus = read_again(began, model.kind, model.vocabulary)
    if corpus is not None:
        return corpus
    raise OptionError(
        f"the model's own text, {shown(own.name)}, is neither a named corpus nor, "
        "unchanged, a file in this folder",
        "give its path as `text`",
    )


def read_again(
    began: Mapping[str, Any], kind: str, vocabulary: Vocabulary
) -> Corpus | None:
    """Read the text of such a `Corpus.identity`; None if it isn't found unchanged.

    It is a named corpus, or a file of that name in the current folder.
    """
    for path in (began["name"], f"{began['name']}.txt"):
        if path in named_corpora() or os.path.isfile(path):
            with contextlib.suppress(CorpusError, OptionError):
                source = CorpusSource(
                    path, None, began.get("column"), began.get("encoding")
                )
                corpus = read_corpus(source, kind, vocabulary)
                if corpus.sha256 == began["sha256"]:
                    return corpus
    return None
