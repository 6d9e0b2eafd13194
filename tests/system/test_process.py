"""What is settled before the slow imports, in fresh processes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ("train.py", "generate.py")
SETTLED = """
import os, runpy, signal, sys
sys.argv = ["script", "--nonsense"]
sys.path.insert(0, {root!r})
signal.signal(signal.SIGINT, {handler})
class NumpyComes:
    def find_spec(name, path=None, target=None):
        if name == "numpy":
            print(os.environ.get("OPENBLAS_NUM_THREADS"), flush=True)
            print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"), flush=True)
            print(signal.getsignal(signal.SIGINT).name, flush=True)
            os._exit(0)
sys.meta_path.insert(0, NumpyComes)
runpy.run_path({script!r}, run_name="__main__")
"""


def settled(script: str, handler: str, **variables: str) -> list[str]:
    """Return threads, oneDNN and Ctrl-C handler as they are when NumPy is imported."""
    program = SETTLED.format(
        root=str(ROOT), script=str(ROOT / script), handler=f"signal.{handler}"
    )
    environment = {"PATH": "", **variables}
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    return result.stdout.split()


@pytest.mark.parametrize("script", SCRIPTS)
def test_one_thread_onednn_and_no_traceback_before_numpy_is_imported(script):
    assert settled(script, "default_int_handler") == ["1", "1", "SIG_DFL"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_the_user_has_set_stays(script):
    variables = {"OPENBLAS_NUM_THREADS": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}
    assert settled(script, "SIG_IGN", **variables) == ["2", "0", "SIG_IGN"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_ignored_ctrl_c_stays_ignored(script):
    assert settled(script, "SIG_IGN") == ["1", "1", "SIG_IGN"]


def test_the_import_itself_settles_nothing():
    code = """
import os, signal
before = signal.getsignal(signal.SIGINT), dict(os.environ)
import textgen.system.process
assert (signal.getsignal(signal.SIGINT), dict(os.environ)) == before
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
