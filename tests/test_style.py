"""The linter, the formatter and the type checker find nothing, by pyproject.toml."""

import os
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
