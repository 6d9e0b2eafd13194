"""Processes that train together: how they meet, agree and notice that one is lost.

What they exchange goes through the collective operations of `tf.distribute`, in which
every process takes part, in the same order. Such an operation returns when the last one
has joined; so whatever waits for the others is called by `Peers.call`, which doesn't
wait for ever. Wherever processes could decide differently, by the clock, a signal or a
callback, the chief decides for all, or one of them does for the others.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import itertools
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import tensorflow as tf

from textgen.errors import OptionError, PeerError
from textgen.system.signals import SIGNALS
from textgen.system.terminal import INTERRUPTED, STOPPED, USER_ERROR
from textgen.training.cluster import PEER_TIMEOUT_S, VARIABLE, Cluster
from textgen.training.meeting import meet
from textgen.training.step import configure_process

FINISHED = b"finished"  # what the chief tells in place of a plan
BLOCK_WORDS = 1 << 22  # of two bytes, sent together by `Team.tell`
LONGEST_PING_S = 10.0
PATIENCE = 10  # timeouts that workers which answer may take for what others wait for
START_PATIENCE = 5  # timeouts that the workers may take to come
MOST_NAMED = 3  # workers that are lost

# What an operation raises in which another process doesn't take part any more.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
)

T = TypeVar("T")


class Peers:
    """The only process of a training, which agrees with itself."""

    is_chief = True
    index = 0
    cores: int | None = None  # that this process may use; None means all there are

    def __init__(self, strategy: tf.distribute.Strategy | None = None) -> None:
        self.strategy = strategy or tf.distribute.get_strategy()

    @contextlib.contextmanager
    def taking_part(self) -> Iterator[None]:
        """Train together; after an exception let the process end without the others."""
        yield

    def call(self, work: Callable[[], T]) -> T:
        """Do what waits for the other processes, which do the same."""
        return work()

    def build(self, make: Callable[[], T]) -> T:
        """Make something whose variables are on all devices of all processes."""

        def in_scope() -> T:
            with self.strategy.scope():
                return make()

        return self.call(in_scope)

    def exchange(self, values: Sequence[float]) -> np.ndarray:
        """Return the K values of each of N processes, (N, K) float64, on all alike."""
        return np.array([values], np.float64)

    def from_chief(self, value: float) -> float:
        """Return the chief's value."""
        return float(self.exchange([value])[0, 0])

    def any(self, flag: bool) -> bool:
        """Whether it is so for any of the processes."""
        return flag

    def interruption(
        self, received: Sequence[type[KeyboardInterrupt]]
    ) -> type[KeyboardInterrupt] | None:
        """Return what stands for the signal, if any, that one of them received."""
        numbers = {kind: int(number) for number, kind in SIGNALS.items()}
        mine = numbers[received[0]] if received else 0
        number = int(self.exchange([mine]).max())
        return SIGNALS[signal.Signals(number)] if number else None

    def meet(self) -> None:
        """Wait until all processes are here."""
        self.any(False)

    def tell(self, make: Callable[[], bytes]) -> None:
        """Send the others what the chief makes; they are to call `told`."""

    def told(self) -> bytes:
        """Return what the chief tells."""
        raise NotImplementedError("there is no other process")

    def all_ready(self, ready: bool = True) -> None:
        """Raise `PeerError` unless every other process is ready, too."""


