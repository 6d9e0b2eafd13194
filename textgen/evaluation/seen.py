"""What of a text a model was trained on, by what its file remembers of its trainings.

Texts are told apart by their SHA-256, so that another edition, or a part of a text that
was saved alone, is another text.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from textgen.data.corpus import Corpus, read_corpus
from textgen.data.documents import CorpusSource
from textgen.data.sources import named_corpora
from textgen.data.vocabulary import Vocabulary
from textgen.errors import CorpusError, OptionError, shown
from textgen.saving.trained_model import TrainedModel, TrainedText


def was_trained_on(model: TrainedModel, sha256: str) -> bool | None:
    """Tell whether the weights were trained on a text; None if that isn't known."""
    hashes = {text.sha256 for text in model.texts}
    if sha256 in hashes:
        return True
    return None if None in hashes else False


def unseen_share(texts: Sequence[TrainedText], corpus: Corpus) -> float | None:
    """Return the share of a corpus that no training on it has seen; None if none was.

    Read as another kind, it was split in another way, so that all may have been seen.
    """
    same = [text for text in texts if text.sha256 == corpus.sha256]
    shares = [text.held_out if text.kind == corpus.kind else 0.0 for text in same]
    return min(shares, default=None)


def seen_remark(model: TrainedModel, corpus: Corpus) -> str:
    """Return the line that a figure of a whole text needs; mostly none, ""."""
    share = unseen_share(model.texts, corpus)
    if share is not None:
        if not share:
            return "the model was trained on this text"
        seen = f"the model was trained on {1 - share:.1%} of this text"
        return f"{seen}; `held_out` measures the rest"
    if was_trained_on(model, corpus.sha256) is None:
        return "whether the model was trained on this text isn't known"
    if any(text.name == corpus.name for text in model.texts):
        seen = f"a text called {shown(corpus.name)}, with other contents"
        return f"the model was trained on {seen}, which may be much the same"
    return ""


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
