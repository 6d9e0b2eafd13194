"""`train --tune`: what it says, what it prints, and what of that can be run."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from textgen.cli import tuning
from textgen.cli.train import parse_arguments
from textgen.cli.tuning import command_of
from textgen.training.setup import TrainingRequest, prepare

pytest.importorskip("optuna")
GUIDE = (Path(__file__).parents[2] / "docs/guide.md").read_text()
STORY = "It was a dark and stormy night;\nthe rain fell in torrents.\n\n" * 40


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("my story.txt").write_text(STORY)
    return tmp_path


@pytest.fixture
def quick(monkeypatch) -> list[dict]:
    """Let a search be of two trials of two steps; return what each was to be."""
    from textgen.training import tuning as module

    searches, real = [], module.search

    def search(ready, given, *, until_s, say):
        searches.append(ready.config.flat())
        config = ready.config.override(steps=2, units=8, layers=1, seq_length=8)
        ready = replace(ready, config=config)
        given = {**given, "units": 8, "layers": 1, "seq_length": 8}
        return real(ready, given, until_s=until_s, most_trials=2, say=say)

    monkeypatch.setattr(module, "search", search)
    return searches


@pytest.mark.long
def test_the_command_that_it_prints_can_be_run(run, quick):
    options = ("my story.txt", "--kind", "text", "--tune", 50, "--held-out", 0.2)
    result = run("train", *options, "--seed", 3)
    assert result.status == 0, result.err
    assert not list(Path("models").glob("*.h5"))
    assert (quick[0]["minutes"], quick[0]["validation"]) == (5, 0.1)
    assert len(re.findall(r"trial \d: .* nats/char, with --", result.err)) == 2
    assert "so few trials say little" in result.err
    (command,) = result.out.splitlines()
    request = parse_arguments(shlex.split(command)[2:], "train.py")
    assert (request.kind, request.tune) == ("text", None)
    given = {x: y for x, y in request.overrides.items() if y is not None}
    assert given["held_out"] == 0.2
    assert (given["seed"], given["minutes"], given["units"]) == (3, 5, 8)
    searched = {"learning_rate", "dropout", "batch_size", "schedule", "weight_decay"}
    assert searched <= given.keys()
    words = [*shlex.split(command.replace("--minutes 5", "--steps 2"))][2:]
    trained = run("train", *words)
    assert trained.out == "models/my story.h5\n", trained.err


@pytest.mark.slow
def test_with_a_length_the_best_is_trained(run, quick):
    """As the manual's commands do, but for steps in place of minutes."""
    plain, trained = re.findall(r"(?m)^python train.py (.* --tune .*)$", GUIDE)
    assert trained == f"{plain} --minutes 3"
    Path("story.txt").write_text(STORY)
    words = [*shlex.split(plain), "--kind", "text", "--steps", 3]
    result = run("train", *words)
    assert result.out == "models/story.h5\n", result.err
    assert re.search(r"(?m)best of them: python train.py .* --steps 3\b", result.err)
    assert "3 steps in" in result.err
    assert "`" not in result.err
    table = result.err.split("and the first:\n")[1].splitlines()[:3]
    assert table[0].split()[:2] == ["trial", "figure"]
    assert {row.split()[0] for row in table[1:]} == {"1", "2"}


def test_a_search_takes_the_length_that_is_asked_for(run, quick, monkeypatch):
    """Where ten trials of it fit into the time."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    from textgen.training import tuning as module

    minutes = []

    def search(ready, given, **_):
        minutes.append(ready.config.training.minutes)
        stop()

    monkeypatch.setattr(module, "search", search)
    for asked in (("--minutes", 2), ("--minutes", 9), ("--epochs", 2)):
        result = run("train", "my story.txt", "--kind", "text", "--tune", 30, *asked)
        assert (result.status, result.out) == (130, "")
    assert minutes == [2, 3, 3]


def test_what_can_not_be_searched_is_one_line(run, monkeypatch):
    run("train", "my story.txt", "--tune", 0).assert_refused("--tune must be a number")
    resumed = run("train", "my story.txt", "--tune", 1, "--resume")
    resumed.assert_refused("without --resume")
    run("train", "-", "--tune", 1).assert_refused("save it as a file")
    run("train", "none.txt", "--tune", 1).assert_refused("none.txt")
    monkeypatch.setattr(tuning, "is_installed", lambda package: False)
    missing = run("train", "my story.txt", "--tune", 1)
    missing.assert_refused("pip install 'textgen-lstm[tune]'")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--output", "my story.txt"], "--output must end in .h5"),
        (["--steps", 5, "--patience", 0], "--patience must be"),
        (["--steps", 0], "--steps must be"),
        (["--steps", 5, "--minutes", 1], "one length"),
        (["--csv", "my story.txt"], "--csv must be a new file"),
    ],
)
def test_what_forbids_the_training_is_told_before_the_search(
    run, quick, options, named
):
    run("train", "my story.txt", "--tune", 60, *options).assert_refused(named)
    assert quick == []


def test_a_trial_writes_no_log_of_the_training(run, quick):
    """Only the training that follows would."""
    request = TrainingRequest("my story.txt", csv="l.csv", tensorboard="logs")
    trials = tuning._request_of_trials(request, 1, Path("trial.h5"))
    assert (trials.csv, trials.tensorboard) == (None, None)
    assert trials.output == Path("trial.h5")


@pytest.mark.parametrize("goes_on", [False, True])
def test_what_is_trained_with_has_all_that_was_found(folder, prose_model, goes_on):
    """But for the network of a saved model, and its state is never carried on."""
    request = TrainingRequest(
        "my story.txt", kind="text", init_from=str(prose_model) if goes_on else None,
        output="m.h5", overrides={"steps": 3},
    )  # fmt: skip
    with prepare(request) as ready:
        found = ready.config.override(stateful=True, units=24, dropout=0.1, stride=None)
        chosen = tuning._with_settings(request, found, ready).overrides
    assert (chosen["steps"], chosen["dropout"]) == (3, 0.1)
    network = {"units": 24, "layers": found.model.layers, "stateful": True}
    expected = {} if goes_on else network
    assert {x: chosen[x] for x in network if x in chosen} == expected


def test_a_search_that_has_no_time_is_one_line(run):
    refused = run("train", "my story.txt", "--kind", "text", "--tune", 0.01)
    refused.assert_refused("a tenth of --tune, must leave time to train")
    assert "give --tune ten times that" in refused.err


def test_a_command_says_all_that_was_asked_for():
    request = TrainingRequest(
        ["a b.txt", "c.csv"], column="text", from_scratch=True, output="m.h5",
        overrides={"units": 64, "seq_length": 32, "learning_rate": 0.0123,
                   "keep_best": True, "patience": None},
    )  # fmt: skip
    command = command_of(request, "textgen train")
    assert re.match(r"textgen train 'a b.txt' c.csv --column text ", command)
    words = shlex.split(command)[2:]
    assert parse_arguments(words, "textgen train") == replace(
        request, overrides=parse_arguments(words, "").overrides
    )
    assert {"--from-scratch", "--keep-best"} <= set(words)
    assert words[words.index("--window") + 1] == "32"
    for stateful, option in ((True, "--stateful"), (False, "--no-stateful")):
        request = TrainingRequest("sonnets", overrides={"stateful": stateful})
        assert command_of(request, "train.py").split()[-1] == option
    assert command_of(TrainingRequest("sonnets"), "train.py") == (
        "python train.py sonnets"
    )
