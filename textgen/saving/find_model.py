"""Which model files there are for a corpus."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

from textgen.data.sources import data_folder
from textgen.errors import ModelFileError, did_you_mean, shown_path

FILE_SUFFIXES = (".h5", ".hdf5", ".keras")
PRETRAINED = "-pretrained"  # ends the names of the files that come with the program
# How metadata say that a training hadn't come to its end. JSON escapes quotes within a
# text, so that nothing else in them looks like this.
UNFINISHED = (b'"interrupted": true', b'"diverged": "', b'"snapshot": true')
# The metadata are at a file's end; where they take less than 2 KiB, HDF5 may put them
# beside another small array, that of the first layer or of the last.
END_BYTES = 1 << 20
# How the names end of what a training leaves beside its model.
LEFT_BESIDE = r"\.(previous|step-\d+)$"
MOST_NAMES = 10  # that a message lists


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
    count. If there is none, a `ModelFileError` lists the names that there are, and says
    that a file may be named as ``keyword``.
    """
    path, own, shipped = Path(corpus), Path("models"), data_folder("models")
    is_path = path.name != corpus or path.suffix == ".txt" or os.path.isfile(path)
    name = path.stem if is_path else corpus
    candidates = [own / f"{name}.h5", shipped / f"{name}.h5", pretrained(name)]
    # os.path.isfile, unlike pathlib's, takes any text.
    if present := _distinct([path for path in candidates if os.path.isfile(path)]):
        return present
    names = model_names()
    listed = ", ".join(map(repr, names[:MOST_NAMES]))
    if len(names) > MOST_NAMES:
        listed += f" and {len(names) - MOST_NAMES:,} more"
    found = f"those for {listed}" if listed else "no model at all"
    wanted = f"a model for {shown_path(corpus)} at {shown_path(candidates[0])}"
    meant = did_you_mean(name, names, quote="'")
    problem = f"expected {wanted}, but found {found}{meant}"
    advice = "" if meant else f"train one, or name a file as `{keyword}`"
    raise ModelFileError(problem, advice)


def model_names() -> list[str]:
    """Return the names of all models in ``models/``, here and beside the program.

    Earlier models and snapshots, which trainings leave beside a model, aren't among
    them.
    """
    folders = (Path("models"), data_folder("models"))
    files = [file for folder in folders for file in folder.glob("*.h5")]
    names = {file.stem.removesuffix(PRETRAINED) for file in files}
    return sorted(name for name in names if not re.search(LEFT_BESIDE, name))


def choose_model(corpus: str, keyword: str = "model") -> Path:
    """Return the file to use of `find_models`, a finished one if there is any.

    A warning says which unfinished model it isn't, and how that is used.
    """
    usual, *others = find_models(corpus, keyword)
    if not others or not looks_unfinished(usual):
        return usual
    chosen = next((path for path in others if not looks_unfinished(path)), usual)
    if chosen != usual:
        warnings.warn(
            f"the model {str(usual)!r} is unfinished, so {str(chosen)!r} is used: give "
            "the other's path to use it, or go on training it with `resume`",
            stacklevel=3,
        )
    return chosen


def looks_unfinished(path: Path) -> bool:
    """Return whether a model file says that its training hadn't come to its end.

    That is seen in the bytes at both ends, without opening it as a model, which takes
    another process: it only serves to choose among files.
    """
    try:
        with path.open("rb") as file:
            ends = file.read(END_BYTES)
            file.seek(max(0, os.fstat(file.fileno()).st_size - END_BYTES))
            ends += file.read(END_BYTES)
    except OSError:
        return False
    return any(mark in ends for mark in UNFINISHED)


def pretrained(name: str) -> Path:
    """Return where the model of this name would be that comes with the program."""
    return data_folder("models") / f"{name}{PRETRAINED}.h5"


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
