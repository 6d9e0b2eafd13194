"""The state of a training between two steps, as one file that is whole or not there.

It is what `numpy.savez` writes, a zip archive of arrays without pickle:

    record           UTF-8 JSON: what is trained on what, and how far
    epoch_losses     of the steps taken in the current epoch
    variable_0 …     the network's, the optimizer's and the average's
    best_0 …         the weights of the best epoch, if they are to be kept

and its last 64 bytes, in the place of the archive's comment, are the SHA-256 of all
before them.

Beside ``models/NAME.h5`` there are two generations, ``NAME.checkpoint`` and, before it,
``NAME.previous.checkpoint``. No state of a random generator is in them, since the order
of the windows and dropout are functions of seed and step.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import numpy as np

import textgen
from textgen.config import Config
from textgen.data.vocabulary import Vocabulary
from textgen.errors import (
    CheckpointError,
    OptionError,
    OutputError,
    TrainingError,
    VocabularyError,
)
from textgen.saving.trained_model import TrainedText
from textgen.system.files import write_atomically
from textgen.training.history import EpochRow, best_row, out_of_patience

FORMAT_VERSION = 2
RECORD, EPOCH_LOSSES = "record", "epoch_losses"
HASH_CHARS = 64
LIBRARIES = ("tensorflow", "keras", "numpy")
INTERVAL_S = 30.0  # between two checkpoints; so much is lost to a power cut
MOST_SHARE = 0.01  # of the time may go into writing checkpoints

# What reading a file raises that holds something else.
_OF_ANOTHER_FORM = (OSError, ValueError, LookupError, TypeError)
BEGIN_ANEW = "leave out `resume` to train anew"


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What the training loop itself needs to go on as if nothing had happened."""

    global_step: int  # steps taken
    rate_scale: float  # by which callbacks changed the schedule's rate
    last_rate: float  # of the last step, or the peak before the first
    num_shards: int  # of a batch; sums depend on it in the last bits
    epoch_losses: np.ndarray  # (K,) float32, of the steps taken in this epoch
    variables: tuple[np.ndarray, ...]  # of the network, its optimizer, its average

    @property
    def is_finite(self) -> bool:
        """Whether every number in every variable is one."""
        return all(
            np.isfinite(x).all() for x in self.variables if x.dtype.kind not in "iu"
        )


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training's state with all that must be the same when it goes on."""

    run: str  # a random name of this training, also in the record of its model
    config: Config  # everything resolved
    corpus: Mapping[str, Any]  # which text it is: `textgen.data.corpus.Corpus.identity`
    texts: tuple[TrainedText, ...]  # that the first weights were trained on before
    vocabulary: Vocabulary  # of the network's ids
    total_steps: int  # the length planned
    lengthened_at: tuple[int, ...]  # steps at which a resume planned a greater length
    seconds: float  # wall-clock time spent, over all processes
    versions: Mapping[str, str]  # of `library_versions`, when it was written
    state: TrainingState
    history: tuple[EpochRow, ...] = ()  # of all epochs so far
    best_weights: tuple[np.ndarray, ...] = ()  # of the best of them, if they are kept

    @property
    def is_ended(self) -> bool:
        """Whether all planned steps are taken, or patience ended them earlier."""
        patience = self.config.training.patience
        all_taken = self.state.global_step >= self.total_steps
        return all_taken or out_of_patience(self.history, patience)

    @property
    def last_row(self) -> EpochRow | None:
        """The row of the weights in training, if an epoch ended with them."""
        rows = self.history
        return rows[-1] if rows and rows[-1].step == self.state.global_step else None

    @property
    def chosen_row(self) -> EpochRow | None:
        """The row of the weights that are saved: the best, or those in training."""
        return best_row(self.history) if self.best_weights else self.last_row


def library_versions() -> dict[str, str]:
    """Return the versions on which a training's last bits may depend."""
    versions = {"python": platform.python_version(), "textgen": textgen.__version__}
    for name in LIBRARIES:
        try:
            versions[name] = packages.version(name)
        except packages.PackageNotFoundError:  # tensorflow-cpu, say
            versions[name] = "not installed as a package"
    return versions


def checkpoint_paths(output: Path) -> tuple[Path, Path]:
    """Return where a model file's newest checkpoint and the one before it are."""
    return (
        output.with_suffix(".checkpoint"),
        output.with_suffix(".previous.checkpoint"),
    )


def write_checkpoint(checkpoint: Checkpoint, output: Path) -> None:
    """Write a checkpoint of a model file; the newest so far becomes the previous one.

    Raises:
        OutputError: it can't be written; the earlier ones are as they were.
    """
    newest, previous = checkpoint_paths(output)
    write_atomically(encode_checkpoint(checkpoint), newest, previous=previous)


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Return the bytes of a checkpoint's file."""
    state = vars(checkpoint.state) | {}
    arrays = {EPOCH_LOSSES: state.pop("epoch_losses")}
    arrays |= {f"variable_{n}": x for n, x in enumerate(state.pop("variables"))}
    record = dict(vars(checkpoint))
    arrays |= {f"best_{n}": x for n, x in enumerate(record.pop("best_weights"))}
    record |= record.pop("vocabulary").to_dict()
    record |= {
        "format": FORMAT_VERSION,
        "config": checkpoint.config.to_dict(),
        "texts": [vars(text) for text in checkpoint.texts],
        "history": [vars(row) for row in checkpoint.history],
        "state": state,
    }
    text = json.dumps(record, allow_nan=False).encode()
    file = io.BytesIO()
    arrays[RECORD] = np.frombuffer(text, np.uint8)
    np.savez(file, allow_pickle=False, **arrays)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = bytes(HASH_CHARS)  # its place, at the very end of the file
    digest = hashlib.sha256(file.getbuffer()[:-HASH_CHARS]).hexdigest()
    file.seek(-HASH_CHARS, io.SEEK_END)
    file.write(digest.encode())
    return file.getvalue()


