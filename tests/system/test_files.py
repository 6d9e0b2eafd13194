"""Two generations of a file, and every call of the system that can fail."""

import contextlib
import errno
import os
from pathlib import Path

import pytest

from textgen.errors import OutputError
from textgen.system import files
from textgen.system.files import make_writable, remove_leftovers, write_atomically


class Killed(BaseException):
    """The process is gone."""


class FailingCall:
    """Counts calls of the system, of which the n-th raises and does only half.

    If the error is `Killed`, every later call raises, too, and does nothing.
    """

    def __init__(self, patch, n, error):
        self.calls, self.n, self.error = 0, n, error
        patch.setattr(files, "_write", self.counted(files._write))
        for name in ("fsync", "link", "replace", "unlink"):
            patch.setattr(os, name, self.counted(getattr(os, name)))

    def counted(self, function):
        def call(*arguments):
            self.calls += 1
            if self.calls == self.n and function.__name__ == "_write":
                arguments[0].write_bytes(arguments[1][: len(arguments[1]) // 2])
            killed = isinstance(self.error, Killed) and self.calls > self.n
            if self.calls == self.n or killed:
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


def test_without_hard_links_the_earlier_file_is_copied(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_generations(tmp_path, b"1", b"2", b"3")
    assert contents(tmp_path) == {"new": b"3", "old": b"2"}


NO_SPACE = OSError(errno.ENOSPC, "No space left")


@pytest.mark.parametrize("error", [NO_SPACE, KeyboardInterrupt(), Killed()])
def test_whichever_call_fails_the_earlier_file_or_the_new_one_is_whole(tmp_path, error):
    failures = 0
    for n in range(1, 30):
        folder = tmp_path / str(n)
        folder.mkdir()
        write_generations(folder, b"first", b"second")
        with pytest.MonkeyPatch.context() as patch:
            failing, failed = FailingCall(patch, n, error), True
            with contextlib.suppress(OutputError, KeyboardInterrupt, Killed):
                write_generations(folder, b"third")
                failed = False
        if failing.calls < n:
            break
        failures += failed
        if isinstance(error, OSError) and failed:
            assert set(contents(folder)) == {"new", "old"}, "nothing is left behind"
            assert contents(folder)["new"] == b"second"
        remove_leftovers(folder / "new")  # as the next start does
        after = contents(folder)
        assert sorted(after) == ["new", "old"]
        assert after["new"] == b"third" or (failed and after["new"] == b"second")
        assert b"second" in after.values()
        write_generations(folder, b"fourth")
        assert contents(folder) == {"new": b"fourth", "old": after["new"]}
    # The flush of the data, the two new names and the writing itself can fail.
    assert failures >= 4
    assert n > failures


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    pipe = tmp_path / "pipe"  # like /dev/null, which a test had better not replace
    os.mkfifo(pipe)
    for place in (tmp_path, tmp_path / "missing\n" / "new", pipe):
        with pytest.raises(OutputError, match="unchanged") as caught:
            write_atomically(b"x", place)
        assert "\n" not in str(caught.value)
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_folder_in_place_of_the_earlier_file_stays(tmp_path):
    write_generations(tmp_path, b"1")
    (tmp_path / "old").mkdir()
    with pytest.raises(OutputError):
        write_generations(tmp_path, b"2")
    assert (tmp_path / "new").read_bytes() == b"1"
    assert sorted(os.listdir(tmp_path)) == ["new", "old"]


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(b"x", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"x"


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    kept = ["mine", ".mine.tmp", ".mine.x1234567.tmp", ".mine2.01234567.tmp",
            "mine.01234567.tmp", ".mine.01234567.tmp.h5"]  # fmt: skip
    for name in [*kept, ".mine.01234567.tmp", ".mine.89abcdef.tmp"]:
        Path(tmp_path, name).write_text("")
    remove_leftovers(tmp_path / "mine")
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


@pytest.mark.parametrize(
    ("folder", "name", "reason"),
    [
        ("file", "x", "it is a file"),
        ("file/deep", "x", "it is a file"),
        ("a\0b", "x", "null"),
        ("new", "x" * 300, "File name too long"),
        ("\ud800", "x", "surrogates"),
    ],
)
def test_a_place_that_can_not_be_written_is_told_before_the_work(
    tmp_path, folder, name, reason
):
    (tmp_path / "file").write_text("")
    make_writable(tmp_path / "deep" / "er", "`csv`", "x", "elsewhere")
    assert contents(tmp_path / "deep" / "er") == {}
    with pytest.raises(OutputError) as refused:
        make_writable(tmp_path / folder, "`csv`", name, "elsewhere")
    message = str(refused.value)
    assert message.startswith("`csv` needs a folder to write to, but ")
    assert reason in message
    assert message.endswith("): elsewhere")
