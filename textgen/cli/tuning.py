"""What `train` does for --tune: search for settings, and tell what was found."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgen.config import LENGTHS, MOST_MINUTES, USUAL_VALIDATION, Config
from textgen.errors import OptionError, TextgenError, option_name
from textgen.system.checks import check_number
from textgen.system.process import import_quietly, is_installed
from textgen.system.terminal import print_result, say
from textgen.training.recipe import CHOSEN_FOR_MINUTES, OF_THE_NETWORK
from textgen.training.setup import Preparation, TrainingRequest, prepare

if TYPE_CHECKING:
    from textgen.training.tuning import Found

INSTALL = "install it with: pip install 'textgen-lstm[tune]'"
TRIALS = 10  # that a search would have time for if it took none to start
SHOWN = 5  # of the best ones
NOT_OF_A_TRIAL = (*LENGTHS, "patience", "keep_best", "validation")
FIXED = ("steps", "precision", "seed")  # of `CHOSEN_FOR_MINUTES`, not searched for


def tuned(
    request: TrainingRequest, prog: str, started_s: float
) -> TrainingRequest | None:
    """Search for the minutes of ``tune``; return what is to be trained then, if any.

    The command that trains with the best settings is a line on standard output, unless
    it is done at once, as a length asks for. Whatever ended the search early is raised
    once that is said.
    """
    minutes = _check(request)
    with prepare(replace(request, tune=None)):
        pass  # what forbids the training in the end is told before the search
    asked = request.overrides.get("minutes")
    each = min(minutes / TRIALS, asked or minutes)
    with tempfile.TemporaryDirectory() as folder:
        trials = _request_of_trials(request, each, Path(folder, "trial.h5"))
        with prepare(trials) as ready:
            for note in ready.notes:
                say(note)
            say(f"starting TensorFlow, for trials of {each:.2g} minutes …")
            tuning = import_quietly("textgen.training.tuning")
            until_s = started_s + 60 * minutes
            given = request.overrides
            try:
                found = tuning.search(ready, given, until_s=until_s, say=say)
            except OptionError as error:
                # What a trial lacks, its own minutes, nobody has given.
                if "`minutes`" in error.problem:
                    a_trial = "the minutes of a trial, a tenth of `tune`,"
                    error.problem = error.problem.replace("`minutes`", a_trial)
                    error.advice = "give `tune` ten times that"
                raise
            _say_best(found)
            chosen = _with_settings(request, found.config, ready)
    is_trained = any(request.overrides.get(name) is not None for name in LENGTHS)
    if not is_trained:
        chosen = replace(chosen, overrides={**chosen.overrides, "minutes": each})
    command = command_of(chosen, prog)
    if found.interruption is None and is_trained:
        say(f"training with the best of them: {command}")
        return chosen
    for_a_trial = "" if is_trained else ", for the minutes of a trial; give more"
    say(f"to train with the best of them{for_a_trial}:")
    print_result(command)
    if found.interruption is not None:
        raise found.interruption
    return None


def _check(request: TrainingRequest) -> float:
    """Return the minutes of a search, if it can be begun."""
    minutes = check_number("tune", request.tune, 0, MOST_MINUTES, above=True)
    for name in ("resume", "distribute"):
        if getattr(request, name):
            raise OptionError(f"`tune` begins a training anew, without `{name}`")
    if request.corpus in ("-", ["-"]):
        problem = "`tune` reads the text again to train on it, and - only once"
        raise OptionError(problem, "save it as a file")
    if not is_installed("optuna"):
        raise TextgenError("`tune` needs Optuna", INSTALL)
    return minutes


def _request_of_trials(
    request: TrainingRequest, minutes: float, output: Path
) -> TrainingRequest:
    given = request.overrides
    others = {x: value for x, value in given.items() if x not in NOT_OF_A_TRIAL}
    share = given.get("validation") or USUAL_VALIDATION
    own = {"minutes": minutes, "validation": share}
    return replace(
        request, output=output, overrides=others | own, tensorboard=None, csv=None
    )


def _with_settings(
    request: TrainingRequest, found: Config, ready: Preparation
) -> TrainingRequest:
    """Return the request with all that a budget would settle as it was found."""
    kept = OF_THE_NETWORK if ready.start is not None else ()
    names = [x for x in CHOSEN_FOR_MINUTES if x not in (*FIXED, *kept)]
    values = found.flat()
    given = {x: value for x, value in request.overrides.items() if value is not None}
    if ready.start is None and ready.corpus.kind == "text":
        names.append("stateful")  # by the windows and the part that a trial reads
    settings = given | {name: values[name] for name in names}
    return replace(request, tune=None, overrides=settings)


def command_of(request: TrainingRequest, prog: str) -> str:
    """Return the command line of a request."""
    given = request.corpus
    paths = [given] if isinstance(given, str | os.PathLike) else given or []
    words = [*(["python"] if prog.endswith(".py") else []), *prog.split()]
    words += map(str, paths)
    usual = TrainingRequest()
    options: dict[str, Any] = {
        field.name: getattr(request, field.name)
        for field in fields(TrainingRequest)
        if field.name not in ("corpus", "overrides")
        and getattr(request, field.name) != getattr(usual, field.name)
    }
    for name, value in (options | _set(request.overrides)).items():
        off = "no-" if value is False else ""
        words.append(f"--{off}{option_name(name)}")
        if not isinstance(value, bool):
            words.append(f"{value:.6g}" if isinstance(value, float) else str(value))
    return shlex.join(words)


def _set(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {x: value for x, value in overrides.items() if value is not None}


def _say_best(found: Found) -> None:
    """Say what the best trials were, and the first, which had the usual settings."""
    say("on the validation part, the best trials and the first:")
    ranked = found.best_first
    shown = ranked[:SHOWN]
    shown += [trial for trial in ranked[SHOWN:] if trial is found.trials[0]]
    names = list(shown[0].settings)
    rows = [["trial", "figure", *map(option_name, names)]]
    for trial in shown:
        number = found.trials.index(trial) + 1
        values = [f"{trial.settings[name]:g}" for name in names]
        rows.append([str(number), trial.figure, *values])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        say("  ".join(f"{cell:>{width}}" for cell, width in cells))
    if len(found.trials) < SHOWN:
        say("so few trials say little: more minutes of `tune` make more of them")
