"""Workers of one training as processes of this machine, forked from one that is ready.

That one has imported TensorFlow, so that a worker takes a second or two to start.
"""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
LIFE_S = 240  # no worker may take longer
HALVED_AFTER = 2  # the epoch after which the chief's callback halves the rate
FREE_PORTS = range(20_000, 32_000)  # which no system gives to outgoing connections


def free_ports(count):
    """Return ports at which nobody listens; others start elsewhere at random."""
    found = []
    while len(found) < count:
        port = random.SystemRandom().choice(FREE_PORTS)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("", port))
            found.append(port)
    return found


def tf_config(addresses, index):
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def local_addresses(count):
    return [f"127.0.0.1:{port}" for port in free_ports(count)]


def halving(epoch):
    """Return a callback that halves the rate once that epoch has ended."""
    import keras

    def act(number, logs):
        if number == epoch:
            callback.model.optimizer.learning_rate *= 0.5

    callback = keras.callbacks.LambdaCallback(on_epoch_end=act)
    return callback


class Workers:
    """Processes that run one command together; see `start`."""

    def __init__(self, folder, count, arguments, *, call_s=0.0):
        self.folder, addresses = folder, local_addresses(count)
        self.processes = []
        # As in the commands, see `prepare_process`; later it would be too late.
        os.environ |= {"OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        context = multiprocessing.get_context("forkserver")
        modules = ("session", "worker", "distributed")
        context.set_forkserver_preload([f"textgen.training.{x}" for x in modules])
        for index in range(count):
            given = (
                tf_config(addresses, index),
                folder / f"{index}",
                arguments,
                call_s,
            )
            process = context.Process(target=work, args=given, daemon=True)
            process.start()
            self.processes.append(process)

    def wait_for_step(self, output, after=0):
        """Wait until a later step is safe, and return it."""
        from textgen.training.checkpoint import read_checkpoint

        deadline = time.monotonic() + LIFE_S
        while True:
            assert time.monotonic() < deadline, self.messages
            assert any(p.is_alive() for p in self.processes), self.messages
            checkpoint, _ = read_checkpoint(output)
            if checkpoint is not None and checkpoint.state.global_step > after:
                return checkpoint.state.global_step
            time.sleep(0.05)

    def kill(self, index, number=signal.SIGKILL):
        os.kill(self.processes[index].pid, number)

    def ends(self, *indexes):
        """Wait for these, or all; return their exit statuses and seconds waited."""
        started = time.monotonic()
        chosen = [self.processes[n] for n in indexes] or self.processes
        for process in chosen:
            process.join(LIFE_S)
        return [p.exitcode for p in chosen], time.monotonic() - started

    @property
    def messages(self):
        """What each wrote: to standard output and to standard error."""
        paths = [self.folder / f"{n}" for n in range(len(self.processes))]
        return [tuple(p.with_suffix(x).read_text() for x in (".out", ".err"))
                for p in paths]  # fmt: skip

    def weights(self, index):
        """Everything that a worker's steps changed, as it was at the end."""
        return list(np.load(self.folder / f"{index}.npz").values())


def work(config, path, arguments, call_s):
    """Be one worker: `train` with these arguments, whose calls take a while."""
    for stream, suffix in ((1, ".out"), (2, ".err")):
        file = os.open(path.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
    os.environ["TF_CONFIG"] = config
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from textgen.cli.train import main
    from textgen.system.terminal import run
    from textgen.training import checkpoint, cluster, loop

    cluster.available_cores = lambda: 2
    checkpoint.INTERVAL_S, checkpoint.MOST_SHARE = 0.1, 1.0
    loop.MAX_STEPS_PER_CALL = 5
    original, workers = loop.Training, len(json.loads(config)["cluster"]["worker"])

    class Watched(original):
        def _take(self, stacks, *others):
            stacks = list(stacks)
            rows = {stack.inputs.shape[1] for stack in stacks}
            assert rows <= {self.windows.batch_size // workers}, "more than its share"
            time.sleep(call_s)
            return super()._take(stacks, *others)

        def run(self, *others, **more):
            if "callbacks" in more:  # of the chief
                more["callbacks"].append(halving(HALVED_AFTER))
            super().run(*others, **more)
            np.savez(path.with_suffix(".npz"), *self.state().variables)

    for user in ("session", "worker"):
        sys.modules[f"textgen.training.{user}"].Training = Watched
    run(partial(main, arguments, "train.py", started_s=time.monotonic()))
