"""Freed memory stays with the process, in fresh processes."""

import ctypes
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from textgen.system import process as memory

ROOT = Path(__file__).parents[2]
BYTES = 24 << 20  # below the greatest threshold
PAGE_FAULTS = f"""
import ctypes, resource, sys
sys.path.insert(0, {str(ROOT)!r})
from textgen.system.process import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
c.free.argtypes = [ctypes.c_void_p]
def faults_of_an_array():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [c.malloc({BYTES}) for _ in range(4)]
    for array in arrays:
        ctypes.memset(array, 1, {BYTES})
    for array in arrays:
        c.free(array)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults_of_an_array()
print(faults_of_an_array())
"""


def has_mallopt() -> bool:
    try:
        return bool(ctypes.CDLL(None).mallopt)
    except (AttributeError, OSError, TypeError):
        return False


def page_faults(how: str) -> int:
    command = [sys.executable, "-c", PAGE_FAULTS, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not has_mallopt(), reason="the C library has no mallopt")
def test_freed_memory_is_used_again():
    assert page_faults("kept") < page_faults("usual") / 10


def test_a_refusal_is_told(monkeypatch):
    refusing = SimpleNamespace(mallopt=lambda name, value: 0)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: refusing)
    assert not memory.keep_freed_memory()


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_another_c_library_is_left_as_it_is(monkeypatch, error):
    def refuse(name):
        raise error

    monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
    assert not memory.keep_freed_memory()
