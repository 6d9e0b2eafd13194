"""Everything about a training that needs no TensorFlow: read, checked and cut.

What a user can put right is found here, before the seconds that TensorFlow takes to
start and long before anything is trained.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from textgen.config import DEFAULT_CORPUS, LENGTHS, MOST_MINUTES, Config
from textgen.data.batches import Windows
from textgen.data.corpus import Corpus, read_corpus
from textgen.data.documents import CorpusSource
from textgen.data.levels import in_symbols, learn_vocabulary
from textgen.data.sources import Given
from textgen.data.vocabulary import Vocabulary
from textgen.data.windows import make_windows
from textgen.errors import CheckpointError, OptionError
from textgen.saving.model_file import load_trainable
from textgen.saving.own_text import not_found, read_again
from textgen.saving.trained_model import TrainedModel, TrainedText
from textgen.system.checks import check_number
from textgen.system.files import remove_leftovers
from textgen.training.base_model import base_model_for, why_not
from textgen.training.checkpoint import (
    BEGIN_ANEW,
    Checkpoint,
    checkpoint_paths,
    read_checkpoint,
)
from textgen.training.cluster import PEER_TIMEOUT_S, Cluster, cluster_of
from textgen.training.continuation import epochs_worth, validation_remark
from textgen.training.held_out import HeldOut
from textgen.training.history import out_of_patience
from textgen.training.logs import NO_LOGS, Logs, check_logs
from textgen.training.output import (
    check_apart,
    locked,
    prepare_output,
    remove_checkpoints,
)
from textgen.training.recipe import choose_config
from textgen.training.resume import (
    check_corpus,
    end_of,
    finished_note,
    finished_training,
    holds,
    planned_steps,
    resumed_config,
    version_notes,
)
from textgen.training.schedule import shown_steps, total_steps
from textgen.training.snapshots import snapshot_names
from textgen.training.validation import EpochMeasure, cut_validation


@dataclass(frozen=True)
class TrainingRequest:
    """What was asked for, as keywords of `textgen.train`; None leaves a choice.

    The ``overrides`` are those that are fields of `textgen.config.Config`.
    """

    corpus: Given | Sequence[Given] | None = None
    texts: Iterable[str] | None = None
    column: str | None = None
    encoding: str | None = None
    label_column: str | None = None
    kind: str | None = None
    preset: str | None = None
    output: str | os.PathLike[str] | None = None
    init_from: str | os.PathLike[str] | None = None
    vocabulary_from: str | os.PathLike[str] | None = None
    from_scratch: bool = False
    resume: bool = False
    save_every: float | None = None
    keep_checkpoint: bool = False
    tensorboard: str | os.PathLike[str] | None = None
    csv: str | os.PathLike[str] | None = None
    distribute: str | None = None
    peer_timeout: float = PEER_TIMEOUT_S
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names_a_text(self) -> bool:
        """Whether a text was asked for, be it an empty one."""
        return self.corpus is not None or self.texts is not None

    @property
    def cluster(self) -> Cluster | None:
        """The machines that train together, if they were asked for.

        Raises:
            OptionError: as `cluster_of`, or for ``stateful``: each machine refuses it
                by itself, or the others would wait for the one that does.
        """
        _check_alone(self, bool(self.overrides.get("stateful")))
        return cluster_of(self.distribute, self.peer_timeout, os.environ)

    @property
    def source(self) -> CorpusSource:
        """The text asked for, or the sonnets."""
        corpus = self.corpus if self.names_a_text else DEFAULT_CORPUS
        return CorpusSource(
            corpus, self.texts, self.column, self.encoding, self.label_column
        )


@dataclass(frozen=True)
class Preparation:
    """A training that is ready to start; made by `prepare`."""

    corpus: Corpus
    config: Config
    vocabulary: Vocabulary  # the network's, of the level that was asked for
    windows: Windows  # of the training part
    held_out: HeldOut  # for the figure at the end
    epoch_measure: EpochMeasure
    path: Path  # the file to write; its folder exists and can be written
    total_steps: int | None  # None: how many fit into the minutes is yet to be measured
    most_epochs: int  # that the text is worth, if neither epochs nor steps are given
    texts: tuple[TrainedText, ...]  # trained on before this training, first to last
    start: TrainedModel | None = None  # the saved model to go on from
    checkpoint: Checkpoint | None = None  # the training to resume
    finished: bool = False  # there is nothing left to do
    save_every: float | None = None  # minutes between two snapshots
    keep_checkpoint: bool = False  # when it is finished
    notes: tuple[str, ...] = ()  # lines worth telling
    logs: Logs = NO_LOGS

    @property
    def summary(self) -> str:
        """What is trained on what, in one line."""
        corpus, model, windows = self.corpus, self.config.model, self.windows
        # The end symbol that lines begin with is not in the text.
        characters = len(corpus.ids) - (corpus.kind == "lines")
        characters -= sum(corpus.labels.values())  # each row's is no character of it
        known = self.vocabulary
        symbols = f"{len(known) - len(known.labels):,} symbols"
        if model.level != "character":
            each = f"{windows.characters_per_symbol:.1f} characters each"
            symbols = f"{symbols} of level {model.level}, {each}"
        several = "s" * (len(corpus.labels) > 1)
        labels = f"{len(corpus.labels):,} label{several}, " if corpus.labels else ""
        stateful = "stateful, " if self.config.windows.stateful else ""
        return (
            f"{corpus.title}: {characters:,} characters, {symbols}, "
            f"{labels}{corpus.kind} ({corpus.kind_reason}); "
            f"{model.title}, batches of {windows.batch_size} "
            f"windows, {stateful}{shown_steps(windows.steps_per_epoch)} an epoch"
        )


@contextlib.contextmanager
def prepare(request: TrainingRequest) -> Iterator[Preparation]:
    """Read and check everything that a training needs, and lock its output.

    No other training writes its file until the ``with`` is left.
    """
    for name in ("preset", "from_scratch"):
        if request.init_from is not None and getattr(request, name):
            raise OptionError(f"give `{name}` or `init_from`, not both")
    if request.vocabulary_from is not None and request.init_from is None:
        raise OptionError("`vocabulary_from` is for a model that `init_from` names")
    if request.save_every is not None:
        check_number("save_every", request.save_every, 0, MOST_MINUTES, above=True)
    logs = check_logs(request.tensorboard, request.csv)
    if request.resume:
        start = _start_with_own_text(request)
        name = start.texts[-1].name if start is not None else request.source.name
        path = prepare_output(request.output, name)
    else:
        preparation = _new_training(request)
        path = preparation.path
    check_apart(logs.csv, path)
    with locked(path) as notes:
        if request.resume:
            preparation = _resumed(request, path)
        else:
            notes += _unfinished(path)
        _check_alone(request, bool(preparation.config.windows.stateful))
        # What killed trainings of this output left.
        for file in (path, *checkpoint_paths(path)):
            remove_leftovers(file)
        remove_leftovers(path, snapshot_names(path))
        yield replace(
            preparation,
            save_every=request.save_every,
            keep_checkpoint=request.keep_checkpoint,
            logs=logs,
            notes=(*notes, *preparation.notes),
        )


def _check_alone(request: TrainingRequest, stateful: bool) -> None:
    """Raise `OptionError` for a stateful training on several devices."""
    if stateful and request.distribute is not None:
        raise OptionError("give `stateful` or `distribute`, not both")


def _new_training(request: TrainingRequest) -> Preparation:
    """Prepare a training that begins with new weights or those of a saved model."""
    start = None
    notes: list[str] = []
    if request.init_from is not None:
        start = load_trainable(request.init_from, request.vocabulary_from)
        corpus = _corpus_to_go_on_with(request, start)
        notes.append(f"going on from {str(start.path)!r}")
        share = request.overrides.get("held_out")
        both_texts = start.kind == corpus.kind == "text"
        can_tell = both_texts and start.vocabulary.level == "character"
        if can_tell and why_not(start, corpus, share):
            notes.append(
                "the saved model predicts this text poorly as it is, next to how far "
                "bzip2 compresses it: in the end, training without `init_from` may "
                "serve as well or better"
            )
    else:
        corpus = read_corpus(request.source, request.kind)
        if not request.from_scratch and request.preset is None:
            start, notes = base_model_for(corpus, request.overrides)
        if start is not None:
            corpus = corpus.in_ids_of(start.vocabulary)
    overrides = dict(request.overrides)
    if overrides.get("label_dropout") is not None and not corpus.labels:
        raise OptionError(
            "`label_dropout` is for rows with labels", "give their `label_column`"
        )
    if request.distribute is not None and overrides.get("stateful") is None:
        overrides["stateful"] = False
    config = choose_config(corpus, request.preset, start, overrides)
    cut = _cut(corpus, config, start.vocabulary if start is not None else None)
    windows = cut.windows
    path = prepare_output(request.output, corpus.name)
    texts = start.texts if start is not None else ()
    if start is not None:
        notes += validation_remark(start, corpus, config.training)
    most_epochs = epochs_worth(windows.characters, texts)
    steps = None
    # Minutes are limited to what a short text is worth when they are planned.
    if config.training.minutes is None:
        steps = total_steps(config.training, windows.steps_per_epoch)
        asked = any(request.overrides.get(name) is not None for name in LENGTHS)
        if not asked and steps > most_epochs * windows.steps_per_epoch:
            config = config.override(epochs=most_epochs)
            steps = most_epochs * windows.steps_per_epoch
            notes.append(
                f"the text is short, {most_epochs} epochs are all that it is worth "
                "(unless `steps` or `epochs` say otherwise)"
            )
    return Preparation(
        corpus, config, *cut, path, steps, most_epochs, texts, start,
        notes=tuple(notes),
    )  # fmt: skip


def _corpus_to_go_on_with(request: TrainingRequest, start: TrainedModel) -> Corpus:
    """Read the text asked for or, if there is none, the one of the saved model."""
    reason = "given" if request.kind is not None else "as the saved model's"
    if request.names_a_text:
        given = read_corpus(
            request.source, request.kind, start.vocabulary, usual_kind=start.kind
        )
        return replace(given, kind_reason=reason)
    if not start.metadata:
        raise OptionError(
            "`corpus` must be given with `init_from` for a model of another program"
        )
    corpus = read_again(start, request.kind or start.kind)
    if corpus is not None:
        return replace(corpus, kind_reason=reason)
    raise OptionError(
        "`corpus` must be given with `init_from`: the saved model's own text, "
        f"{not_found(start)}"
    )


def _start_with_own_text(request: TrainingRequest) -> TrainedModel | None:
    """Return the saved model to go on from if its own text is gone on with."""
    if request.init_from is None or request.names_a_text:
        return None
    return load_trainable(request.init_from, request.vocabulary_from)


def _as_before(source: CorpusSource, began: Mapping[str, Any]) -> CorpusSource:
    """Return a text with columns and encoding as they were, where not given."""
    return replace(
        source,
        column=source.column or began.get("column"),
        encoding=source.encoding or began.get("encoding"),
        label_column=source.label_column or began.get("label_column"),
    )


def _resumed(request: TrainingRequest, path: Path) -> Preparation:
    """Prepare a training that goes on from its checkpoint, or begins without one.

    A finished one has left a model, and mostly no checkpoint.
    """
    checkpoint, notes = read_checkpoint(path)
    saved = finished_training(path)
    outdated = checkpoint is not None and holds(saved, checkpoint, more=True)
    if checkpoint is None or (outdated and not request.keep_checkpoint):
        checkpoint = saved
    if checkpoint is None:
        new = _new_training(request)
        note = f"there is no checkpoint {str(checkpoint_paths(path)[0])!r} yet"
        return replace(new, notes=(f"{note}: starting afresh", *new.notes))
    _check_start(request, checkpoint)
    config = resumed_config(checkpoint, request.preset, request.overrides)
    corpus = _corpus_of(checkpoint, request)
    cut = _cut(corpus, config, checkpoint.vocabulary)
    most_epochs = epochs_worth(cut.windows.characters, checkpoint.texts)
    per_epoch = cut.windows.steps_per_epoch
    steps, more = planned_steps(checkpoint, config, per_epoch, most_epochs)
    no_better = out_of_patience(checkpoint.history, config.training.patience)
    all_taken = checkpoint.state.global_step == steps
    finished = holds(saved, checkpoint) and (all_taken or no_better)
    gone = checkpoint is saved
    grown = config.training.patience != checkpoint.config.training.patience
    if gone and (grown or not finished):
        raise CheckpointError(
            f"{end_of(checkpoint, path)}, and its checkpoint is gone",
            "go on from the model with `init_from`; a training with `keep_checkpoint` "
            "can be made longer",
        )
    if finished:
        if not request.keep_checkpoint and checkpoint_paths(path)[1].exists():
            # It was killed once it had saved its model, and has left two of them.
            gone = True
        if gone:
            remove_checkpoints(path)
        more.append(finished_note(checkpoint, path, no_better=no_better, gone=gone))
    return Preparation(
        corpus, config, *cut, path, steps, most_epochs, checkpoint.texts,
        checkpoint=checkpoint, finished=finished,
        notes=(*notes, *more, *version_notes(checkpoint)),
    )  # fmt: skip


def _check_start(request: TrainingRequest, checkpoint: Checkpoint) -> None:
    """Raise `CheckpointError` for other first weights than the training began with.

    Weights are told by the texts that they were trained on. The model to go on from
    may have been replaced by what this training saved.
    """
    if request.from_scratch and checkpoint.texts:
        raise CheckpointError(
            "the training went on from a saved model, not from scratch",
            f"leave `from_scratch` out to go on, or {BEGIN_ANEW}",
        )
    if request.init_from is None:
        return
    start = load_trainable(request.init_from, request.vocabulary_from)
    if checkpoint.texts not in (start.texts, start.texts[:-1]):
        raise CheckpointError(
            f"the training didn't begin with the weights of {str(start.path)!r}",
            f"leave `init_from` out to go on, or {BEGIN_ANEW}",
        )


def _corpus_of(checkpoint: Checkpoint, request: TrainingRequest) -> Corpus:
    """Read the text asked for, which must be that of a training that has begun."""
    kind, vocabulary = checkpoint.corpus["kind"], checkpoint.vocabulary
    start = _start_with_own_text(request)
    if start is not None:
        corpus = _corpus_to_go_on_with(request, start).in_ids_of(vocabulary)
    else:
        source = _as_before(request.source, checkpoint.corpus)
        corpus = read_corpus(source, kind, vocabulary)
    check_corpus(checkpoint, corpus, request.kind)
    return replace(corpus, kind_reason="as before")


def windows_as_told(request: TrainingRequest, plan: Checkpoint) -> Windows:
    """Return the windows of a training whose chief has told its plan.

    The text is read from where this machine was told to; all else is the chief's.
    """
    try:
        corpus = _corpus_of(plan, request)
    except CheckpointError as error:
        advice = "give every worker the text and kind of the chief"
        raise CheckpointError(error.problem, advice) from error
    return _cut(corpus, plan.config, plan.vocabulary).windows


def _unfinished(path: Path) -> list[str]:
    """Say what is about to be replaced, if it could still be resumed."""
    try:
        checkpoint, _ = read_checkpoint(path)
    except CheckpointError as error:
        return [f"a checkpoint is about to be replaced that can't be used: {error}"]
    if checkpoint is None or checkpoint.is_ended:
        return []
    if holds(finished_training(path), checkpoint):  # killed before it was removed
        return []
    return [
        f"an unfinished training, {checkpoint.state.global_step:,} of "
        f"{checkpoint.total_steps:,} steps, is about to be replaced in "
        f"{str(checkpoint_paths(path)[0])!r}: press Ctrl-C now and add `resume` to go "
        "on with it instead"
    ]


class _Cut(NamedTuple):
    """What is made of a text: see `Preparation`."""

    vocabulary: Vocabulary
    windows: Windows
    held_out: HeldOut
    epoch_measure: EpochMeasure


def _cut(corpus: Corpus, config: Config, known: Vocabulary | None) -> _Cut:
    """Split off what is held out and what validates; cut the rest into windows.

    Each part is then encoded by itself, in the symbols of a ``known`` vocabulary and
    the characters that are new to it, or in those that the training part has.
    """
    split = corpus.split(config.training.held_out)
    training, validation = cut_validation(corpus, split.training, config)
    if known is not None:
        own = corpus.vocabulary
        vocabulary = known.extended(own.symbols, own.labels)
    else:
        vocabulary = learn_vocabulary(config.model, corpus.vocabulary, training)
    characters = len(training)
    training, validation, unseen = (
        in_symbols(ids, corpus.vocabulary, vocabulary)
        for ids in (training, validation, split.held_out)
    )
    windows = make_windows(
        training,
        corpus.kind,
        config.windows,
        config.training.batch_size,
        config.training.seed,
        end_id=int(training[0]) if corpus.kind == "lines" else None,
        label_ids=vocabulary.label_ids.tolist() if corpus.labels else (),
        characters=characters,
    )
    # All of a named text is measured, so that figures compare; not within a budget.
    whole = corpus.named and config.training.minutes is None
    each = windows.characters_per_symbol
    held_out = HeldOut(unseen, whole=whole, characters_per_symbol=each)
    measure = EpochMeasure.of(validation, unseen, len(training))
    return _Cut(vocabulary, windows, held_out, measure)
