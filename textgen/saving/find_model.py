"""Which model files there are for a corpus."""

from __future__ import annotations

import os
from pathlib import Path

from textgen.data.sources import data_folder
from textgen.errors import ModelFileError, shown_path

FILE_SUFFIXES = (".h5", ".hdf5", ".keras")


def is_model_name(model: str | os.PathLike[str]) -> bool:
    """Tell whether this is a name such as ``sonnets``, and not the path of a file."""
    return (
        isinstance(model, str)
        and Path(model).name == model != ""
        and not model.endswith(FILE_SUFFIXES)
        and not os.path.isfile(model)
    )


def find_models(corpus: str, keyword: str = "model") -> list[Path]:
    """Find the model files for a corpus, given by name or path, the one to use first.

    They are ``models/NAME.h5`` under the current folder and beside the program, and
    the program's ``models/NAME-pretrained.h5``. Of a path, folder and suffix don't
    count. If there is none, a `ModelFileError` lists what there is, and says that a
    file may be named as ``keyword``.
    """
    path, own, shipped = Path(corpus), Path("models"), data_folder("models")
    is_path = path.name != corpus or path.suffix == ".txt" or os.path.isfile(path)
    name = path.stem if is_path else corpus
    candidates = [own / f"{name}.h5", shipped / f"{name}.h5", pretrained(name)]
    # os.path.isfile, unlike pathlib's, takes any text.
    if found := _distinct([path for path in candidates if os.path.isfile(path)]):
        return found
    files = [file for folder in (own, shipped) for file in sorted(folder.glob("*.h5"))]
    present = sorted(map(str, _distinct(files)))
    listed = ", ".join(map(repr, present[:10])) or "no model at all"
    wanted = f"a model for {shown_path(corpus)} at {shown_path(candidates[0])}"
    problem = f"expected {wanted}, but found {listed}"
    raise ModelFileError(problem, f"train one, or name a file as `{keyword}`")


def pretrained(name: str) -> Path:
    """Return where the model of this name would be that comes with the program."""
    return data_folder("models") / f"{name}-pretrained.h5"


def passed_over(path: Path | None) -> str:
    """Return the end of a line about a file in use: which pretrained model it isn't."""
    if path is not None:
        shipped = pretrained(path.stem)
        if os.path.isfile(shipped):
            return f", not the one that comes with the program, {str(shipped)!r}"
    return ""


def _distinct(files: list[Path]) -> list[Path]:
    """Leave out what is another path of an earlier file."""
    return list({file.resolve(): file for file in reversed(files)}.values())[::-1]
