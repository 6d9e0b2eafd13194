"""Which model file to use when none is named."""

from __future__ import annotations

import os
from pathlib import Path

from textgen.config import DEFAULT_CORPUS
from textgen.data.corpus import data_folder
from textgen.errors import ModelFileError, shown_path

PRETRAINED = "-pretrained.h5"


def resolve_model(
    model: str | os.PathLike[str] | None = None, corpus: str = DEFAULT_CORPUS
) -> Path:
    """Find the model file to use.

    Args:
        model: the file asked for; it is returned as it is.
        corpus: without a file, name of the corpus, or its path, whose folder and
            suffix don't count: ``models/NAME.h5`` under the current folder, else
            beside the program, else the program's ``NAME-pretrained.h5``.

    Raises:
        ModelFileError: if there is none of these; it lists what there is.
    """
    if model is not None:
        return Path(model)
    name, own, shipped = _corpus_name(corpus), Path("models"), data_folder("models")
    candidates = [
        own / f"{name}.h5",
        shipped / f"{name}.h5",
        shipped / f"{name}{PRETRAINED}",
    ]
    for candidate in candidates:
        if os.path.isfile(candidate):  # unlike pathlib's, it takes any text
            return candidate
    files = [file for folder in (own, shipped) for file in sorted(folder.glob("*.h5"))]
    present = {file.resolve(): str(file) for file in reversed(files)}.values()
    listed = ", ".join(map(repr, sorted(present)[:10])) or "no model at all"
    raise ModelFileError(
        f"expected a model for {shown_path(corpus)} at {shown_path(candidates[0])}, "
        f"but found {listed}: train one with train.py, or name a file with --model"
    )


def what_it_hides(path: Path, model: str | os.PathLike[str] | None = None) -> str:
    """Name the pretrained model in whose place another one of its name is used.

    Args:
        path: of `resolve_model`.
        model: the file asked for, which hides nothing.

    Returns:
        The end of a line about that model; empty if there is nothing to be said.
    """
    pretrained = data_folder("models") / f"{path.stem}{PRETRAINED}"
    if model is not None or not os.path.isfile(pretrained):
        return ""
    return f", not the one that comes with the program, {str(pretrained)!r}"


def _corpus_name(corpus: str) -> str:
    """Return a name as it is, with any dots in it, and of a path the file's name."""
    path = Path(corpus)
    is_path = path.name != corpus or path.suffix == ".txt" or os.path.isfile(path)
    return path.stem if is_path else corpus
