"""The text that a model was trained on, found again by what its file says of it."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from textgen.data.corpus import Corpus, read_corpus
from textgen.data.documents import CorpusSource
from textgen.data.sources import Given, named_corpora
from textgen.errors import CorpusError, OptionError, shown
from textgen.saving.trained_model import TrainedModel

MOST_NAMES = 3  # of files that a line tells


def own_corpus(model: TrainedModel) -> Corpus:
    """Read the text that a model was trained on last, if it is found again.

    Otherwise an `OptionError` says what has to be given.
    """
    own = model.texts[-1]
    if own.sha256 is None:
        problem = "the text that this model was trained on isn't known"
        raise OptionError(problem, "give a text, without `held_out`")
    corpus = read_again(model, model.kind)
    if corpus is not None:
        return corpus
    one = "its path"
    if _part_names(own_identity(model)):
        one = "a folder or a quoted pattern of just these files"
    raise OptionError(
        f"the model's own text, {not_found(model)}", f"give {one} as `text`"
    )


def own_identity(model: TrainedModel) -> dict[str, Any]:
    """Return the `Corpus.identity` of the text that a model was trained on last.

    What it says beside name and SHA-256 is from the file and may be anything.
    """
    own, how = model.texts[-1], model.metadata.get("corpus", {})
    return {**how, "name": own.name, "sha256": own.sha256}


def read_again(model: TrainedModel, kind: str) -> Corpus | None:
    """Read the text that a model was trained on last; None if it isn't found unchanged.

    It is a named corpus, or lies where it was as seen from the current folder, or in
    that folder.
    """
    began = own_identity(model)
    for given in _candidates(began):
        with contextlib.suppress(CorpusError, OptionError):
            how = (began.get(x) for x in ("column", "encoding", "label_column"))
            source = CorpusSource(given, None, *how)
            corpus = read_corpus(source, kind, model.vocabulary)
            if corpus.sha256 == began["sha256"]:
                return replace(corpus, name=began["name"])
    return None


def _candidates(began: Mapping[str, Any]) -> Iterator[Given | list[Given]]:
    """Yield what a text may be, if it is there: a name, files, a file, a folder."""
    name = began["name"]
    if name in named_corpora():
        yield name
    places = _inner([began.get("path"), name])
    if names := _part_names(began):
        for folder in (*places, ""):
            files: list[Given] = [Path(folder, each) for each in names]
            if all(map(os.path.isfile, files)):
                yield files
    has_files = name in places and "\0" not in name
    alike = sorted(glob.glob(f"{glob.escape(name)}.*")) if has_files else []
    for path in (*places, *alike):
        if os.path.isfile(path):
            yield Path(path)
    for folder in places:
        if os.path.isdir(folder):
            yield Path(folder)


def _part_names(began: Mapping[str, Any]) -> list[str]:
    """Return the names of a text's files from their folder, if it has several."""
    parts = began.get("parts")
    entries = parts if isinstance(parts, list) else []
    return _inner(part.get("name") for part in entries if isinstance(part, Mapping))


def _inner(paths: Iterable[Any]) -> list[str]:
    """Return those of the values that are paths of something inside a folder."""
    words = [path for path in paths if isinstance(path, str)]
    return [x for x in words if not Path(x).is_absolute() and ".." not in Path(x).parts]


def not_found(model: TrainedModel) -> str:
    """Say which text of a model wasn't found again, and how it was read."""
    began = own_identity(model)
    text, path = shown(began["name"]), began.get("path")
    if names := _part_names(began):
        listed = ", ".join(map(shown, names[:MOST_NAMES]))
        text += f" ({listed}{', …' if len(names) > MOST_NAMES else ''})"
    place = f" as {shown(path)}" if path not in (None, ".") else ""
    read = [
        f"`{name}` {shown(began[name])}"
        for name in ("column", "encoding", "label_column")
        if name in began
    ]
    how = f"; it was read with {' and '.join(read)}" if read else ""
    return (
        f"{text}, is neither a named corpus nor, unchanged, in this folder{place}{how}"
    )
