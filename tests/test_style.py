"""The linter, the formatter and the type checker find nothing, by pyproject.toml."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", ["ruff check", "ruff format --check", "mypy"])
def test_nothing_is_found_by(command, tmp_path):
    caches = {"RUFF_CACHE_DIR": f"{tmp_path}", "MYPY_CACHE_DIR": os.devnull}
    result = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=ROOT,
        env=os.environ | caches,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_test_changes_the_clock_of_the_whole_process():
    """The web server of the tests shares it, and would sleep on another's time.

    A test gives the module that it tests a `time` of its own instead.
    """
    changed = re.compile(r"""setattr\((?:time|\w+\.time|["']time)\b""")
    tests = (ROOT / "tests").rglob("test_*.py")
    found = [path.name for path in tests if changed.search(path.read_text("utf-8"))]
    assert found == []
