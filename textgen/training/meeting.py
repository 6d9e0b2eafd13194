"""How the processes of a training find each other, before TensorFlow connects them.

TensorFlow waits for those that aren't there for an hour, and lets no signal through
meanwhile. So the others first report to the chief at its address, over plain sockets:
each sends a line with its number, and gets one back when all have come. Then everybody
closes these connections, and TensorFlow takes the same ports.
"""

from __future__ import annotations

import contextlib
import socket
import time

from textgen.errors import OptionError, PeerError
from textgen.training.cluster import VARIABLE, Cluster

GREETING, GO = "textgen worker", b"go\n"
MOST_BYTES = 64  # of a greeting
GREETING_S = 2.0  # for one to come, once somebody has connected
PAUSE_S = 0.2  # between two attempts to reach the chief


def meet(cluster: Cluster, timeout_s: float) -> None:
    """Wait until all processes of a cluster have come; the chief tells the others.

    Raises:
        PeerError: they don't all come in time.
        OptionError: this process can't listen at its own address.
    """
    deadline_s = time.monotonic() + timeout_s
    try:
        _, port = _place(cluster.addresses[cluster.index])
        server = socket.create_server(("", port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(
            f"{cluster.name(cluster.index)} can't listen at its port ({reason})",
            f"look whether {VARIABLE} names this machine, and a port that is free",
        ) from error
    with server:
        if cluster.is_chief:
            missing = _receive(server, cluster, deadline_s)
        else:
            missing = _report(cluster, deadline_s)
    if missing:
        names = ", ".join(cluster.name(index) for index in missing[:3])
        raise PeerError(
            f"expected {len(cluster.tasks)} workers to come, but after {timeout_s:.0f} "
            f"s {cluster.name(cluster.index)} still waits for {names}",
            f"look at what they say, and whether {VARIABLE} is the same on all but for "
            "the index",
        )


def _receive(server: socket.socket, cluster: Cluster, deadline_s: float) -> list[int]:
    """Wait for the others and let them go; return who hasn't come."""
    awaited = set(range(1, len(cluster.tasks)))
    with contextlib.ExitStack() as stack:
        come: dict[int, socket.socket] = {}
        while awaited - set(come):
            server.settimeout(max(0.01, deadline_s - time.monotonic()))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                return sorted(awaited - set(come))
            stack.enter_context(connection)
            connection.settimeout(GREETING_S)
            with contextlib.suppress(OSError, ValueError):
                greeting = connection.recv(MOST_BYTES).decode()
                name, _, number = greeting.rpartition(" ")
                if name == GREETING and int(number) in awaited:
                    come[int(number)] = connection  # the last one, if it came again
        for connection in come.values():
            with contextlib.suppress(OSError):
                connection.sendall(GO)
    return []


def _report(cluster: Cluster, deadline_s: float) -> list[int]:
    """Tell the chief that this worker is here; return it if it doesn't let it go."""
    host, port = _place(cluster.addresses[0])
    while (left_s := deadline_s - time.monotonic()) > 0:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host, port), timeout=left_s) as connection,
        ):
            connection.sendall(f"{GREETING} {cluster.index}\n".encode())
            if connection.recv(MOST_BYTES) == GO:
                return []
        time.sleep(PAUSE_S)
    return [0]


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
