"""What all tests share: tiny, untrained model files, made once; the settings."""

from __future__ import annotations

import os

# Before NumPy is imported, as the commands do: each test process has a core of its own,
# and its BLAS would otherwise wait on all cores for threads that the other one delays.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import signal
import string
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings

from textgen.config import Config, ModelConfig, TrainingConfig, WindowConfig
from textgen.saving import sandbox as reader_process
from textgen.training import base_model, plots

# The speed of an example depends on what else the machine does. Examples are the same
# each time; --hypothesis-profile=explore takes new ones, and =long 10,000 of them.
settings.register_profile("textgen", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, derandomize=False)
settings.register_profile("long", settings.get_profile("explore"), max_examples=10_000)
settings.load_profile("textgen")
# Processes that tests start buffer their output, as everybody's do.
os.environ.pop("PYTHONUNBUFFERED", None)
# What is shown depends on the terminal that a test makes, not on the one it runs on.
os.environ["TERM"] = "xterm"
for _set in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(_set, None)

PROSE = "\n " + string.punctuation + string.ascii_letters
NAMES = "\n" + string.ascii_lowercase


@pytest.fixture(scope="session")
def make_model_file(tmp_path_factory) -> Callable[..., Path]:
    """Return a function that saves an untrained model and gives its path."""
    from textgen.modeling.model import build_model
    from textgen.saving.model_file import save_model

    def make(name: str, kind: str, symbols: str, targets: str = "all") -> Path:
        config = Config(
            ModelConfig(layers=2, units=16, embedding=8),
            WindowConfig(seq_length=10, targets=targets),
            TrainingConfig(),
        )
        model = build_model(config.model, len(symbols), targets=targets, seed=1)
        metadata = {
            "format": 2,
            "level": "character",
            "symbols": list(symbols),
            "corpus": {"name": name, "kind": kind, "sha256": "0" * 64},
            "config": config.to_dict(),
            "training": {"steps": 1, "interrupted": False},
        }
        path = tmp_path_factory.mktemp("models") / f"{name}.h5"
        save_model(model, metadata, path)
        return path

    return make


@pytest.fixture(scope="session")
def prose_model(make_model_file) -> Path:
    return make_model_file("sonnets", "text", PROSE)


@pytest.fixture(scope="session")
def names_model(make_model_file) -> Path:
    return make_model_file("dinos", "lines", NAMES)


@pytest.fixture(scope="session")
def window_model(make_model_file) -> Path:
    return make_model_file("course", "text", PROSE, targets="last")


@pytest.fixture
def read_here(monkeypatch) -> None:
    """Let files be read in the test's own process, which needs no start and no limits.

    What is tested so are the checks that refuse a file before any limit does.
    """
    from textgen.saving import model_file
    from textgen.saving.contents import read_contents

    def read(path):
        with path.open("rb") as file:
            return read_contents(file)

    here = SimpleNamespace(read=read)
    monkeypatch.setattr(model_file, "Reader", lambda: nullcontext(here))


@pytest.fixture(scope="session", autouse=True)
def _wall_clock_of_a_busy_machine() -> None:
    """Leave the limit to the reading process's own, of processor time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_process, "WALL_S", 200)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_texts_begin_afresh() -> None:
    """The model of English is large; only tests that ask for one go on from it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base_model, "BASE_MODEL", "none-in-tests")
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_pictures() -> Iterator[None]:
    """Drawing takes a while, where matplotlib is installed; tests of it ask for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "can_draw", lambda: False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _signals_as_in_the_foreground() -> None:
    """Started in the background, or by nohup, Python would ignore Ctrl-C, or SIGHUP."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
