"""Two generations of a file, and every call of the system that can fail.

The plain writing of one file is tested with the model files, in `test_model_file.py`.
"""

import errno
import os
from pathlib import Path

import pytest

from textgen import atomic_file
from textgen.atomic_file import remove_leftovers, write_atomically
from textgen.errors import OutputError


class FailingCall:
    """Counts calls of the system; the n-th raises, of all or only half done."""

    def __init__(self, monkeypatch, n, error):
        self.calls, self.n, self.error = 0, n, error
        monkeypatch.setattr(atomic_file, "_write", self.counted(atomic_file._write))
        for name in ("fsync", "link", "replace"):
            monkeypatch.setattr(os, name, self.counted(getattr(os, name)))
        monkeypatch.setattr(Path, "read_bytes", self.counted(Path.read_bytes))

    def counted(self, function):
        def call(*arguments):
            self.calls += 1
            if self.calls == self.n:
                if function.__name__ == "_write":
                    arguments[0].write_bytes(arguments[1][: len(arguments[1]) // 2])
                raise self.error
            return function(*arguments)

        return call


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_generations(folder, *data):
    for content in data:
        write_atomically(content, folder / "new", previous=folder / "old")


def test_the_earlier_file_is_kept_and_the_one_before_it_goes(tmp_path):
    write_generations(tmp_path, b"1")
    assert contents(tmp_path) == {"new": b"1"}
    write_generations(tmp_path, b"2", b"3")
    assert contents(tmp_path) == {"new": b"3", "old": b"2"}


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_whichever_call_fails_there_are_two_whole_files(tmp_path, error):
    expected = OutputError if isinstance(error, OSError) else KeyboardInterrupt
    outcomes = []
    for n in range(1, 20):
        folder = tmp_path / str(n)
        folder.mkdir()
        write_generations(folder, b"first", b"second")
        with pytest.MonkeyPatch.context() as patch:
            failing = FailingCall(patch, n, error)
            try:
                write_generations(folder, b"third")
                outcomes.append("written")
            except expected:
                outcomes.append("failed")
        after = contents(folder)
        assert after.keys() == {"new", "old"}, "and nothing is left behind"
        assert after["new"] in (b"second", b"third")
        assert after["old"] in (b"first", b"second")
        if failing.calls < n:
            break
    # Writing, its flush, reading back, the second name and two new names can fail; a
    # second name that fails is a copy, and a folder's flush may fail (an interrupt
    # may not be passed over).
    if isinstance(error, OSError):
        assert outcomes == ["failed"] * 3 + ["written"] + ["failed"] * 2 + 2 * [
            "written"
        ]
    else:
        assert outcomes == ["failed"] * 7 + ["written"]


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    kept = ["mine", ".mine.tmp", ".mine.x1234567.tmp", ".mine2.01234567.tmp",
            "mine.01234567.tmp", ".mine.01234567.tmp.h5"]  # fmt: skip
    for name in [*kept, ".mine.01234567.tmp", ".mine.89abcdef.tmp"]:
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path / "mine")
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
