"""The long runs in short: changed model files, random ones, kills, hostile clients."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("command", "end"),
    [("fuzz_model_files.py --count 100 --seed 5", "rules broken: 0\n"),
     ("fuzz_model_files.py --count 60 --seed 5 --own", "rules broken: 0\n"),
     ("random_keras_models.py --count 8 --seed 5", "differing: 0\n"),
     ("kill_training.py --kills 2 --seed 2 --steps 2000", "failures: 0\n"),
     ("abuse_server.py --count 200", "no traceback\n")],
)  # fmt: skip
def test_a_short_run_finds_nothing(command, end):
    script, *options = command.split()
    words = [sys.executable, Path(__file__).with_name(script), *options]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(end)