class Team(Peers):
    """The processes of a `MultiWorkerMirroredStrategy`; made by `join`."""

    def __init__(
        self,
        cluster: Cluster,
        strategy: tf.distribute.Strategy,
        timeout_s: float = PEER_TIMEOUT_S,
    ) -> None:
        super().__init__(strategy)
        self.index, self.is_chief = cluster.index, cluster.is_chief
        self.cores = cluster.cores
        self._cluster = cluster
        self._timeout_s = timeout_s
        self._sum = tf.function(self._summed, reduce_retracing=True, autograph=False)

    @contextlib.contextmanager
    def taking_part(self) -> Iterator[None]:
        """See `Peers.taking_part`."""
        with _leaving_at_once():
            yield

    def call(self, work: Callable[[], T]) -> T:
        """Do what waits for the other processes, and lose patience if one is lost.

        It runs in a thread of its own, so that signals are noticed meanwhile. Once an
        answer is overdue the others are asked whether they are there. Those that are
        may be long at something, such as compiling or measuring, but not for ever.

        Raises:
            PeerError: a process doesn't answer, or nothing came of it in
                `PATIENCE` timeouts.
        """
        patience_s = self._timeout_s - self._ping_s
        try:
            return _patiently(work, patience_s, self._check)
        except LOST as error:
            raise self._lost(error) from error

    def exchange(self, values: Sequence[float]) -> np.ndarray:
        """See `Peers.exchange`."""
        table = np.zeros((len(self._cluster.tasks), len(values)))
        table[self.index] = values
        return self._total(table)

    def any(self, flag: bool) -> bool:
        """See `Peers.any`."""
        return bool(self.exchange([flag]).any())

    def tell(self, make: Callable[[], bytes]) -> None:
        """See `Peers.tell`."""
        self._broadcast(make())

    def told(self) -> bytes:
        """See `Peers.told`."""
        return self._broadcast(b"")

    def _broadcast(self, data: bytes) -> bytes:
        """Return the chief's bytes; what the others give is ignored.

        Two bytes travel as one float32, of which sums with zeros are exact on every
        device.
        """
        size = int(self.from_chief(len(data)))
        words = np.zeros(-(-size // 2), np.uint16)
        if self.is_chief:
            words = np.frombuffer(data + bytes(size % 2), np.uint16)
        received = [
            self._total(words[start:][:BLOCK_WORDS].astype(np.float32))
            for start in range(0, len(words), BLOCK_WORDS)
        ]
        return np.concatenate(received).astype(np.uint16).tobytes()[:size]

    def all_ready(self, ready: bool = True) -> None:
        """See `Peers.all_ready`."""
        (missing,) = np.nonzero(self.exchange([ready])[:, 0] == 0)
        if ready and len(missing):
            raise PeerError(
                f"expected {len(self._cluster.tasks)} workers that train together, but "
                f"{self._cluster.name(int(missing[0]))} can't: its own message says why"
            )

    def _total(self, array: np.ndarray) -> np.ndarray:
        return self.call(lambda: self._sum(tf.constant(array)).numpy())

    def _summed(self, mine: tf.Tensor) -> tf.Tensor:
        """Add up an array of every process, each by its first device."""
        devices = len(self.strategy.extended.worker_devices)

        def of_replica(x: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            first = context.replica_id_in_sync_group % devices == 0
            return context.all_reduce("SUM", tf.where(first, x, tf.zeros_like(x)))

        sums = self.strategy.run(of_replica, (mine,))
        return self.strategy.experimental_local_results(sums)[0]

    @property
    def _ping_s(self) -> float:
        return min(LONGEST_PING_S, self._timeout_s / 3)

    def _check(self, waited_s: float) -> None:
        """Raise `PeerError` if a process doesn't answer, or all waited too long."""
        if silent := self._silent():
            raise self._lost(None, silent)
        if waited_s > PATIENCE * self._timeout_s:
            raise PeerError(
                f"expected the other workers to go on within {waited_s:.0f} s, but "
                "they only answer that they are there",
                "end them and start all again with `resume`; a longer `peer_timeout` "
                "gives them more time",
            )

    def _lost(
        self, error: tf.errors.OpError | None, silent: list[int] | None = None
    ) -> PeerError:
        """Return what to raise once an operation failed, or nobody answers."""
        silent = self._silent() if silent is None else silent
        names = ", ".join(map(self._cluster.name, silent))
        if names:
            problem = f"{names} {'do' if len(silent) > 1 else 'does'} not answer"
        else:
            text = str(error.message if error else "").partition("\n")[0]
            problem = f"the connection to another worker was lost ({text[:160]})"
        return PeerError(
            f"expected all {len(self._cluster.tasks)} workers to take part, but "
            f"{problem} to {self._cluster.name(self.index)}",
            "look at its own messages, then start all of them again with `resume`",
        )

    def _silent(self) -> list[int]:
        """Return the first few that don't answer; only the chief asks all."""
        asked = range(1, len(self._cluster.tasks)) if self.is_chief else [0]
        silent = (index for index in asked if not self._answers(index))
        return list(itertools.islice(silent, MOST_NAMED))

    def _answers(self, index: int) -> bool:
        from tensorflow.python.eager import context  # no public name leads there

        job, number = self._cluster.tasks[index]
        try:
            context.context().check_collective_ops_peer_health(
                f"/job:{job}/replica:0/task:{number}",
                timeout_in_ms=int(1000 * self._ping_s),
            )
        except tf.errors.OpError:
            return False
        return True


def join(cluster: Cluster, timeout_s: float) -> Peers:
    """Meet the other processes of a cluster; they may come one after the other.

    Raises:
        PeerError: they don't all come in `START_PATIENCE` timeouts.
        OptionError: this process can't listen at its address, or has used TensorFlow
            before.
    """
    configure_process(cluster.cores)
    if len(cluster.tasks) == 1:
        return Peers()
    meet(cluster, START_PATIENCE * timeout_s)
    with _leaving_at_once():
        # TensorFlow now lets neither threads nor signals through until all are there,
        # so that nothing else ends the process if one of them is lost just then.
        faulthandler.dump_traceback_later(START_PATIENCE * timeout_s, exit=True)
        try:
            team = Team(cluster, tf.distribute.MultiWorkerMirroredStrategy(), timeout_s)
        except (tf.errors.OpError, RuntimeError) as error:
            text = str(error).partition("\n")[0][:160]
            raise OptionError(
                f"{cluster.name(cluster.index)} can't work at its address ({text})",
                f"look whether {VARIABLE} names this machine, and a port that is free",
            ) from error
        finally:
            faulthandler.cancel_dump_traceback_later()
    return team


def dismiss(cluster: Cluster, timeout_s: float) -> None:
    """As the chief, tell the others that the training is finished; raises as `join`."""
    peers = join(cluster, timeout_s)
    with peers.taking_part():
        peers.tell(lambda: FINISHED)
        peers.meet()


def peers_of(
    distribute: str | None,
    cluster: Cluster | None,
    timeout_s: float,
    strategy: tf.distribute.Strategy | None = None,
) -> Peers:
    """Meet the other processes of a cluster, or train alone, on the devices asked for.

    Raises:
        OptionError: a strategy of several processes is given, or one is given as well
            as ``distribute``; whatever `join` raises.
    """
    if strategy is not None:
        if distribute is not None:
            raise OptionError("give `distribute` or `strategy`, not both")
        replicas = strategy.num_replicas_in_sync
        if replicas > 1 and len(strategy.extended.worker_devices) < replicas:
            raise OptionError(
                "`strategy` must be of this machine's devices",
                "for several machines give `distribute` multiworker",
            )
    if cluster is not None:
        return join(cluster, timeout_s)
    if distribute == "mirrored":
        configure_process()
        strategy = tf.distribute.MirroredStrategy()
    return Peers(strategy)


def _patiently(
    work: Callable[[], T], patience_s: float, overdue: Callable[[float], None]
) -> T:
    """Do work in another thread, and call ``overdue`` each time patience ends.

    What that raises leaves the thread where it is.
    """
    results: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((work(), None))
        except Exception as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    started_s = time.monotonic()
    while True:
        try:
            value, error = results.get(timeout=patience_s)
            break
        except queue.Empty:
            overdue(time.monotonic() - started_s)
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


@contextlib.contextmanager
def _leaving_at_once() -> Iterator[None]:
    """After an exception, let the process end as soon as Python has.

    TensorFlow would wait for the other processes, even for one that is lost.
    """
    try:
        yield
    except BaseException as error:
        status = USER_ERROR
        if isinstance(error, KeyboardInterrupt):
            status = STOPPED.get(type(error), INTERRUPTED)

        def leave() -> None:
            sys.stdout.flush()
            os._exit(status)

        atexit.register(leave)
        raise
