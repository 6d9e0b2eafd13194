"""What of a text a model was trained on, by what its file remembers of its trainings.

Texts are told apart by their SHA-256, so that another edition, or a part of a text that
was saved alone, is another text.
"""

from __future__ import annotations

from collections.abc import Sequence

from textgen.data.corpus import Corpus
from textgen.errors import shown
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
