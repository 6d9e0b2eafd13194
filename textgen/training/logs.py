"""Logs of a training that other programs read: where they go is checked before it.

Keras' own callbacks write them (`textgen.training.callbacks`): a file of values parted
by commas, with a row an epoch, and a folder for TensorBoard. Both are added to when a
training is resumed.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from textgen.errors import OptionError, OutputError, shown_path
from textgen.system.files import make_writable, write_atomically
from textgen.system.process import is_installed

INSTALL_TENSORBOARD = "install it with: pip install 'textgen-lstm[tensorboard]'"
ANOTHER_PLACE = "choose another place"
LONGEST_HEAD = 1000  # of such a file, in characters
RECORD_BYTES = 16  # of TensorBoard's files, besides the event


@dataclass(frozen=True)
class Logs:
    """Where logs go besides the model; None where they weren't asked for."""

    tensorboard: Path | None = None  # a folder
    csv: Path | None = None  # a file


NO_LOGS = Logs()


def check_logs(
    tensorboard: str | os.PathLike[str] | None, csv: str | os.PathLike[str] | None
) -> Logs:
    """Return where logs go, if they can be written there; make the folders.

    Raises:
        OptionError: TensorBoard is not installed.
        OutputError: a place can't be written, or holds what is no such log.
    """
    folder = None if tensorboard is None else Path(tensorboard).expanduser()
    if folder is not None:
        need_tensorboard("`tensorboard`")
        make_writable(folder, "`tensorboard`", "train", ANOTHER_PLACE)
    file = None if csv is None else Path(csv).expanduser()
    if file is not None:
        make_writable(file.parent, "`csv`", file.name, ANOTHER_PLACE)
        if file.exists() and not _is_log(file):
            raise OutputError(
                f"`csv` must be a new file, or a log that it continues or replaces, "
                f"but {shown_path(file)} can't be that",
                "choose another name",
            )
    return Logs(folder, file)


def need_tensorboard(asker: str) -> None:
    """Raise `OptionError` unless the package is there without which nothing is written.

    The ``asker`` is the option or callback that needs it.
    """
    if not is_installed("tensorboard"):
        raise OptionError(
            f"{asker} needs the package tensorboard, which isn't installed",
            INSTALL_TENSORBOARD,
        )


def _is_log(path: Path) -> bool:
    """Tell whether a file is a log of a training, or empty."""
    try:
        with open(path, "r+", encoding="utf-8", newline="") as file:
            head = file.readline(LONGEST_HEAD)
    except (OSError, ValueError):  # ValueError: no UTF-8
        return False
    first, *others = head.strip().split(",")
    return not head or (first == "epoch" and "loss" in others)


def keep_rows_before(path: Path, epoch: int) -> None:
    """Cut a log to its head and the rows of epochs before one that begins again."""
    if not path.exists():
        return
    with open(path, encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    kept = [row for row in rows if row and row[0].isdigit() and int(row[0]) < epoch]
    written = io.StringIO()
    csv.writer(written).writerows([head, *kept] if head else [])
    write_atomically(written.getvalue().encode(), path)


def keep_events_before(folder: Path, epoch: int) -> None:
    """Leave events of epochs out of TensorBoard's files that begin again.

    They are what a training wrote there after the checkpoint that it is resumed from,
    and what a killed one had only begun to write. A file that can't be read or written
    so stays as it is.
    """
    from google.protobuf.message import DecodeError

    for part in ("train", "validation"):
        for file in (folder / part).glob("events.out.tfevents.*"):
            with contextlib.suppress(OSError, OutputError, DecodeError):
                data = file.read_bytes()
                kept = b"".join(_events_before(data, epoch))
                if kept != data:
                    write_atomically(kept, file)


def _events_before(data: bytes, epoch: int) -> Iterator[bytes]:
    """Yield the records of a file but those with figures from an epoch on.

    A record is the length of an event in eight bytes, a checksum of four, the event,
    and another checksum.
    """
    from tensorboard.compat.proto.event_pb2 import Event

    begin = 0
    while begin + RECORD_BYTES <= len(data):
        length = int.from_bytes(data[begin : begin + 8], "little")
        end = begin + RECORD_BYTES + length
        if end > len(data):
            return
        event = Event.FromString(data[begin + 12 : end - 4])
        if event.step < epoch or not event.HasField("summary"):
            yield data[begin:end]
        begin = end
