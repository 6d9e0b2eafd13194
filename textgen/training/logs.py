"""Where the rows of a training are written as it goes, for people and other programs.

The file beside the model, ``NAME.log.jsonl``, has a line of JSON for each epoch. A file
of values parted by commas and a folder for TensorBoard are written if they are asked
for; their places are checked before the training. All are made from the rows alone,
which a checkpoint has, too: a training that goes on begins them anew, with all rows.
"""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from textgen.errors import OptionError, OutputError, shown_path
from textgen.system.files import make_writable
from textgen.system.process import is_installed
from textgen.training.history import EpochRow, history_path

INSTALL_TENSORBOARD = "install it with: pip install 'textgen-lstm[tensorboard]'"
ANOTHER_PLACE = "choose another place"
LONGEST_HEAD = 1000  # of a file of values, in characters
COLUMNS = [field.name for field in fields(EpochRow) if field.name != "sample"]
EVENTS = {  # in which folder TensorBoard finds what, by its name there
    "train": {"epoch_loss": "loss", "epoch_learning_rate": "learning_rate"},
    "validation": {"epoch_loss": "val_loss", "epoch_accuracy": "val_accuracy"},
}


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
        if not is_installed("tensorboard"):
            raise OptionError(
                "`tensorboard` needs the package tensorboard, which isn't installed",
                INSTALL_TENSORBOARD,
            )
        make_writable(folder, "`tensorboard`", "train", ANOTHER_PLACE)
    file = None if csv is None else Path(csv).expanduser()
    if file is not None:
        make_writable(file.parent, "`csv`", file.name, ANOTHER_PLACE)
        if file.exists() and not _is_log(file):
            raise OutputError(
                f"`csv` must be a new file, or a log that it replaces, "
                f"but {shown_path(file)} can't be that",
                "choose another name",
            )
    return Logs(folder, file)


def _is_log(path: Path) -> bool:
    """Tell whether a file is a log of a training, or empty."""
    try:
        with open(path, "r+", encoding="utf-8", newline="") as file:
            head = file.readline(LONGEST_HEAD)
    except (OSError, ValueError):  # ValueError: no UTF-8
        return False
    first, *others = head.strip().split(",")
    return not head or (first == "epoch" and "loss" in others)


class RowLog:
    """Keeps rows written at a ``place``, by ``write``.

    That is called with the rows that are new, and whether they are to replace what is
    there. What can't be written ends no training: it is told once, and tried again with
    each further row.
    """

    def __init__(
        self,
        place: Path,
        write: Callable[[Sequence[EpochRow], bool], None],
        say: Callable[[str], None],
    ) -> None:
        self._place, self._write, self._say = place, write, say
        self._written = 0  # rows; at 0 all are written anew
        self._failed = False

    def update(self, rows: Sequence[EpochRow]) -> None:
        """Write those of all rows so far that aren't written yet."""
        try:
            self._write(rows[self._written :], not self._written)
            self._written = len(rows)
        except OSError as error:
            self._written = 0  # a part of a line may be there
            if not self._failed:
                self._failed = True
                self._say(
                    f"expected to write {shown_path(self._place)}, but "
                    f"{error.strerror or error}; training goes on without it"
                )


def row_logs(logs: Logs, output: Path, say: Callable[[str], None]) -> list[RowLog]:
    """Return the log beside a model file, and those that were asked for."""
    path = history_path(output)
    found = [RowLog(path, partial(_write_json, path), say)]
    if logs.csv is not None:
        found.append(RowLog(logs.csv, partial(_write_csv, logs.csv), say))
    if (folder := logs.tensorboard) is not None:
        found.append(RowLog(folder, _EventFiles(folder).write, say))
    return found


def _write_json(path: Path, rows: Sequence[EpochRow], anew: bool) -> None:
    lines = "".join(json.dumps(vars(row)) + "\n" for row in rows)
    _write(path, lines.encode(), anew)


def _write_csv(path: Path, rows: Sequence[EpochRow], anew: bool) -> None:
    lines = io.StringIO()
    table = csv.DictWriter(lines, COLUMNS, extrasaction="ignore")
    if anew:
        table.writeheader()
    table.writerows(vars(row) for row in rows)
    _write(path, lines.getvalue().encode(), anew)


def _write(path: Path, data: bytes, anew: bool) -> None:
    if path.exists() and not path.is_file():
        raise OSError("it is no ordinary file")
    with open(path, "wb" if anew else "ab") as file:
        file.write(data)


class _EventFiles:
    """Files of TensorBoard's events; each overtakes all earlier ones of its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = ""

    def write(self, rows: Sequence[EpochRow], anew: bool) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        now_s = time.time()
        if anew:
            self._name = f"events.out.tfevents.{now_s:.0f}.{os.getpid()}"
        for part, figures in EVENTS.items():
            events = []
            if anew:
                start = SessionLog(status=SessionLog.START)
                events.append(Event(wall_time=now_s, file_version="brain.Event:2"))
                events.append(Event(wall_time=now_s, session_log=start))
            for row in rows:
                values = [
                    Summary.Value(tag=tag, simple_value=figure)
                    for tag, name in figures.items()
                    if (figure := getattr(row, name)) is not None
                ]
                at_s = now_s - rows[-1].seconds + row.seconds
                summary = Summary(value=values)
                events.append(Event(wall_time=at_s, step=row.epoch, summary=summary))
            records = io.BytesIO()
            writer = RecordWriter(records)
            for event in events:
                writer.write(event.SerializeToString())
            (self._folder / part).mkdir(exist_ok=True)
            _write(self._folder / part / self._name, records.getvalue(), anew)
