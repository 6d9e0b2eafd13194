"""The fuzzing script in short, and that it notices what it looks for."""

import subprocess
import sys
from dataclasses import replace

import fuzz_model_files as script
import numpy as np

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


def test_broken_rules_are_noticed(tmp_path, monkeypatch):
    sources, recorder = script.Sources(tmp_path), script.Recorder()
    monkeypatch.setattr(model_file, "Reader", lambda: recorder)
    kind, read = script.KINDS[2], script.Recorder.read

    def rule(*patch, kind=kind, ours=False) -> str:
        """Say which rule a valid file breaks while something is patched."""
        with monkeypatch.context() as context:
            if patch:
                context.setattr(*patch)
            path, text = sources.paths[kind], sources.texts[kind]
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
