"""Two generations of a file, and every call of the system that can fail.

The plain writing of one file is tested with the model files, in `test_model_file.py`.
"""

import contextlib
import errno
import os
from pathlib import Path

import pytest

from textgen.errors import OutputError
from textgen.system import files as atomic_file
from textgen.system.files import remove_leftovers, write_atomically


class Killed(BaseException):
    """The process is gone."""


class FailingCall:
    """Counts calls of the system; the n-th raises, of all or only half done.

    Late, it raises when it is done. `Killed`, it and every later one do nothing.
    """

    def __init__(self, monkeypatch, n, error, *, late=False):
        self.calls, self.n, self.error, self.late = 0, n, error, late
        monkeypatch.setattr(atomic_file, "_write", self.counted(atomic_file._write))
        for name in ("fsync", "link", "replace", "unlink"):
            monkeypatch.setattr(os, name, self.counted(getattr(os, name)))
        monkeypatch.setattr(Path, "read_bytes", self.counted(Path.read_bytes))

    def counted(self, function):
        def call(*arguments):
            self.calls += 1
            fails = self.calls == self.n
            if fails and self.late:
                with contextlib.suppress(OSError):
                    function(*arguments)
            elif fails and function.__name__ == "_write":
                arguments[0].write_bytes(arguments[1][: len(arguments[1]) // 2])
            if fails or (isinstance(self.error, Killed) and self.calls > self.n):
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


def failing_at_each_call(tmp_path, error, *data, **options):
    """Yield the folder, and whether writing raised, for each call that fails."""
    for n in range(1, 30):
        folder = tmp_path / str(n)
        folder.mkdir()
        write_generations(folder, *data)
        with pytest.MonkeyPatch.context() as patch:
            failing = FailingCall(patch, n, error, **options)
            try:
                write_generations(folder, b"third")
                failed = False
            except (OutputError, KeyboardInterrupt, Killed):
                failed = True
        if failing.calls < n:
            return
        yield folder, failed


def test_whichever_call_fails_both_files_are_as_they_were(tmp_path):
    error = OSError(errno.ENOSPC, "No space left on device")
    outcomes = []
    for folder, failed in failing_at_each_call(tmp_path, error, b"first", b"second"):
        outcomes.append(failed)
        after = contents(folder)
        if failed:
            assert after == {"new": b"second", "old": b"first"}
        else:  # what could not be removed is left
            assert (after["new"], after["old"]) == (b"third", b"second")
    # Writing, its flush, reading back, the second name and three new names can fail; a
    # second name that fails is a copy, and what is then removed, and the folder's
    # flush, may fail.
    assert outcomes[:8] == [True] * 3 + [False] + [True] * 3 + [False]
    assert not any(outcomes[8:])


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("data", [(b"first", b"second"), (b"second",)])
def test_an_interrupt_at_any_call_leaves_all_or_nothing_done(tmp_path, data, late):
    seen = []
    for folder, failed in failing_at_each_call(
        tmp_path, KeyboardInterrupt(), *data, late=late
    ):
        assert failed
        remove_leftovers(folder / "new")
        seen.append(contents(folder))
    as_it_was = dict(zip(("new", "old"), reversed(data), strict=False))
    done = {"new": b"third", "old": b"second"}
    first = seen.index(done)
    assert seen == [as_it_was] * first + [done] * (len(seen) - first)
    assert first > 4


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("data", [(b"first", b"second"), (b"second",)])
def test_killed_at_any_call_the_earlier_file_has_one_of_the_names(
    tmp_path, monkeypatch, data, links
):
    def refuse(*arguments):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    kills = 0
    for folder, failed in failing_at_each_call(tmp_path, Killed(), *data):
        assert failed
        remove_leftovers(folder / "new")  # as the next start does
        after = contents(folder)
        assert after["new"] in (b"second", b"third")
        assert b"second" in after.values()
        write_generations(folder, b"fourth")
        assert contents(folder) == {"new": b"fourth", "old": after["new"]}
        kills += 1
    assert kills >= 8


def test_a_folder_in_place_of_the_earlier_file_is_found_beforehand(tmp_path):
    write_generations(tmp_path, b"1")
    (tmp_path / "old").mkdir()
    with pytest.raises(OutputError, match="old' is no ordinary file; what was there"):
        write_generations(tmp_path, b"2")
    assert (tmp_path / "new").read_bytes() == b"1"
    assert sorted(os.listdir(tmp_path)) == ["new", "old"]


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    kept = ["mine", ".mine.tmp", ".mine.x1234567.tmp", ".mine2.01234567.tmp",
            "mine.01234567.tmp", ".mine.01234567.tmp.h5"]  # fmt: skip
    for name in [*kept, ".mine.01234567.tmp", ".mine.89abcdef.tmp"]:
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path / "mine")
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
