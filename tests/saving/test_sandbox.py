import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from keras_fixtures import keras_2_lstm, sparse_array

from textgen.errors import ModelFileError
from textgen.saving import model_file, sandbox, sandbox_worker
from textgen.saving.contents import read_contents
from textgen.saving.model_file import load_model
from textgen.saving.sandbox import Reader

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def path(tmp_path) -> Path:
    return keras_2_lstm().write(tmp_path / "m.h5")


def read(path):
    with Reader() as reader:
        return reader.read(path)


def assert_same(ours, theirs):
    assert vars(ours) | {"weights": 0} == vars(theirs) | {"weights": 0}
    assert ours.weights.keys() == theirs.weights.keys()
    for name, arrays in theirs.weights.items():
        for one, other in zip(ours.weights[name], arrays, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.fixture
def run_instead(monkeypatch, tmp_path):
    """Return a function that lets another program answer."""

    def use(code: str) -> None:
        (tmp_path / "sandbox_worker.py").write_text(code)
        monkeypatch.setattr(sandbox, "__file__", str(tmp_path / "sandbox.py"))

    return use


@pytest.fixture
def answered(run_instead):
    """Return a function that lets a program that is ready give an answer."""
    ready = "import sys; print(flush=True); sys.stdin.buffer.read()\n"
    return lambda x: run_instead(f"{ready}sys.stdout.buffer.write({x!r})")


@pytest.fixture
def changed_worker(run_instead, monkeypatch):
    """Return a function that changes something in the worker."""

    def use(old: str, new: str) -> None:
        source = Path(sandbox_worker.__file__).read_text()
        assert source.count(old) == 1
        folders = [str(Path(sandbox_worker.__file__).parents[2]), *sys.path]
        run_instead(source.replace(old, new))
        monkeypatch.setattr(sandbox, "_import_folders", lambda: folders)

    return use


def test_what_comes_back_is_what_is_read_here(path):
    assert_same(read(path), read_contents(io.BytesIO(path.read_bytes())))


def test_our_own_file_comes_back_with_metadata_and_hash(prose_model):
    contents = read(prose_model)
    assert contents.hashed is True
    assert json.loads(contents.metadata)["corpus"]["name"] == "sonnets"


def test_any_file_name_goes_through(tmp_path, path):
    strange = os.fsencode(tmp_path) + b"/new\nline \xff\xc3.h5"
    os.rename(path, strange)
    assert read(os.fsdecode(strange)).keras_version == "2.0.6"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_the_wall_clock_limits_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "WALL_S", 1)
    os.mkfifo(tmp_path / "pipe")
    started = time.monotonic()
    with pytest.raises(ModelFileError, match=r"^((?!damaged).)*more than 1 s"):
        read(tmp_path / "pipe")  # nobody will ever write to it
    assert 0.9 < time.monotonic() - started < 30


def test_the_clock_starts_when_the_process_is_ready(path, monkeypatch, changed_worker):
    monkeypatch.setattr(sandbox, "WALL_S", 3)
    changed_worker("def main(", "import time; time.sleep(4)\n\ndef main(")
    assert_same(read(path), read_contents(io.BytesIO(path.read_bytes())))


def test_a_crash_is_one_line(path):
    with Reader() as reader:
        reader._process.kill()
        reader._process.wait()
        with pytest.raises(ModelFileError, match="status -9"):
            reader.read(path)


# Another program in the process' place


WHOLE = {"config": "{}", "keras_version": "3.0", "metadata": None, "hashed": False}
WHOLE |= {"layers": [], "unlimited": []}


def answer_of(header: dict | bytes, rest: bytes = b"") -> bytes:
    """Return an answer whose header is complete but for what is given."""
    if isinstance(header, dict):
        header = json.dumps(WHOLE | header).encode()
    return len(header).to_bytes(8) + header + rest


def one_array(*shape) -> dict:
    return {"layers": [["a", [shape]]]}


