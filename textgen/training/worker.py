"""A worker that isn't the chief: it computes its share of each step, writes nothing.

It takes everything but its text from the chief, `textgen.training.session`, and meets
it at each of the same calls of `Peers`, in the same order.
"""

from __future__ import annotations

import contextlib

from textgen.errors import TextgenError, TrainingError
from textgen.modeling.model import build_model
from textgen.system.signals import (
    hang_up_ignored,
    on_interrupt,
    raised_on_interrupt,
)
from textgen.training.checkpoint import Checkpoint, decode_checkpoint
from textgen.training.cluster import Cluster
from textgen.training.distributed import FINISHED, Peers, join
from textgen.training.loop import Training
from textgen.training.setup import TrainingRequest, windows_as_told


def follow(
    request: TrainingRequest, cluster: Cluster
) -> type[KeyboardInterrupt] | None:
    """Train until the chief has saved the model; return what stopped it early, if so.

    Raises:
        TextgenError: the text isn't the chief's, another worker is lost, or the
            training can't go on.
    """
    peers = join(cluster, request.peer_timeout)
    with peers.taking_part(), raised_on_interrupt():
        told = peers.told()
        if told == FINISHED:
            peers.meet()
            return None
        loop, total_steps = _start(request, peers, decode_checkpoint(told))
        with on_interrupt(loop.request_stop) as received:
            loop.run(total_steps)
        interruption = peers.interruption(received)
        if not loop.global_step:
            raise interruption or TrainingError("the chief took no step")
        with hang_up_ignored() if interruption else contextlib.nullcontext():
            peers.meet()  # when the model is saved
    return interruption


def _start(
    request: TrainingRequest, peers: Peers, plan: Checkpoint
) -> tuple[Training, int]:
    """Make what the chief tells to; return how many steps are planned, too."""
    try:
        windows = windows_as_told(request, plan)
    except TextgenError:
        peers.all_ready(False)
        raise
    peers.all_ready()
    config, symbols = plan.config, len(plan.vocabulary)
    model = peers.build(
        lambda: build_model(config.model, symbols, seed=config.training.seed)
    )
    loop = Training(model, windows, config.training, peers)
    loop.restore(decode_checkpoint(peers.told()).state)
    loop.calibrate()
    return loop, int(peers.from_chief(0))
