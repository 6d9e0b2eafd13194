"""Where a model goes: found out before training, and nothing lost when saving fails."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from filelock import FileLock

from textgen.errors import OutputError
from textgen.modeling.model import build_model, network_of
from textgen.saving.model_file import load_model
from textgen.training.checkpoint import checkpoint_paths
from textgen.training.output import (
    check_room,
    locked,
    prepare_output,
    save_keeping_previous,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pair(make_model_file):
    """Two networks of one shape that differ, and their metadata."""
    saved = load_model(make_model_file("pair", "text", "\n abc"))
    models = [build_model(saved.config.model, 5, seed=seed) for seed in (1, 2)]
    return models, dict(saved.metadata)


def embedding_of(path):
    return load_model(path).network.embedding


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_is_created_and_nothing_left_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for asked, path in (
        (tmp_path / "a" / "b" / "mine.h5", tmp_path / "a" / "b" / "mine.h5"),
        (None, Path("models", "letters.h5")),
        ("previous.h5", Path("previous.h5")),
    ):
        assert prepare_output(asked, "letters") == path
        assert not list(path.parent.glob("*.h5*"))
        assert not list(path.parent.glob(".*"))


@pytest.mark.parametrize("name", ["mine", "mine.keras", "mine.h5.txt", "", ".h5"])
def test_the_name_must_end_in_h5(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=r"must end in \.h5, but was"):
        prepare_output(name, "any")


def test_pretrained_and_earlier_models_are_never_written_to(tmp_path):
    (tmp_path / "sonnets.h5").symlink_to(tmp_path / "sonnets-pretrained.h5")
    for output, corpus_name, what in (
        ("sonnets-pretrained.h5", "any", "a pretrained model"),
        ("sonnets.h5", "any", "a pretrained model"),
        (None, "sonnets-pretrained", "a pretrained model"),
        ("mine.previous.h5", "any", "an earlier model"),
        (".previous.h5", "any", "an earlier model"),
    ):
        path = None if output is None else tmp_path / output
        with pytest.raises(OutputError, match=f"{what}, but was .*another name"):
            prepare_output(path, corpus_name)


def test_a_folder_that_can_not_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "models").write_text("")
    with pytest.raises(OutputError, match=r"models' can't be written .*`output`"):
        prepare_output(tmp_path / "models" / "mine.h5", "any")
    for length in (246, 300):  # with ".h5" itself still short enough, and not
        with pytest.raises(OutputError, match="File name too long"):
            prepare_output(tmp_path / ("x" * length + ".h5"), "any")

    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(OutputError, match=r"Permission denied.*`output`"):
        prepare_output(tmp_path / "mine.h5", "any")


@pytest.mark.parametrize(
    ("there", "needed"),
    [((), 3000), ((1000,), 2000), ((9000, 9000), 1000), ((100, 10), 2890)],
)
def test_a_disk_too_full_for_all_that_will_be_written(
    tmp_path, monkeypatch, there, needed
):
    path = tmp_path / "mine.h5"
    for file, size in zip(checkpoint_paths(path), there, strict=False):
        file.write_bytes(bytes(size))
    room = SimpleNamespace(total=10**6, free=needed)
    monkeypatch.setattr(shutil, "disk_usage", {tmp_path: room}.__getitem__)
    check_room(path, 1000)
    room.free -= 1
    with pytest.raises(OutputError, match=f"about {needed:,} bytes free") as caught:
        check_room(path, 1000)
    assert f"there are {needed - 1:,}: make room" in str(caught.value)


def test_a_disk_that_does_not_tell_its_room_is_tried(tmp_path, monkeypatch):
    def fail(folder):
        raise OSError(errno.ENOSYS, "not known here")

    nothing = SimpleNamespace(total=0, free=0)
    for disk_usage in (fail, lambda folder: nothing):
        monkeypatch.setattr(shutil, "disk_usage", disk_usage)
        check_room(tmp_path / "mine.h5", 10**18)


@pytest.mark.parametrize("name", ["a\0b.h5", "\ud800.h5", "a\0b/c.h5"])
def test_a_name_that_no_file_can_have(tmp_path, name):
    with pytest.raises(OutputError, match=r"can't be written \(.*`output`"):
        prepare_output(tmp_path / name, "any")
    assert listing(tmp_path) == []


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
@pytest.mark.parametrize(
    "name",
    ["mine.h5", "mine.previous.h5", "mine.checkpoint", "mine.previous.checkpoint"],
)
def test_a_folder_or_device_of_that_name(tmp_path, name, make):
    make(tmp_path / name)
    with pytest.raises(OutputError, match=rf"{name}', but it is a folder or device"):
        prepare_output(tmp_path / "mine.h5", "any")


def test_control_characters_in_a_path_are_shown_escaped(tmp_path):
    with pytest.raises(OutputError, match=r"\\x1b\[31m") as caught:
        prepare_output(tmp_path / "a\x1b[31m\nb", "any")
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_earlier_model_is_kept_and_the_one_before_it_goes(tmp_path, pair):
    (first, second), metadata = pair
    path = tmp_path / "mine.h5"
    assert save_keeping_previous(first, metadata, path) is None
    assert listing(tmp_path) == ["mine.h5"]
    for model, earlier in ((second, first), (first, second)):
        previous = save_keeping_previous(model, metadata, path)
        assert previous == tmp_path / "mine.previous.h5"
        assert listing(tmp_path) == ["mine.h5", "mine.previous.h5"]
        np.testing.assert_array_equal(embedding_of(path), network_of(model).embedding)
        np.testing.assert_array_equal(
            embedding_of(previous), network_of(earlier).embedding
        )


@pytest.mark.parametrize("why", ["interrupted", "diverged"])
def test_an_unfinished_model_never_takes_the_place_of_a_finished_one(
    tmp_path, pair, why
):
    models, metadata = pair
    path, previous = tmp_path / "mine.h5", tmp_path / "mine.previous.h5"

    def save(run, model, **record):
        training = {"run": run, "steps": 3, **record}
        return save_keeping_previous(model, metadata | {"training": training}, path)

    def runs():
        return [load_model(f).metadata["training"]["run"] for f in (path, previous)]

    assert save("good", models[0]) is None
    assert save("first", models[1], **{why: True}) == previous
    assert runs() == ["first", "good"]
    assert save("second", models[1], **{why: True}) is None
    assert runs() == ["second", "good"]
    assert save("better", models[1]) is None
    assert runs() == ["better", "good"]
    assert save("best", models[1]) == previous
    assert runs() == ["best", "better"]


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "store").mkdir()
    link = tmp_path / "mine.h5"
    link.symlink_to(tmp_path / "store" / "real.h5")
    assert prepare_output(link, "any") == tmp_path / "store" / "real.h5"


def test_a_full_disk_leaves_the_earlier_model(small_disk, pair):
    (first, second), metadata = pair
    path = small_disk / "mine.h5"
    save_keeping_previous(first, metadata, path)
    before = path.read_bytes()
    assert 2 * len(before) > 64 * 1024 - 8192, "the disk must be too small for two"
    with pytest.raises(OutputError, match="No space left on device; what was there"):
        save_keeping_previous(second, metadata, path)
    assert path.read_bytes() == before
    assert listing(small_disk) == ["mine.h5"]


# One training of an output at a time

HOLDER = """
import sys, time
from pathlib import Path
from textgen.training.output import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_training_is_refused_until_the_first_has_ended(tmp_path):
    output = tmp_path / "mine.h5"
    with locked(output) as notes:
        assert notes == []
        with pytest.raises(OutputError, match="another is running"), locked(output):
            pass
        with locked(tmp_path / "other.h5"):
            pass
    with locked(output):
        pass
    assert listing(tmp_path) == []


def test_the_lock_vanishes_with_its_process(tmp_path):
    output = tmp_path / "mine.h5"
    command = [sys.executable, "-c", HOLDER, str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match="another is running"), locked(output):
            pass
        holder.kill()
    with locked(output):
        pass


@pytest.fixture
def refuse_lock(monkeypatch):
    """Return a function that lets the system refuse all locks with an error."""

    def refuse(error):
        monkeypatch.setattr(FileLock, "acquire", Mock(side_effect=error))

    return refuse


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "no"), NotImplementedError()])
def test_a_disk_without_locks_is_written_to_and_that_is_told(
    tmp_path, refuse_lock, error
):
    refuse_lock(error)
    with locked(tmp_path / "mine.h5") as notes:
        assert "knows no locks" in notes[0]


def test_a_folder_that_takes_no_lock_file(tmp_path, refuse_lock):
    refuse_lock(OSError(errno.EROFS, os.strerror(errno.EROFS)))
    with pytest.raises(OutputError, match="Read-only"), locked(tmp_path / "mine.h5"):
        pass
