"""Where a model goes: found out before training, and nothing lost when saving fails."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

import pytest
from filelock import FileLock

from textgen.errors import OutputError
from textgen.modeling.model import build_model
from textgen.saving.model_file import load_model
from textgen.training.output import (
    locked,
    prepare_output,
    save_keeping_previous,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unsaved(make_model_file):
    """A network and its metadata."""
    saved = load_model(make_model_file("letters", "text", "\n abc"))
    return build_model(saved.config.model, 5), dict(saved.metadata)


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_is_created_and_nothing_left_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("links").mkdir()
    Path("links/link.h5").symlink_to("../real.h5")
    for asked, path in (
        ("links/link.h5", tmp_path / "real.h5"),
        (tmp_path / "a" / "b" / "mine.h5", tmp_path / "a" / "b" / "mine.h5"),
        (None, Path("models", "letters.h5")),
        ("previous.h5", Path("previous.h5")),
    ):
        assert prepare_output(asked, "letters") == path
        assert not list(path.parent.glob("*.h5*"))
        assert not list(path.parent.glob(".*"))


PRETRAINED = "a pretrained model, but was .*another name"
EARLIER = "an earlier model, but was .*another name"


@pytest.mark.parametrize(
    ("name", "match"),
    [
        *((x, r"end in \.h5, but") for x in ("m", "m.keras", "m.h5.txt", "", ".h5")),
        ("a\x1b[31m\nb", r"\\x1b\[31m"),
        ("sonnets-pretrained.h5", PRETRAINED),
        ("story.step-12.h5", "a snapshot model"),
        ("link.h5", PRETRAINED),
        (None, PRETRAINED),
        ("mine.previous.h5", EARLIER),
        (".previous.h5", EARLIER),
        ("file/mine.h5", r"file' can't be written .*`output`"),
        *(
            (x, r"can't be written \(.*`output`")
            for x in ("a\0.h5", "\ud800.h5", "a\0/c.h5")
        ),
        # With ".h5" itself still short enough, and not.
        *(("x" * length + ".h5", "File name too long") for length in (246, 300)),
    ],
)
def test_names_that_no_model_may_have(tmp_path, monkeypatch, name, match):
    monkeypatch.chdir(tmp_path)
    Path("link.h5").symlink_to("sonnets-pretrained.h5")
    Path("file").write_text("")
    with pytest.raises(OutputError, match=match) as caught:
        prepare_output(name, "sonnets-pretrained")
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert listing(tmp_path) == ["file", "link.h5"]


def test_a_folder_that_can_not_be_written_to(tmp_path, monkeypatch):
    refuse = Mock(side_effect=PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(OutputError, match=r"Permission denied.*`output`"):
        prepare_output(tmp_path / "mine.h5", "any")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
@pytest.mark.parametrize(
    "name",
    ["mine.h5", "mine.previous.h5", "mine.checkpoint", "mine.previous.checkpoint"],
)
def test_a_folder_or_device_of_that_name(tmp_path, name, make):
    make(tmp_path / name)
    with pytest.raises(OutputError, match=rf"{name}', but it is a folder or device"):
        prepare_output(tmp_path / "mine.h5", "any")


@pytest.mark.parametrize("why", ["interrupted", "diverged"])
def test_an_unfinished_model_never_takes_the_place_of_a_finished_one(
    tmp_path, unsaved, why
):
    model, metadata = unsaved
    path, previous = tmp_path / "mine.h5", tmp_path / "mine.previous.h5"
    for steps, (run, unfinished, moved, kept) in enumerate(
        [
            ("good", True, False, None),
            ("good", False, False, None),
            ("first", True, True, "good"),
            ("second", True, False, "good"),
            ("better", False, False, "good"),
            ("best", False, True, "better"),
            ("best", False, True, "best"),
        ]
    ):
        record = {"training": {"run": run, "steps": steps, why: unfinished}}
        received = save_keeping_previous(model, metadata | record, path)
        assert received == (previous if moved else None)
        assert load_model(path).metadata["training"]["run"] == run
        if kept is not None:
            assert load_model(previous).metadata["training"]["run"] == kept
    assert listing(tmp_path) == ["mine.h5", "mine.previous.h5"]


# One training of an output at a time

HOLDER = """
import sys, time
from pathlib import Path
from textgen.training.output import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_lock_vanishes_with_its_process(tmp_path):
    output = tmp_path / "mine.h5"
    command = [sys.executable, "-c", HOLDER, str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match="another is running"), locked(output):
            pass
        with locked(tmp_path / "other.h5") as notes:
            assert notes == []
        holder.kill()
    with locked(output):
        pass
    assert listing(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "no"), NotImplementedError()])
def test_a_disk_without_locks_is_written_to_and_that_is_told(
    tmp_path, monkeypatch, error
):
    monkeypatch.setattr(FileLock, "acquire", Mock(side_effect=error))
    with locked(tmp_path / "mine.h5") as notes:
        assert "knows no locks" in notes[0]


def test_a_folder_that_takes_no_lock_file(tmp_path, monkeypatch):
    read_only = OSError(errno.EROFS, os.strerror(errno.EROFS))
    monkeypatch.setattr(FileLock, "acquire", Mock(side_effect=read_only))
    with pytest.raises(OutputError, match="Read-only"), locked(tmp_path / "mine.h5"):
        pass
