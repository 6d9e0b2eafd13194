"""The fuzzing script in short, and that it notices what it looks for."""

import subprocess
import sys
from dataclasses import replace

import fuzz_model_files as script
import numpy as np
import pytest

from textgen.saving import model_file, trained_model


def test_some_hundred_changed_files():
    options = ["--count", "300", "--seconds", "60", "--seed", "5"]
    command = [sys.executable, script.__file__, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules broken: 0" in done.stdout


def test_a_seed_repeats_its_files(tmp_path):
    sources = script.Sources(tmp_path)
    made = []
    for _ in range(2):
        for number in range(30):
            path = tmp_path / "changed.h5"
            script.make(np.random.default_rng((1, number)), sources, path)
            made.append(path.read_bytes())
    assert made[:30] == made[30:]
    assert len(set(made)) > 20


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Return a function that says which rule a valid file of a kind breaks."""
    sources, recorder = script.Sources(tmp_path), script.Recorder()
    monkeypatch.setattr(model_file, "Reader", lambda: recorder)

    def rule(kind: str, ours: bool = False) -> str:
        return script.broken_rule(
            sources.paths[kind], sources.texts[kind], ours, recorder
        )

    return rule


def test_broken_rules_are_noticed(opened, monkeypatch):
    kind = script.KINDS[2]
    assert opened(kind) == "accepted"
    assert "ours" in opened(script.OWN, ours=True)
    with monkeypatch.context() as patch:
        patch.setattr(script, "LAYERS", {"LSTM"})
        assert "layers" in opened(kind)
    with monkeypatch.context() as patch:
        patch.setattr(script, "MARGIN_S", -script.sandbox.WALL_S)
        assert opened(kind) == "too slow"
    with monkeypatch.context() as patch:
        patch.setattr(trained_model, "build_model", lambda contents: 1 / 0)
        assert "ZeroDivisionError" in opened(kind)


def test_weights_that_are_not_finite_are_noticed(opened, monkeypatch):
    read = script.Recorder.read

    def with_nan(self, path):
        contents = read(self, path)
        more = {**contents.weights, "x": (np.array([np.nan]),)}
        self.contents = replace(contents, weights=more)
        return contents

    monkeypatch.setattr(script.Recorder, "read", with_nan)
    assert "not finite" in opened(script.KINDS[2])
