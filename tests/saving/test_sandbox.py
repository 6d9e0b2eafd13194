import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from keras_fixtures import keras_2_lstm

from textgen.errors import ModelFileError
from textgen.saving import model_file
from textgen.saving import sandbox as reader_process
from textgen.saving import sandbox_worker as reader_child
from textgen.saving.hdf5 import read_contents
from textgen.saving.model_file import load_model
from textgen.saving.sandbox import Reader


@pytest.fixture
def path(tmp_path) -> Path:
    return keras_2_lstm().write(tmp_path / "m.h5")


def assert_same(ours, theirs):
    assert ours.config == theirs.config
    assert ours.keras_version == theirs.keras_version == "2.0.6"
    assert ours.metadata is theirs.metadata is None
    assert ours.weights.keys() == theirs.weights.keys()
    for name, arrays in theirs.weights.items():
        for one, other in zip(ours.weights[name], arrays, strict=True):
            assert one.dtype == other.dtype == np.float32
            np.testing.assert_array_equal(one, other)


def test_what_comes_back_is_what_is_read_here(path):
    here = read_contents(path.read_bytes())
    with Reader() as reader:
        assert_same(reader.read(path), here)
        # What an earlier file left in the pipe would show in a later one.
        with pytest.raises(ModelFileError, match="something else"):
            reader.read(__file__)
        assert_same(reader.read(path), here)


def test_any_file_name_goes_through(tmp_path, path):
    strange = os.fsencode(tmp_path) + b"/new\nline \xff\xc3.h5"
    os.rename(path, strange)
    with Reader() as reader:
        assert reader.read(os.fsdecode(strange)).keras_version == "2.0.6"


def test_the_wall_clock_limits_it(tmp_path, monkeypatch):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names here")
    monkeypatch.setattr(reader_process, "WALL_S", 1)
    os.mkfifo(tmp_path / "pipe")
    started = time.monotonic()
    with (
        Reader() as reader,
        pytest.raises(ModelFileError, match="more than 1 s") as caught,
    ):
        reader.read(tmp_path / "pipe")  # nobody will ever write to it
    assert "damaged" not in str(caught.value)
    assert 0.9 < time.monotonic() - started < 5


def test_a_crash_is_one_line(path):
    with Reader() as reader:
        reader._process.kill()
        reader._process.wait()
        with pytest.raises(ModelFileError, match="status -9") as caught:
            reader.read(path)
    assert "\n" not in str(caught.value)


def answering(monkeypatch, tmp_path, code: str) -> None:
    """Put another program in the child's place."""
    (tmp_path / "sandbox_worker.py").write_text(code)
    (tmp_path / "reader_process.py").touch()
    monkeypatch.setattr(reader_process, "__file__", str(tmp_path / "reader_process.py"))


@pytest.mark.parametrize(
    "answer",
    [
        "{}\\n",
        "[]\\n",
        "7\\n",
        "no json\\n",
        "[" * 100_000 + "\\n",
        '{"limited": true, "hashed": false, "keras_version": 5, '
        '"texts": [2], "layers": []}\\n{}',
        '{"limited": true, "hashed": false, "keras_version": null, '
        '"texts": [99999999999], "layers": []}\\n',
        '{"limited": true, "hashed": false, "keras_version": null, '
        '"texts": [-5], "layers": []}\\n',
        '{"limited": true, "hashed": false, "keras_version": null, '
        '"texts": [2], "layers": [["a", [[1000000, 1000000]]]]}\\n{}',
        '{"limited": true, "hashed": false, "keras_version": null, '
        '"texts": [2], "layers": [["a", [[-1, -9]]]]}\\n{}',
        '{"limited": true, "hashed": false, "keras_version": null, '
        '"texts": [2], "layers": [["a", [["x"]]]]}\\n{}',
        '{"limited": true, "hashed": false, "keras_version": null, '
        '"texts": [2], "layers": [["a", [[3]]]]}\\n{}cut',
    ],
)
def test_an_answer_is_not_believed(answer, monkeypatch, tmp_path, path):
    answering(monkeypatch, tmp_path, f"print('''{answer}''', end='')")
    with (
        Reader() as reader,
        pytest.raises(ModelFileError, match="structure is damaged"),
    ):
        reader.read(path)


def test_an_error_is_not_believed_to_be_one_short_line(monkeypatch, tmp_path, path):
    code = """print('{"error": "' + 99_999 * '-\\\\n' + '"}')"""
    answering(monkeypatch, tmp_path, code)
    with Reader() as reader, pytest.raises(ModelFileError, match="- - -") as caught:
        reader.read(path)
    assert len(str(caught.value)) == reader_process.MAX_ERROR_CHARS
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(signal, "SIGXCPU"), reason="needs POSIX")
def test_no_processor_time_left_is_no_damage(monkeypatch, tmp_path, path):
    code = "import os, signal\nos.kill(os.getpid(), signal.SIGXCPU)"
    answering(monkeypatch, tmp_path, code)
    with (
        Reader() as reader,
        pytest.raises(ModelFileError, match=r"took more than \d+ s"),
    ):
        reader.read(path)


