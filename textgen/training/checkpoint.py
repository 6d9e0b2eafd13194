"""The state of a training between two steps, as one file that is whole or not there.

    textgen checkpoint, format 1
    SHA-256 of all that follows, in hexadecimal
    one line of JSON: what is trained on what, how far, and each array's type and shape
    the arrays' bytes, one after the other, little-endian

Beside ``models/NAME.h5`` there are two generations, ``NAME.checkpoint`` and, before it,
``NAME.previous.checkpoint``. They hold everything that determines a training's future:
order of the windows and dropout are functions of seed and step, so no state of a random
generator is among it. Nothing in a checkpoint is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
import time
from collections.abc import Callable, Mapping
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
    OutputError,
    TextgenError,
    TrainingError,
    shown,
)
from textgen.system.checks import check_choice, check_number
from textgen.system.files import write_atomically

FORMAT_VERSION = 1
LIBRARIES = ("tensorflow", "keras", "numpy")

_MAGIC = b"textgen checkpoint, format "
_BEGIN_ANEW = "leave out --resume to train anew"


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What the training loop itself needs to go on as if nothing had happened.

    Attributes:
        step: steps taken.
        rate_scale: factor by which callbacks changed the schedule's rate.
        last_rate: rate of the last step, or None before the first.
        parts: parts that a batch is cut into; sums depend on it in the last bits.
        epoch_losses: (K,) float32, of the steps taken in the current epoch.
        variables: all of the network, of the optimizer and of the average, if there
            is one, in their order.
    """

    step: int
    rate_scale: float
    last_rate: float | None
    parts: int
    epoch_losses: np.ndarray
    variables: tuple[np.ndarray, ...]

    @property
    def is_finite(self) -> bool:
        """Whether every number in every variable is one."""
        return all(
            np.isfinite(x).all() for x in self.variables if x.dtype.kind not in "iu"
        )


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training's state with all that must be the same when it goes on.

    Attributes:
        run: a random name of this training, also in the record of its model.
        config: everything resolved.
        corpus: ``name``, ``kind`` and ``sha256`` of the text.
        symbols: its vocabulary in id order.
        total_steps: the length planned.
        lengthened_at: steps at which a resume planned a greater length.
        seconds: wall-clock time spent, over all processes.
        versions: of `library_versions`, when it was written.
        state: of the training loop.
    """

    run: str
    config: Config
    corpus: Mapping[str, str]
    symbols: tuple[str, ...]
    total_steps: int
    lengthened_at: tuple[int, ...]
    seconds: float
    versions: Mapping[str, str]
    state: TrainingState


def library_versions() -> dict[str, str]:
    """Return the versions on which a training's last bits may depend."""
    libraries = {name: _version(name) for name in LIBRARIES}
    own = {"python": platform.python_version(), "textgen": textgen.__version__}
    return own | libraries


def _version(name: str) -> str:
    try:
        return packages.version(name)
    except packages.PackageNotFoundError:  # tensorflow-cpu, say
        return "not installed as a package"


def checkpoint_paths(output: Path) -> tuple[Path, Path]:
    """Return where the newest checkpoint of a training and the one before it are.

    Args:
        output: the model file that it writes.
    """
    return (
        output.with_suffix(".checkpoint"),
        output.with_suffix(".previous.checkpoint"),
    )


# Writing


def write_checkpoint(checkpoint: Checkpoint, output: Path) -> None:
    """Write a checkpoint; the newest so far becomes the previous one.

    Args:
        checkpoint: what to write.
        output: the model file of the training.

    Raises:
        OutputError: it can't be written; the earlier ones are as they were.
    """
    newest, previous = checkpoint_paths(output)
    write_atomically(_encode(checkpoint), newest, previous=previous)


def _encode(checkpoint: Checkpoint) -> bytes:
    state = checkpoint.state
    arrays = [_little_endian(x) for x in (state.epoch_losses, *state.variables)]
    header = {
        name: value for name, value in vars(checkpoint).items() if name != "state"
    } | {
        "config": checkpoint.config.to_dict(),
        "state": {
            "step": state.step,
            "rate_scale": state.rate_scale,
            "last_rate": state.last_rate,
            "parts": state.parts,
        },
        "arrays": [[x.dtype.str, x.shape] for x in arrays],
    }
    line = json.dumps(header, allow_nan=False).encode() + b"\n"
    body = b"".join([line, *(x.tobytes() for x in arrays)])
    return _preface(body) + body


def _preface(body: bytes) -> bytes:
    digest = hashlib.sha256(body).hexdigest()
    return _MAGIC + f"{FORMAT_VERSION}\n{digest}\n".encode()


