"""The command `train`: train a text generator and save it as one .h5 file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from textgen.cli.options import add_config_options
from textgen.config import DEFAULT_CORPUS, PRESETS
from textgen.data.corpus import Corpus
from textgen.errors import OptionError
from textgen.evaluation.nats import describe
from textgen.system.process import import_quietly
from textgen.system.terminal import Parser, number, print_result, say, say_warnings
from textgen.training import schedule
from textgen.training.cluster import PEER_TIMEOUT_S
from textgen.training.continuation import seen_remark
from textgen.training.setup import TrainingRequest, prepare

LONG_BYTES = 50_000_000  # take long enough to read that it is said
DESCRIPTION = """\
Train a text generator and save it as one .h5 file.

  %(prog)s sonnets                      poems; saves models/sonnets.h5
  %(prog)s letters.txt                  your own text; or several, or a folder
  %(prog)s messages.csv --column text   rows of a table
  %(prog)s sonnets --resume             goes on exactly where it stopped

Ctrl-C saves what was learned so far. Progress goes to standard error, the path of the
saved model to standard output. Exit status: 0 saved, 2 an error, 130 after Ctrl-C, 143
SIGTERM, 129 the terminal's end. Where presets differ, the default of most comes first.
"""


def parse_arguments(arguments: Sequence[str], prog: str) -> TrainingRequest:
    """Read the command line, whose options are keywords of `textgen.train`."""
    parser = Parser(
        DESCRIPTION,
        prog,
        usage="%(prog)s [TEXT ...] [options]",
        instead={"--model": "--output, or --init-from to go on from one"},
    )
    add = parser.add_argument_group("what is trained").add_argument
    # fmt: off
    add("paths", nargs="*", metavar="TEXT", help="sonnets, dinos, shakespeare, files, "
        "also compressed, folders, patterns, or - for stdin (default: "
        f"{DEFAULT_CORPUS})")
    add("--corpus", metavar="TEXT", help="the same, for one")
    add("--column", metavar="NAME", help="of CSV, TSV, JSON or Parquet to train on")
    add("--encoding", metavar="NAME", help="of the files (default: utf-8)")
    add("--label-column", metavar="NAME", help="of labels to generate by, such as "
        "authors")
    add("--kind", metavar="KIND", type=str.lower, help="lines, each one example, or "
        "text (default: guessed)")
    add("--preset", metavar="NAME", type=str.lower, help=f"{', '.join(PRESETS)} "
        "(default: the text's)")
    add("--init-from", metavar="MODEL", help="a saved model to go on from: a file, or "
        "a name")
    add("--vocabulary-from", metavar="FILE", help="of another program's model, the "
        "text or vocab.json")
    add("--from-scratch", action="store_true", help="begin with new "
        "weights")
    add("--resume", action="store_true", help="go on with a training, options as they "
        "were")
    add("--distribute", metavar="HOW", type=str.lower, help="mirrored or multiworker: "
        "docs/distributed.md")
    add("--peer-timeout", metavar="S", type=number, default=PEER_TIMEOUT_S,
        help="seconds a machine may be silent (default: %(default)g)")
    add = parser.add_argument_group("what is written").add_argument
    add("--output", metavar="FILE", help="(default: models/NAME.h5; old one: "
        "NAME.previous.h5)")
    add("--save-every", metavar="MINUTES", type=number, help="so often save a model "
        "NAME.step-N.h5; all are kept")
    add("--keep-checkpoint", action="store_true", help="when finished, for --resume "
        "with more --steps")
    add("--tensorboard", metavar="DIR", help="write each epoch's figures there for "
        "TensorBoard")
    add("--csv", metavar="FILE", help="write each epoch's figures there, a row each")
    # fmt: on
    add_config_options(parser)
    options = vars(parser.parse_intermixed_args(arguments))
    options["texts"] = None
    if paths := options.pop("paths"):
        if options["corpus"] is not None:
            raise OptionError("give texts or `corpus`, not both")
        options["corpus"] = paths
    others = [field.name for field in fields(TrainingRequest)[:-1]]  # the overrides
    own = {name: options.pop(name) for name in others}
    return TrainingRequest(**own, overrides=options)


def main(arguments: Sequence[str], prog: str, *, started_s: float) -> None:
    """Train and save a model; its path is the only line on standard output.

    The process began at ``started_s`` of `time.monotonic`.
    """
    request = parse_arguments(arguments, prog)
    say_warnings()
    cluster = request.cluster
    if cluster is not None and not cluster.is_chief:
        say(
            f"{cluster.name(cluster.index)} of {len(cluster.tasks)}, led by "
            f"{cluster.name(0)}"
        )
        worker = import_quietly("textgen.training.worker")
        if (interruption := worker.follow(request, cluster)) is not None:
            raise interruption
        return
    if (size := request.source.size_bytes) > LONG_BYTES:
        say(f"reading {size / 1e6:,.0f} MB of text …")
    with prepare(request) as preparation:
        for note in preparation.notes:
            say(note)
        if preparation.finished:
            if cluster is not None:
                together = import_quietly("textgen.training.distributed")
                together.dismiss(cluster, request.peer_timeout)
            print_result(str(preparation.path))
            return
        say("starting TensorFlow …")
        session = import_quietly("textgen.training.session")
        together = import_quietly("textgen.training.distributed")
        peers = together.peers_of(request.distribute, cluster, request.peer_timeout)
        training = session.TrainingSession(
            preparation, peers=peers, show=True, say=say, started_s=started_s
        )
        report = training.run()
    if report.held_out_nats is not None:
        remark = seen_remark(preparation.corpus, preparation.texts)
        extent = preparation.held_out.extent
        say(f"held out: {describe(report.held_out_nats)}{extent}{remark}")
    if report.previous is not None:
        say(f"the earlier model is kept as {str(report.previous)!r}")
    say(f"{schedule.shown_steps(report.steps)} in {report.seconds:,.0f} s; saved:")
    print_result(str(report.path))
    if report.interruption is not None:
        say(
            f"to go on from here: {prog} {_to_go_on(request, preparation.corpus)} "
            f"--output {shlex.quote(str(report.path))} --resume"
            f"{_anew(request)}",
            wrap=False,
        )
        raise report.interruption


def _to_go_on(request: TrainingRequest, corpus: Corpus) -> str:
    """Return the texts of a command that goes on with this training."""
    if request.corpus is None:
        return shlex.quote(corpus.name + ("" if corpus.named else ".txt"))
    given = request.corpus
    paths = [given] if isinstance(given, str | os.PathLike) else given
    return shlex.join(str(path) for path in paths)


def _anew(request: TrainingRequest) -> str:
    """Return the options that a training doesn't keep when it goes on."""
    values: dict[str, Any] = {
        "save-every": request.save_every,
        "tensorboard": request.tensorboard,
        "csv": request.csv,
        "distribute": request.distribute,
    }
    if request.peer_timeout != PEER_TIMEOUT_S:
        values["peer-timeout"] = f"{request.peer_timeout:g}"
    options = [f" --{x} {shlex.quote(str(y))}" for x, y in values.items() if y]
    return "".join(options) + " --keep-checkpoint" * request.keep_checkpoint
