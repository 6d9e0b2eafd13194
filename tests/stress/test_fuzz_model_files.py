"""The fuzzing script in short, and that it notices what it looks for."""

import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import fuzz_model_files as script
import numpy as np
import pytest

from textgen.saving import model_file, trained_model


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_some_hundred_changed_files():
    command = [sys.executable, script.__file__, "--count", "300", "--seed", "5"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules broken: 0" in done.stdout


def test_broken_rules_are_noticed(tmp_path, monkeypatch):
    sources, recorder = script.make_sources(tmp_path), script.Recorder()
    monkeypatch.setattr(model_file, "Reader", lambda: nullcontext(recorder))
    read = script.Recorder.read

    def rule(*patch, kind=script.KINDS[2], ours=False) -> str:
        """Say which rule a valid file breaks while something is patched."""
        path, _, text = sources[kind]
        with monkeypatch.context() as context:
            if patch:
                context.setattr(*patch)
            return script.broken_rule(path, text, ours, recorder)

    def with_nan(self, path):
        contents = read(self, path)
        more = {**contents.weights, "x": (np.array([np.nan]),)}
        self.contents = replace(contents, weights=more)
        return contents

    assert rule() == "accepted"
    assert "ours" in rule(kind=script.OWN, ours=True)
    assert "layers" in rule(script, "LAYERS", {"LSTM"})
    assert rule(script, "MARGIN_S", -script.sandbox.WALL_S) == "too slow"
    assert "ZeroDivision" in rule(trained_model, "build_model", lambda _: 1 / 0)
    assert "not finite" in rule(script.Recorder, "read", with_nan)
