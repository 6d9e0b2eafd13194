"""What `textgen.train` returns: the saved file's path, with what the training told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from textgen.errors import shown_path
from textgen.saving.model_file import load_model
from textgen.saving.trained_model import TrainedModel
from textgen.training.history import EpochRow, read_rows


class TrainingResult(os.PathLike[str]):
    """A finished training, to be used as the path of the saved file or asked about it.

    It is an `os.PathLike`: `open`, `pathlib.Path`, `textgen.load_model` and whatever
    else takes a path take it. It equals its path, ``/`` joins it, and it has the
    attributes of a `pathlib.Path`, such as ``parent`` and ``read_bytes``.

    Attributes:
        path: the saved ``.h5`` file.
        history: a dict for each epoch, with its ``epoch`` from 1 on, ``step``,
            ``seconds`` over all resumes, ``loss`` and ``val_loss`` in nats per
            character (None if it wasn't measured), ``learning_rate``,
            ``characters_per_s``, ``sample``, a short text, and ``val_accuracy``.
            ``pandas.DataFrame`` takes it as it is.
        val_loss: nats per character of the saved weights on the validation part or,
            without one, on a sample of the held-out part; None if neither was measured,
            or a callback restored other weights.
        held_out_nats_per_char: the final figure, of the held-out part; None if nothing
            is held out.
    """

    def __init__(
        self,
        path: Path,
        rows: Sequence[EpochRow],
        val_loss: float | None,
        held_out_nats_per_char: float | None,
    ) -> None:
        self.path = path
        self.history: list[dict[str, Any]] = [dict(vars(row)) for row in rows]
        self.val_loss = val_loss
        self.held_out_nats_per_char = held_out_nats_per_char

    @classmethod
    def of_file(cls, path: Path, rows: Sequence[EpochRow] = ()) -> TrainingResult:
        """Return what a saved model tells of its training; rows if none are known."""
        record = load_model(path).record
        figures = record.get("val_loss"), record.get("held_out_nats_per_char")
        return cls(path, rows or read_rows(record), *figures)

    @cached_property
    def model(self) -> TrainedModel:
        """The saved model, opened when it is first asked for; needs no TensorFlow."""
        return load_model(self.path)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        facts = [shown_path(self.path)]
        if self.history:
            facts.append(f"{self.history[-1]['step']:,} steps")
        if self.val_loss is not None:
            facts.append(f"val_loss {self.val_loss:.3f}")
        if self.held_out_nats_per_char is not None:
            facts.append(f"held out {self.held_out_nats_per_char:.3f}")
        return f"<TrainingResult {', '.join(facts)}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TrainingResult):
            return self.path == other.path
        return self.path == other

    def __hash__(self) -> int:
        return hash(self.path)

    def __truediv__(self, other: str | os.PathLike[str]) -> Path:
        return self.path / other

    def __rtruediv__(self, other: str | os.PathLike[str]) -> Path:
        return other / self.path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "path":  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self.path, name)
