"""Processes that find each other: in any order, among strangers, and not for ever."""

import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from training.together import local_addresses

from textgen.errors import OptionError, PeerError
from textgen.training.cluster import Cluster
from textgen.training.meeting import meet


def clusters(count):
    addresses = tuple(local_addresses(count))
    tasks = tuple(("worker", n) for n in range(count))
    return [Cluster(tasks, addresses, index) for index in range(count)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_they_go_on_together_in_whatever_order_they_come(order):
    all_three, left = clusters(3), []

    def come(cluster):
        meet(cluster, 30)
        left.append(time.monotonic())

    with ThreadPoolExecutor(3) as pool:
        waits = []
        for index in order:
            assert not left
            waits.append(pool.submit(come, all_three[index]))
            time.sleep(0.1)
        for wait in waits:
            wait.result()
    assert max(left) - min(left) < 10
    for cluster in all_three:  # the ports are free again, for TensorFlow
        port = int(cluster.addresses[cluster.index].rpartition(":")[2])
        socket.create_server(("", port)).close()


def test_strangers_are_not_taken_for_workers():
    chief, worker = clusters(2)
    host, _, port = chief.addresses[0].rpartition(":")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(meet, chief, 30)
        for said in (b"GET / HTTP/1.1\r\n", b"textgen worker 7\n", b"\xff", b""):
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                with contextlib.suppress(ConnectionRefusedError):
                    with socket.create_connection((host, int(port))) as stranger:
                        stranger.sendall(said)
                    break
        assert not waiting.done()
        meet(worker, 30)
        waiting.result()


def test_nobody_waits_for_ever_and_the_missing_are_named():
    chief, worker, _ = clusters(3)
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(meet, worker, 2)
        with pytest.raises(PeerError, match=r"the chief .* still waits for worker 2 "):
            meet(chief, 2)
        with pytest.raises(PeerError):
            waiting.result()
    with pytest.raises(PeerError, match=r"worker 1 \(.*\) still waits for the chief "):
        meet(clusters(2)[1], 0.5)
    assert time.monotonic() - started < 20


def test_a_port_that_is_taken_is_told():
    chief, _ = clusters(2)
    port = int(chief.addresses[0].rpartition(":")[2])
    with (
        socket.create_server(("", port)),
        pytest.raises(OptionError, match=r"listen at its port .*in use"),
    ):
        meet(chief, 5)