def changed_child(monkeypatch, tmp_path, old: str, new: str) -> None:
    """Put the child itself in its place, with something else in it."""
    source = Path(reader_child.__file__).read_text()
    assert source.count(old) == 1
    answering(monkeypatch, tmp_path, source.replace(old, new))
    monkeypatch.setattr(
        reader_process,
        "_import_folders",
        lambda: [str(Path(reader_child.__file__).parents[2]), *sys.path],
    )


@pytest.mark.skipif(sys.platform != "linux", reason="limits what only Linux limits")
def test_a_file_that_needs_more_memory_is_one_line(monkeypatch, tmp_path):
    changed_child(monkeypatch, tmp_path, "MEMORY_BYTES = 512 << 20", "MEMORY_BYTES = 0")
    path = tmp_path / "m.h5"
    path.write_bytes(bytes(4 << 20))
    with Reader() as reader:
        for _ in range(2):  # the process goes on
            with pytest.raises(ModelFileError, match="in the memory of its file's"):
                reader.read(path)


def test_without_limits_it_says_so(monkeypatch, tmp_path, path):
    changed_child(monkeypatch, tmp_path, "import resource", "import nothing")
    with Reader() as reader, pytest.warns(UserWarning, match="can't be limited"):
        assert_same(reader.read(path), read_contents(path.read_bytes()))


def test_no_interpreter_is_one_line(monkeypatch, path):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ModelFileError, match="can't be started"):
        load_model(path)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_and_processor_time_are_limited(path):
    with Reader() as reader:
        reader.read(path)
        limits = Path(f"/proc/{reader._process.pid}/limits").read_text()
        modules = Path(f"/proc/{reader._process.pid}/maps").read_text()
    memory, cpu_s, core, size = (
        next(x for x in limits.splitlines() if x.startswith(name)).split()[-3]
        for name in ("Max address space", "Max cpu time", "Max core", "Max file size")
    )
    file_bytes = path.stat().st_size
    assert int(memory) == reader_child.MEMORY_BYTES + 6 * file_bytes
    # And what it has spent on starting.
    assert reader_child.CPU_S <= int(cpu_s) <= reader_child.CPU_S + 60
    assert (core, size) == ("0", "0")
    assert "tensorflow" not in modules


def test_the_child_goes_with_its_parent(path):
    """Killed outright, the parent leaves nobody behind."""
    code = (
        "import os, sys, time\n"
        "from textgen.saving.sandbox import Reader\n"
        "reader = Reader()\n"
        "reader.read(sys.argv[1])\n"
        "print(reader._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True)
    child = int(done.stdout)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        state = Path(f"/proc/{child}/stat")
        if state.exists() and state.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the child is still there")


def test_the_child_is_a_fresh_interpreter_with_little_in_it(path):
    """It has neither the site's start-up code nor anything of ours but the reader."""
    command = [sys.executable, "-I", "-S", "-X", "importtime", reader_child.__file__]
    done = subprocess.run(
        [*command, *reader_process._import_folders()],
        input=os.fsencode(path).hex().encode() + b"\n",
        capture_output=True,
    )
    loaded = {line.split(b"|")[-1].strip() for line in done.stderr.splitlines()}
    ours = {name.decode() for name in loaded if name.startswith(b"textgen.")}
    assert ours == {
        "textgen.errors",
        "textgen.saving",
        "textgen.saving.container",
        "textgen.saving.hdf5",
    }
    assert b"h5py" in loaded
    assert b"site" not in loaded
    assert done.stdout.startswith(b'{"limited": ')


def test_opening_leaves_the_library_out_of_this_process(tmp_path, path):
    text = tmp_path / "text.txt"
    text.write_text(keras_2_lstm().symbols, newline="")
    code = (
        "import sys\n"
        "from textgen.saving.model_file import load_model\n"
        "load_model(*sys.argv[1:])\n"
        "sys.exit('h5py' in sys.modules)"
    )
    command = [sys.executable, "-c", code, path, text]
    assert subprocess.run(command, check=False).returncode == 0


def test_a_file_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "m.h5"
    with open(path, "wb") as file:
        file.truncate(model_file.MAX_FILE_BYTES + 1)
    with pytest.raises(ModelFileError, match="1,073,741,825"):
        load_model(path)
