"""What is settled before the slow imports, and what is said and kept during them."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from textgen.system.process import import_quietly, is_installed, keep_freed_memory

ROOT = Path(__file__).parents[2]
VARIABLES = ("OPENBLAS_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL")
SETTLED = """
import os, runpy, signal, sys
sys.argv = ["script", "--nonsense"]
sys.path.insert(0, {root!r})
signal.signal(signal.SIGINT, signal.{handler})
class NumpyComes:
    def find_spec(name, path=None, target=None):
        if name == "numpy":
            print(*(os.environ.get(name) for name in {variables}))
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGINT)
            print("goes on", flush=True)
            os._exit(0)
sys.meta_path.insert(0, NumpyComes)
runpy.run_path({script!r}, run_name="__main__")
"""


def settled(script: str, handler: str, **variables: str) -> tuple[int, list[str], str]:
    """Return the status, output and errors of a process that prints the variables.

    Ctrl-C reaches it when NumPy is imported.
    """
    program = SETTLED.format(
        root=str(ROOT), script=str(ROOT / script), handler=handler, variables=VARIABLES
    )
    command, environment = [sys.executable, "-c", program], {"PATH": "", **variables}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout.split(), done.stderr


@pytest.mark.parametrize("script", ["train.py", "generate.py"])
def test_one_thread_onednn_and_one_line_for_ctrl_c_before_numpy_is_imported(script):
    status, variables, told = settled(script, "default_int_handler")
    assert (status, variables) == (130, ["1", "1", "3"])
    assert told == "interrupted\n"


@pytest.mark.parametrize("script", ["train.py", "generate.py"])
def test_what_the_user_has_set_stays(script):
    variables = dict(zip(VARIABLES, "201", strict=True))
    expected = 0, ["2", "0", "1", "goes", "on"], ""
    assert settled(script, "SIG_IGN", **variables) == expected


@pytest.mark.parametrize("fault", [None, KeyboardInterrupt, ModuleNotFoundError])
def test_notes_are_lost_and_standard_error_comes_back(
    tmp_path, monkeypatch, capfd, fault
):
    last_line = f"raise {fault.__name__}" if fault else "LOADED = True"
    noisy = f'import os\nos.write(2, b"a note of native code")\n{last_line}\n'
    (tmp_path / "noisy.py").write_text(noisy)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "noisy", raising=False)
    free = os.dup(0)
    os.close(free)
    if fault:
        with pytest.raises(fault):
            import_quietly("noisy")
    else:
        assert import_quietly("noisy").LOADED
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    assert os.dup(0) == free, "no descriptor is left open"
    os.close(free)


def test_a_folder_is_no_installed_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "board").mkdir()
    assert (is_installed("board"), is_installed("numpy")) == (False, True)


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_another_c_library_is_left_as_it_is(monkeypatch, error):
    asked = []

    def refuse(name):
        asked.append(name)
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    keep_freed_memory()
    assert asked == [None]


PAGE_FAULTS = """
import resource, sys
from textgen.system.process import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [bytearray(24 << 20) for _ in range(4)]  # each below the greatest threshold
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
page_faults()
print(page_faults())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="the C library has no mallopt",
)
def test_freed_memory_is_used_again():
    kept, usual = (
        int(subprocess.check_output([sys.executable, "-c", PAGE_FAULTS, how], cwd=ROOT))
        for how in ("kept", "usual")
    )
    assert kept < usual / 10
