"""The processor's speed, by a clock and products that are made up."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from textgen.system import hardware as processor
from textgen.system.hardware import available_cores, has_bfloat16, relative_speed


def config(blas):
    """Return what NumPy says of how it was built."""
    return {"Build Dependencies": {"blas": {"name": blas}}}


def pretend(monkeypatch, *, product_s, cores, bfloat16):
    """Let each product take so long, of a clock that stands still otherwise."""
    clock = {"now": 5.0}

    def dot(one, other, out):
        assert one.shape == other.shape == out.shape == (512, 512)
        assert one.dtype == np.float32
        clock["now"] += product_s

    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(processor.np, "show_config", lambda mode: config("openblas"))
    monkeypatch.setattr(processor.np, "dot", dot)
    mine = SimpleNamespace(process_time=lambda: clock["now"])
    monkeypatch.setattr(processor, "time", mine)
    monkeypatch.setattr(processor, "available_cores", lambda: cores)
    monkeypatch.setattr(processor, "has_bfloat16", lambda: bfloat16)


@pytest.mark.parametrize("product_s", [1e-4, 1e-3, 2.0])
def test_speed_is_that_of_products_on_all_cores_of_use(monkeypatch, product_s):
    some = [(1, False, 1), (3, False, 3), (2, True, 3.5), (64, False, 8)]
    for cores, bfloat16, gain in some:
        pretend(monkeypatch, product_s=product_s, cores=cores, bfloat16=bfloat16)
        flop_per_s = gain * 2 * 512**3 / product_s
        assert relative_speed() == pytest.approx(flop_per_s / 660e9)


def test_this_machine_is_no_miracle():
    code = "from textgen.system.hardware import *; print(relative_speed())"
    one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    printed = subprocess.check_output([sys.executable, "-c", code], env=one_thread)
    assert 0.001 < float(printed) / available_cores() < 10
    assert has_bfloat16() in (True, False)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted by /proc")
def test_what_the_tests_start_multiplies_by_one_thread():
    code = "import os, numpy as np; a = np.ones((999, 999)); a @ a"
    code += "; print(len(os.listdir('/proc/self/task')))"
    assert subprocess.check_output([sys.executable, "-c", code]) == b"1\n"


@pytest.mark.parametrize(
    ("threads", "built_with", "is_measured"),
    [("1", config("blas"), True), ("1", {}, True), ("1", config("accelerate"), False),
     ("1", config("mkl-sdl"), False), ("2", config("blas"), False), ("", {}, False)],
)  # fmt: skip
def test_a_blas_that_may_take_more_threads_is_not_measured(
    monkeypatch, threads, built_with, is_measured
):
    pretend(monkeypatch, product_s=1e-4, cores=1, bfloat16=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", threads)
    monkeypatch.setattr(processor.np, "show_config", lambda mode: built_with)
    assert (relative_speed() != 1.0) == is_measured
