"""One training at a time for an output, whatever became of those before it."""

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from textgen.errors import OutputError
from textgen.system import lock
from textgen.system.lock import OutputLock

HOLDER = """
import sys, time
from pathlib import Path
from textgen.system.lock import OutputLock
held = OutputLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def output(tmp_path):
    return tmp_path / "model.h5"


def test_a_second_one_is_refused_until_the_first_is_released(output):
    first = OutputLock(output)
    with pytest.raises(OutputError, match=r"model\.h5', but another is running: .*--o"):
        OutputLock(output)
    OutputLock(output.with_name("other.h5")).release()
    first.release()
    first.release()
    with OutputLock(output) as second:
        assert second.output == output
    assert os.listdir(output.parent) == []


def test_one_that_is_forgotten_is_released(output):
    OutputLock(output)
    gc.collect()
    assert os.listdir(output.parent) == []


def test_it_vanishes_with_its_process(output):
    command = [sys.executable, "-c", HOLDER, str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match="another is running"):
            OutputLock(output)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert os.listdir(output.parent) == [".model.h5.lock"]
        with OutputLock(output):
            pass


def test_a_file_removed_just_before_it_was_locked_is_not_relied_on(output, monkeypatch):
    """The first holder leaves between our opening and our locking."""
    first, usual = OutputLock(output), lock._locked

    def locked(file):
        first.release()
        return usual(file)

    monkeypatch.setattr(lock, "_locked", locked)
    with OutputLock(output):
        monkeypatch.undo()
        with pytest.raises(OutputError, match="another is running"):
            OutputLock(output)


def test_a_disk_without_locks_is_written_to_without_one(output, monkeypatch):
    def refuse(file, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with OutputLock(output), OutputLock(output) as second:
        assert second.output == output


def test_a_folder_that_can_not_be_written(tmp_path):
    with pytest.raises(OutputError, match="No such file"):
        OutputLock(tmp_path / "missing" / "model.h5")
