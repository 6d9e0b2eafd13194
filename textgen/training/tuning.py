"""A search for the settings that suit a text, by short trainings in one process.

Each trial is a training of the usual kind for the same minutes, so that a large network
competes with a small one as it would in the end, and none is saved. What they are
judged by is a validation part, which is cut from the training part: the held-out part
is neither trained on nor looked at. The first trial has the settings that a training of
such a length has anyway (`textgen.training.budget`, or `continuation` where it goes on
from a model). What the next ones have is chosen by Optuna's tree of Parzen estimators
(Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"). At a third and at
two thirds of its steps, a trial that is worse than the median of the earlier ones at
that place ends.
"""

from __future__ import annotations

import gc
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import optuna

from textgen.config import Config
from textgen.errors import OptionError, TextgenError
from textgen.training.base_model import OF_ANOTHER_NETWORK
from textgen.training.recipe import gains_by_state
from textgen.training.session import TrainingSession
from textgen.training.setup import Preparation, trial_of

PARTS = 3  # of a trial; at the end of each but the last it may be given up
DRAWN_AT_RANDOM = 5  # trials, before the others are chosen by what these found
SPARE = 1.1  # times the longest trial so far, before another one is begun
FEWEST_COMPARED = 3  # trials, before any is given up
LAYERS, MOST_DROPOUT = (1, 3), 0.6
UNITS_STEP = 16  # from about a third to twice the usual number
BATCH_SIZES = (8, 16, 32, 64, 128)
WINDOWS = (32, 64, 128, 256)
RATE_FACTORS = (1 / 5, 4)  # of the usual rate
FEWEST_WINDOWS = 20  # that a text has of the longest ones


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, and how well the network then predicted."""

    settings: Mapping[str, Any]  # by the names of `textgen.config.Config`
    nats: float  # per character of the validation part, at the end or when given up
    steps: int
    ended_early: bool = False
    problem: str = ""  # why it failed, if it did

    @property
    def figure(self) -> str:
        """Its nats per character in words, with how it ended."""
        if self.problem:
            return "failed"
        return f"{self.nats:.3f} nats/char{', given up' if self.ended_early else ''}"

    @property
    def rank(self) -> tuple[bool, float]:
        """What the best trial has the least of: those that were given up come last."""
        return self.ended_early, self.nats


@dataclass(frozen=True)
class Found:
    """What a search found."""

    trials: Sequence[Trial]  # in the order in which they were tried
    config: Config  # of the best one
    interruption: type[KeyboardInterrupt] | None  # what ended it early, if anything

    @property
    def best_first(self) -> list[Trial]:
        """The trials, best first."""
        return sorted(self.trials, key=lambda trial: trial.rank)


def search(
    ready: Preparation,
    given: Mapping[str, Any],
    *,
    until_s: float,
    most_trials: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Found:
    """Try settings until a time of `time.monotonic`, and return what was found.

    Args:
        ready: the training whose configuration is the first one tried; its length is
            each trial's, and it has a validation part.
        given: what is not None there isn't searched for.
        until_s: no trial is begun that would take longer; the first one always is.
        most_trials: ends the search, too, and it can be repeated.
        say: is told a line of each trial.

    Raises:
        OptionError: if a trial is too short to train, or nothing is left to search for.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ranges = ranges_of(ready, given)
    seed = ready.config.training.seed
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(n_startup_trials=DRAWN_AT_RANDOM, seed=seed),
        pruner=optuna.pruners.MedianPruner(FEWEST_COMPARED),
    )
    usual = ready.config.flat()
    study.enqueue_trial({name: usual[name] for name in ranges})
    trials: list[Trial] = []
    longest_s, interruption = 0.0, None
    with tempfile.TemporaryDirectory() as folder:
        while not trials or time.monotonic() + SPARE * longest_s <= until_s:
            started_s = time.monotonic()
            proposed = study.ask(ranges)
            try:
                tried = _try(ready, given, proposed, Path(folder, "trial.h5"))
            except KeyboardInterrupt as interrupt:
                interruption = type(interrupt)
                break
            _tell(study, proposed, tried)
            trials.append(tried)
            say(line_of(len(trials), tried, ranges))
            longest_s = max(longest_s, time.monotonic() - started_s)
            if len(trials) == most_trials:
                break
    if not trials:
        assert interruption is not None
        raise interruption
    best = min(trials, key=lambda trial: trial.rank)
    return Found(trials, _config_of(ready, given, best.settings), interruption)