def read_checkpoint(output: Path) -> tuple[Checkpoint | None, list[str]]:
    """Read the newest whole checkpoint of a model file, if any; notes come with it.

    Raises:
        CheckpointError: there are only damaged ones, or of another version.
    """
    problems = []
    for path in checkpoint_paths(output):
        try:
            checkpoint = decode_checkpoint(path.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, CheckpointError) as error:
            problems.append(f"{str(path)!r}: {error}")
            continue
        if problems:
            problems.append(f"going on from the one before it, {str(path)!r}")
        return checkpoint, ["; ".join(problems)] if problems else []
    if problems:
        raise CheckpointError("; ".join([*problems, BEGIN_ANEW]))
    return None, []


def decode_checkpoint(data: bytes) -> Checkpoint:
    """Return the checkpoint of a file's bytes; `CheckpointError` if they are none."""
    try:
        digest = hashlib.sha256(memoryview(data)[:-HASH_CHARS]).hexdigest().encode()
        if data[-HASH_CHARS:] != digest:
            raise CheckpointError(
                "expected a whole checkpoint, but it is damaged, or of an old textgen"
            )
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        record = json.loads(arrays.pop(RECORD).tobytes())
        if record.pop("format") != FORMAT_VERSION:
            raise ValueError("another format")
        losses = arrays.pop(EPOCH_LOSSES)
        best = tuple(arrays.pop(f"best_{n}") for n in range(_count(arrays, "best_")))
        state = TrainingState(
            **record.pop("state"),
            epoch_losses=losses,
            variables=tuple(arrays[f"variable_{n}"] for n in range(len(arrays))),
        )
        record["config"] = Config.from_dict(record["config"])
        record["texts"] = tuple(TrainedText(**text) for text in record["texts"])
        record["history"] = tuple(EpochRow(**row) for row in record["history"])
        names = {"level", "symbols", "labels", "merges"} & record.keys()
        told = {name: record.pop(name) for name in names}
        record["vocabulary"] = Vocabulary.from_dict(told)
        record["lengthened_at"] = tuple(record["lengthened_at"])
        return Checkpoint(**record, state=state, best_weights=best)
    except (*_OF_ANOTHER_FORM, OptionError, VocabularyError) as error:
        raise CheckpointError(
            f"expected a checkpoint of format {FORMAT_VERSION}, but received another "
            f"({error})",
            "go on with the version of textgen that wrote it",
        ) from error


def _count(names: Iterable[str], beginning: str) -> int:
    return sum(name.startswith(beginning) for name in names)


class CheckpointWriter:
    """Writes a checkpoint every `INTERVAL_S` seconds, and at the ends of epochs.

    Two writes are so far apart that they take at most `MOST_SHARE` of the time, so
    that there is none at the ends of short epochs. When a write fails while training,
    that is told and it is tried again at the next occasion, because what is in memory
    is worth more than stopping.
    """

    def __init__(
        self,
        current: Callable[[], Checkpoint],
        output: Path,
        say: Callable[[str], None],
    ) -> None:
        """Write what ``current`` returns between two steps, of the model ``output``."""
        self.last_good: Checkpoint | None = None  # the newest whose weights are finite
        self.failure: OutputError | None = None  # why it isn't on the disk
        self._current = current
        self._output = output
        self._say = say
        self._written_at_s = time.monotonic()
        self._took_s = 0.0

    def write_if_due(self, epoch_ended: bool) -> None:
        """Write one if it is time to; called after each compiled call."""
        since_s = time.monotonic() - self._written_at_s
        due = epoch_ended or since_s >= INTERVAL_S
        if due and since_s >= self._took_s / MOST_SHARE:
            self.write()
            if self.failure is not None:
                self._say(f"{self.failure}; training goes on and will try again")

    def write(self) -> None:
        """Write one now; a failure is kept in `failure`.

        Raises:
            TrainingError: the weights are no longer finite; nothing was written.
        """
        started_s = time.monotonic()
        checkpoint = self._current()
        if not checkpoint.state.is_finite:
            raise TrainingError(
                "the weights must be finite numbers, but are not any more at step "
                f"{checkpoint.state.global_step}"
            )
        self.last_good = checkpoint
        try:
            write_checkpoint(checkpoint, self._output)
            self.failure = None
        except OutputError as error:
            self.failure = error
        self._written_at_s = time.monotonic()
        self._took_s = self._written_at_s - started_s
