"""A short form of `kill_training.py`: some kills, and the same bits at the end."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
def test_a_training_that_is_killed_ends_with_the_same_bits():
    command = [sys.executable, HERE / "kill_training.py", "--kills", "3",
               "--seed", "2", "--steps", "2000"]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    figures = dict(re.findall(r"^([a-z ]+): (\d+)$", result.stdout, re.MULTILINE))
    assert int(figures["kills"]) >= 3
    assert int(figures["files checked"]) >= 2
    assert figures["failures"] == "0"
