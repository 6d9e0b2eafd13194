"""Importing without the notes of native code, and with everything else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from textgen.system.process import import_quietly

NOISY = """
import os, sys
os.write(2, b"a note of native code\\n")
LEVEL = os.environ["TF_CPP_MIN_LOG_LEVEL"]
"""


@pytest.fixture
def noisy(tmp_path, monkeypatch):
    (tmp_path / "noisy.py").write_text(NOISY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "noisy", raising=False)
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    return tmp_path


def test_notes_are_lost_and_standard_error_comes_back(noisy, capfd):
    module = import_quietly("noisy")
    assert module.LEVEL == "3"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_a_level_that_was_chosen_stays(noisy, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    assert import_quietly("noisy").LEVEL == "1"


@pytest.mark.parametrize("fault", ["raise KeyboardInterrupt", "import nowhere_at_all"])
def test_what_the_import_raises_is_raised(noisy, capfd, fault):
    Path(noisy, "noisy.py").write_text(fault)
    with pytest.raises((KeyboardInterrupt, ModuleNotFoundError)):
        import_quietly("noisy")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_no_descriptor_is_left_open(noisy):
    before = os.dup(0)
    os.close(before)
    import_quietly("noisy")
    after = os.dup(0)
    os.close(after)
    assert after == before


def test_with_standard_error_closed():
    code = (
        "import textgen.system.process as q; print(q.import_quietly('json').__name__)"
    )
    command = f'"{sys.executable}" -c "{code}" 2>&-'
    result = subprocess.run(command, shell=True, stdout=subprocess.PIPE)
    assert result.stdout == b"json\n"
