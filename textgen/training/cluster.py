"""Which machines train together, and which of them this process is.

Whoever starts the processes says so in the environment variable ``TF_CONFIG``, as for
every program that uses `tf.distribute`; here is the one of the second of two:

    {"cluster": {"worker": ["10.0.0.1:5000", "10.0.0.2:5000"]},
     "task": {"type": "worker", "index": 1}}

The first worker is the chief: it alone reads and writes models and checkpoints, shows
progress and decides. A cluster may name it in a job of its own, ``chief``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from textgen.errors import OptionError, shown
from textgen.system.checks import check_choice, check_number
from textgen.system.hardware import available_cores

WAYS = ("mirrored", "multiworker")
PEER_TIMEOUT_S = 60.0
VARIABLE = "TF_CONFIG"
JOBS = ("chief", "worker")  # in the order in which TensorFlow numbers them
EXAMPLE = '{"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", …}}'


@dataclass(frozen=True)
class Cluster:
    """The workers of a training, the chief first, and this process' place."""

    tasks: tuple[tuple[str, int], ...]  # job and index, as TensorFlow names them
    addresses: tuple[str, ...]  # host:port of each
    index: int  # of this process, among these

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that decides, and writes."""
        return self.index == 0

    @property
    def cores(self) -> int:
        """How many cores this process may use: its part, if others share its host."""
        hosts = [address.rpartition(":")[0] for address in self.addresses]
        return max(1, available_cores() // hosts.count(hosts[self.index]))

    def name(self, index: int) -> str:
        """Return what people read of one of the workers."""
        role = "the chief" if index == 0 else f"worker {index}"
        return f"{role} ({self.addresses[index]})"


def cluster_of(
    distribute: str | None, peer_timeout: float, environment: Mapping[str, str]
) -> Cluster | None:
    """Return the machines that train together; None for this one alone.

    Raises:
        OptionError: ``distribute`` is none of `WAYS`, the timeout isn't at least a
            second, or ``TF_CONFIG`` isn't there or not as above.
    """
    if distribute is not None:
        check_choice("distribute", distribute, WAYS)
    check_number("peer_timeout", peer_timeout, 1, 86_400)
    if distribute != "multiworker":
        return None
    text = environment.get(VARIABLE)
    if not text:
        raise _bad("which isn't set")
    try:
        return _read(json.loads(text))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f" ({error})" if isinstance(error, ValueError) else ""
        raise _bad(f"but it was {shown(text)}{reason}") from error


def _read(config: Any) -> Cluster:
    """Return the cluster of a parsed ``TF_CONFIG``; ValueErrors say what is wrong."""
    jobs, task = config["cluster"], config["task"]
    place = task["type"], int(task["index"])
    if others := sorted({*jobs, place[0]} - {*JOBS}):
        raise ValueError(f"there must be no {others[0]}, all train alike")
    if len(jobs.get("chief", ())) > 1:
        raise ValueError("there must be one chief")
    tasks = [(job, n) for job in JOBS for n in range(len(jobs.get(job, ())))]
    addresses = [str(jobs[job][n]) for job, n in tasks]
    for address in addresses:
        if not re.fullmatch(r"\S+:\d{1,5}", address):
            raise ValueError(f"{address!r} isn't HOST:PORT")
        if addresses.count(address) > 1:
            raise ValueError(f"{address!r} is there twice")
    if place not in tasks:
        raise ValueError(f"there is no {place[0]} {place[1]}")
    return Cluster(tuple(tasks), tuple(addresses), tasks.index(place))


def _bad(received: str) -> OptionError:
    return OptionError(
        f"`distribute` multiworker expects the machines in {VARIABLE}, {received}",
        f"set it on each as {EXAMPLE}; docs/distributed.md shows it",
    )