FLOATS = np.arange(3, dtype=np.float32)
ANSWERS = {
    "nothing": b"",
    "no names": answer_of(b"{}"),
    "a list": answer_of(b"[]"),
    "a number": answer_of(b"7"),
    "no JSON": answer_of(b"no json"),
    "JSON without end": answer_of(b"[" * 100_000),
    "a header without end": b"\xff" * 99,
    "a header cut short": answer_of({})[:-1],
    "no config": answer_of({"config": None}),
    "a config that is no text": answer_of({"config": 5}),
    "a version that is no text": answer_of({"keras_version": 5}),
    "metadata that are no text": answer_of({"metadata": ["x"]}),
    "a layer that is a number": answer_of({"layers": [5]}),
    "shapes that are a text": answer_of({"layers": [["a", "x"]]}),
    "no array": answer_of(one_array(3)),
    "an array cut short": answer_of(one_array(3), bytes(11)),
    "an array of terabytes": answer_of(one_array(10**6, 10**6)),
    "an array without end": answer_of(one_array(0, 10**30)),
    "an array of less than nothing": answer_of(one_array(-1, -9), bytes(36)),
    "an array of words": answer_of(one_array("x"), bytes(4)),
    "more than any file gives": answer_of(one_array(6 * 10**7 + 1), bytes(4 * 10**6)),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_not_believed(name, answered, path):
    answered(ANSWERS[name])
    with pytest.raises(ModelFileError, match=r"^.*structure is damaged.*\Z"):
        read(path)


def test_an_answer_that_is_right_is_taken(answered, path):
    """So that it is each of those answers that is refused, and not the way it came."""
    answered(answer_of(one_array(3) | {"config": "x"}, FLOATS.tobytes()))
    contents = read(path)
    assert contents.config == "x"
    np.testing.assert_array_equal(contents.weights["a"][0], FLOATS)
    assert not contents.weights["a"][0].flags.writeable


def test_an_error_is_not_believed_to_be_one_short_line(answered, path):
    answered(answer_of({"error": [99_999 * "-\n", "advice"]}))
    with pytest.raises(ModelFileError, match="- - -") as caught:
        read(path)
    assert len(caught.value.problem) == sandbox.MAX_ERROR_CHARS
    assert "\n" not in str(caught.value)


def test_a_process_that_can_not_start_is_no_damage(run_instead, path):
    run_instead("import nothing_at_all")
    with pytest.raises(ModelFileError, match=r"before it was ready \(status 1\)"):
        read(path)


@pytest.mark.skipif(not hasattr(signal, "SIGXCPU"), reason="needs POSIX")
def test_no_processor_time_left_is_no_damage(run_instead, path):
    ready = "import os, signal\nprint(flush=True)\n"
    run_instead(f"{ready}os.kill(os.getpid(), signal.SIGXCPU)")
    with pytest.raises(ModelFileError, match=r"took more than \d+ s"):
        read(path)


@pytest.mark.skipif(sys.platform != "linux", reason="limits what only Linux limits")
def test_a_file_that_needs_more_memory_is_one_line(changed_worker, path):
    changed_worker("MEMORY_BYTES = 800 << 20", "MEMORY_BYTES = 250 << 20")
    with h5py.File(path, "a") as file:
        del file["model_weights/lstm_1/lstm_1/kernel:0"]
        group = file["model_weights/lstm_1/lstm_1"]
        sparse_array(group, "kernel:0", (59_000_000,))
    with pytest.raises(ModelFileError, match="in 1 GB of memory"):
        read(path)


# Limits


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("import resource", "import nothing", "memory and processor time can't be"),
     ('("RLIMIT_AS"', '("RLIMIT_MISSING"', "memory can't be limited"),
     ('("RLIMIT_CORE"', '("RLIMIT_MISSING"', "")],
)  # fmt: skip
def test_what_cannot_be_limited_is_said(old, new, said, changed_worker, path, recwarn):
    changed_worker(old, new)
    assert_same(read(path), read_contents(io.BytesIO(path.read_bytes())))
    assert len(recwarn) == bool(said)
    assert all(str(warning.message).startswith(said) for warning in recwarn)


def test_a_limit_that_fails_does_not_skip_the_others(monkeypatch):
    """MacOS refuses a limit of address space."""
    limits = {}

    def setrlimit(limit, most):
        if limit == resource.RLIMIT_AS:
            raise ValueError("current limit exceeds maximum limit")
        limits[limit] = most[0]

    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert sandbox_worker.limit_resources() == ["memory"]
    assert limits.pop(resource.RLIMIT_CPU) >= sandbox_worker.CPU_S
    assert limits == {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}


@pytest.mark.parametrize("executable", ["/nowhere/python", None, ""])
def test_no_interpreter_is_one_line(executable, monkeypatch, path):
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(ModelFileError, match=r"^.*process of its own.*\Z"):
        load_model(path)


@linux_only
def test_memory_and_processor_time_are_limited(path, changed_worker):
    """The worker answers with its limits, in place of Keras' description."""
    limits = '"config": open("/proc/self/limits").read()'
    changed_worker('"config": contents.config', limits)
    limits = read(path).config.splitlines()
    memory, cpu_s, core, size = (
        next(x for x in limits if x.startswith(name)).split()[-3]
        for name in ("Max address space", "Max cpu time", "Max core", "Max file size")
    )
    assert int(memory) == sandbox_worker.MEMORY_BYTES
    # And what it has spent on starting.
    assert sandbox_worker.CPU_S <= int(cpu_s) <= sandbox_worker.CPU_S + 60
    assert (core, size) == ("0", "0")


# The process


@linux_only
def test_the_process_goes_with_its_parent():
    """Killed outright, the parent leaves nobody behind."""
    code = (
        "import os; from textgen.saving.sandbox import Reader; reader = Reader()\n"
        "reader._process.stdout.read(1); print(reader._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    state = Path(f"/proc/{int(done.stdout)}/stat")
    until = time.monotonic() + 120
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while state.read_text().split()[2] != "Z":
            assert time.monotonic() < until, "the process is still there"
            time.sleep(0.05)


def test_a_reader_that_reads_nothing_is_ended():
    reader = Reader()
    process = reader._process
    reader.close()
    assert process.poll() is not None
    assert process.stdin.closed
    assert process.stdout.closed


def test_the_process_is_a_fresh_interpreter_with_little_in_it(path):
    """It has neither the site's start-up code nor anything of ours but the reader."""
    command = [sys.executable, "-I", "-S", "-X", "importtime", sandbox_worker.__file__]
    command += sandbox._import_folders()
    done = subprocess.run(command, input=os.fsencode(path), capture_output=True)
    loaded = {line.split(b"|")[-1].strip() for line in done.stderr.splitlines()}
    ours = {name.decode() for name in loaded if name.startswith(b"textgen.")}
    modules = ("", ".container", ".contents", ".hdf5")
    saving = {f"textgen.saving{module}" for module in modules}
    assert ours == saving | {"textgen.errors"}
    assert (b"h5py" in loaded, b"site" in loaded, b"tensorflow" in loaded) == (1, 0, 0)
    assert done.stdout.startswith(b"\n" + bytes(4))


def test_a_file_too_large_or_a_device_is_refused_unread(tmp_path):
    path = tmp_path / "m.h5"
    with open(path, "wb") as file:
        file.truncate(model_file.MAX_FILE_BYTES + 1)
    for given, match in ((path, "at most 1,073,741,824"), (os.devnull, "or device")):
        with pytest.raises(ModelFileError, match=match):
            load_model(given)