def ranges_of(
    ready: Preparation, given: Mapping[str, Any]
) -> dict[str, optuna.distributions.BaseDistribution]:
    """Return what is searched for, in which range, by the names of a `Config`.

    The ranges lie around the usual values. A saved model's network is kept.
    """
    integer = optuna.distributions.IntDistribution
    real = optuna.distributions.FloatDistribution
    one_of = optuna.distributions.CategoricalDistribution
    usual, symbols = ready.config, ready.windows.symbols
    units, rate = usual.model.units, usual.training.learning_rate
    more = units // UNITS_STEP * UNITS_STEP
    fewer = 2 * more // 3 // UNITS_STEP * UNITS_STEP
    least_rate, most_rate = (rate * factor for factor in RATE_FACTORS)
    windows = [x for x in WINDOWS if x * FEWEST_WINDOWS <= symbols]
    ranges = {
        "layers": integer(*LAYERS),
        "units": integer(units - fewer, units + more, step=UNITS_STEP),
        "seq_length": one_of(sorted({*windows, usual.windows.seq_length})),
        "batch_size": one_of(sorted({*BATCH_SIZES, usual.training.batch_size})),
        "learning_rate": real(least_rate, most_rate, log=True),
        "dropout": real(0.0, max(MOST_DROPOUT, usual.model.dropout)),
    }
    kept = OF_ANOTHER_NETWORK if ready.start is not None else ()
    if given.get("stride") is not None:  # which suits the window that was asked for
        kept = (*kept, "seq_length")
    wanted = {
        name: values
        for name, values in ranges.items()
        if given.get(name) is None and name not in kept
    }
    if not wanted:
        problem = f"`tune` has nothing to search for: {', '.join(ranges)} are all given"
        raise OptionError(problem, "leave out one of them")
    return wanted


def _config_of(
    ready: Preparation, given: Mapping[str, Any], settings: Mapping[str, Any]
) -> Config:
    """Return a trial's configuration; its windows decide if the state is carried on."""
    config = ready.config.override(**settings)
    if given.get("stateful") is None and ready.start is None:
        config = config.override(stateful=gains_by_state(ready.corpus, config))
    return config


def _try(
    ready: Preparation, given: Mapping[str, Any], proposed: optuna.Trial, path: Path
) -> Trial:
    """Train with what is proposed, if that can be done."""
    settings = {name: _rounded(value) for name, value in proposed.params.items()}
    try:
        config = _config_of(ready, given, settings)
        nats, steps, ended_early = _train(trial_of(ready, config, path), proposed)
        return Trial(settings, nats, steps, ended_early)
    except TextgenError as error:
        if not proposed.number:  # the usual settings
            raise
        # It diverged, is too large, or has no time for a step: no better than a guess.
        worst = math.log(len(ready.corpus.vocabulary))
        problem, _, _ = error.problem.partition("; ")  # then: what was saved
        problem = problem.replace("`minutes`", "the minutes of a trial")
        return Trial(settings, worst, 0, True, problem)
    finally:
        _free_memory()


def _train(trial: Preparation, proposed: optuna.Trial) -> tuple[float, int, bool]:
    """Return the figure, how many steps there were, and whether it was given up."""
    session = TrainingSession(trial)
    watch = _Watch(proposed, session)
    interruption = session.rehearse([watch])
    if interruption is not None:
        raise interruption
    nats = watch.nats if watch.ended_early else session.measure()["val_loss"]
    return nats, session.steps_taken, watch.ended_early


def _free_memory() -> None:
    """Let go of a trial's network and its compiled step, but for some megabytes.

    A registry of TensorFlow's keeps each gradient that `tf.custom_gradient` has made,
    with the graph around it. Only its private parts could be cleared, and with them the
    gradients of other networks in the process. That is about 4 MB a trial with one
    layer of 8 units and more with larger networks, which is little for the dozen or so
    that a search has.
    """
    keras.backend.clear_session()
    gc.collect()


def _rounded(value: Any) -> Any:
    """Return a number as people would write it."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _tell(study: optuna.Study, proposed: optuna.Trial, tried: Trial) -> None:
    if tried.ended_early and tried.steps:
        study.tell(proposed, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(proposed, tried.nats)


class _Watch(keras.callbacks.Callback):
    """Ends a training that is worse than the median of those before it."""

    def __init__(self, proposed: optuna.Trial, session: TrainingSession) -> None:
        super().__init__()
        self._proposed, self._session = proposed, session
        self._due = 1
        self.nats = math.nan
        self.ended_early = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        part = int(self._session.share_taken * PARTS)
        if not self._due <= part < PARTS:
            return
        self._due = part + 1
        self.nats = self._session.measure()["val_loss"]
        self._proposed.report(self.nats, part)
        if self._proposed.should_prune():
            self.ended_early = self.model.stop_training = True


def line_of(number: int, trial: Trial, names: Sequence[str] | Mapping[str, Any]) -> str:
    """Return a line about a trial: its number, figure and settings."""
    settings = ", ".join(f"`{name}` {trial.settings[name]:g}" for name in names)
    why = f" ({trial.problem})" if trial.problem else ""
    return f"trial {number}: {trial.figure}{why}, with {settings}"