def _little_endian(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


# Reading


def read_checkpoint(output: Path) -> tuple[Checkpoint | None, list[str]]:
    """Read the newest checkpoint that is whole.

    Args:
        output: the model file of the training.

    Returns:
        It, or None if there is none at all; and notes worth telling.

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
        raise CheckpointError("; ".join([*problems, _BEGIN_ANEW]))
    return None, []


def decode_checkpoint(data: bytes) -> Checkpoint:
    """Return the checkpoint that these bytes of a file are.

    Raises:
        CheckpointError: they are damaged, cut short, or of another version.
    """
    version = re.match(re.escape(_MAGIC) + rb"(\d{1,9})\n", data)
    if version and int(version[1]) != FORMAT_VERSION:
        raise CheckpointError(
            f"expected a checkpoint of format {FORMAT_VERSION}, but received format "
            f"{int(version[1])}: use the version of textgen that wrote it"
        )
    body = data[len(_preface(b"")) :]
    if not data.startswith(_preface(body)):
        raise CheckpointError("expected a whole checkpoint, but it is damaged")
    try:
        return _checkpoint(*body.split(b"\n", maxsplit=1))
    except (
        ValueError, LookupError, TypeError, ArithmeticError, RecursionError,
        TextgenError,
    ) as error:  # fmt: skip
        raise CheckpointError(
            "expected a checkpoint that this version of textgen understands, but "
            f"received another ({error}): use the version that wrote it"
        ) from error


def _checkpoint(line: bytes, rest: bytes) -> Checkpoint:
    header: dict[str, Any] = json.loads(line)
    if not isinstance(header, dict):
        raise TypeError(f"no object, but {shown(header)}")
    epoch_losses, *variables = _arrays(header.pop("arrays"), rest)
    state = TrainingState(
        **header.pop("state"), epoch_losses=epoch_losses, variables=tuple(variables)
    )
    checkpoint = Checkpoint(
        **header
        | {
            "config": Config.from_dict(header["config"]),
            "symbols": tuple(header["symbols"]),
            "lengthened_at": tuple(header["lengthened_at"]),
            "state": state,
        }
    )
    _check(checkpoint)
    return checkpoint


def _check(checkpoint: Checkpoint) -> None:
    """Raise unless each value is of its type and within its bounds."""
    corpus, versions, state = checkpoint.corpus, checkpoint.versions, checkpoint.state
    for texts in (corpus, versions):
        if not isinstance(texts, dict):
            raise TypeError(f"names and values expected, but {shown(texts)}")
    texts = (checkpoint.run, corpus["name"], corpus["sha256"], *versions.values())
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"a text expected, but {shown(text)}")
    check_choice("kind", corpus["kind"], ("lines", "text"))
    Vocabulary(checkpoint.symbols)
    total = check_number("total_steps", checkpoint.total_steps, 1, whole=True)
    check_number("step", state.step, 0, total, whole=True)
    for step in checkpoint.lengthened_at:
        check_number("lengthened_at", step, 0, total, whole=True)
    most = checkpoint.config.training.batch_size
    check_number("parts", state.parts, 1, most, whole=True)
    check_number("seconds", checkpoint.seconds, 0)
    check_number("rate_scale", state.rate_scale, 0)
    if state.last_rate is not None:
        check_number("last_rate", state.last_rate, 0)
    if state.epoch_losses.ndim != 1:
        raise ValueError("losses that are no row of numbers")


def _arrays(forms: list[list], data: bytes) -> list[np.ndarray]:
    arrays, start = [], 0
    for type_name, shape in forms:
        if not re.fullmatch(r"[<|][fiu][1248]", type_name):
            raise ValueError(f"an array of {shown(type_name)}")
        dtype, count = np.dtype(type_name), math.prod(shape)
        flat = np.frombuffer(data, dtype, count, offset=start)
        arrays.append(flat.reshape(shape).astype(dtype.newbyteorder("=")))
        start += count * dtype.itemsize
    if start != len(data):
        raise ValueError(f"{len(data):,} bytes of arrays instead of {start:,}")
    return arrays


# When a training's checkpoint is written, and what happens when it can't be.
INTERVAL_S = 30.0  # so much is lost to a power cut, if saving is fast
MOST_SHARE = 0.01  # of the time may go into writing checkpoints


class Autosave:
    """Writes checkpoints: every `INTERVAL_S` seconds, and at the ends of epochs.

    Two writes are so far apart that they take at most `MOST_SHARE` of the time, so
    the ends of short epochs go by. A write that fails while training is told and
    tried again at the next occasion: what is in memory is worth more than stopping.

    Args:
        state: returns the training's state, between two steps.
        write: writes a state as a checkpoint.
        say: called with each line worth telling.

    Attributes:
        last_good: the newest state that was found to be finite, or None.
        failure: why the newest state isn't on the disk, or None.
    """

    def __init__(
        self,
        state: Callable[[], TrainingState],
        write: Callable[[TrainingState], None],
        say: Callable[[str], None],
    ) -> None:
        self.last_good: TrainingState | None = None
        self.failure: OutputError | None = None
        self._state = state
        self._write = write
        self._say = say
        self._saved_at_s = time.monotonic()
        self._took_s = 0.0

    def begin(self) -> None:
        """Write the first checkpoint, before anything is trained.

        Raises:
            OutputError: it can't be written.
        """
        self._save()
        if self.failure is not None:
            raise self.failure

    def look(self, epoch_ended: bool) -> None:
        """Write one if it is time; called after each compiled call.

        Raises:
            TrainingError: the weights are no longer finite; nothing was written.
        """
        since_s = time.monotonic() - self._saved_at_s
        due = epoch_ended or since_s >= INTERVAL_S
        if due and since_s >= self._took_s / MOST_SHARE:
            self._save()
            if self.failure is not None:
                self._say(f"{self.failure}; training goes on and will try again")

    def end(self) -> None:
        """Write the last one; a failure is kept in `failure`.

        Raises:
            TrainingError: the weights are no longer finite; nothing was written.
        """
        self._save()

    def _save(self) -> None:
        started_s = time.monotonic()
        state = self._state()
        if not state.is_finite:
            raise TrainingError(
                "the weights must be finite numbers, but are not any more at step "
                f"{state.step}"
            )
        self.last_good = state
        try:
            self._write(state)
            self.failure = None
        except OutputError as error:
            self.failure = error
        self._saved_at_s = time.monotonic()
        self._took_s = self._saved_at_s - started_s
