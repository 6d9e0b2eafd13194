"""Clients that leave, are slow, cut off, or too many: no slot stays taken."""

import json
import socket
import threading
import time

import httpx
import pytest
from fakes import FakeModel, alphabet_model
from web.conftest import figure, running, wait_until

from textgen.web import bodies, completions, server

ENDLESS = {"prompt": "a", "max_tokens": 5000}


def slow_model():
    """A model whose texts take a few seconds, with logits that are easily made."""

    def rule(read):
        time.sleep(0.002)
        return [0.0, 1.0]

    return FakeModel("ab", rule)


def request_bytes(body, path="/v1/completions", length=None):
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data) if length is None else length}\r\n\r\n"
    )
    return head.encode() + data


def read_until(connection, end=None):
    """Return what comes up to something, or up to the end of the connection."""
    said = b""
    while end is None or end not in said:
        part = connection.recv(5000)
        if not part:
            assert end is None, said
            return said
        said += part
    return said


@pytest.fixture
def slow(serving, monkeypatch):
    """The address of a server with few slots, and a client of it."""
    monkeypatch.setattr(completions, "MOST_RUNNING", 2)
    monkeypatch.setattr(completions, "MOST_WAITING", 1)
    address = serving({"slow": slow_model()})
    with httpx.Client(base_url=address, timeout=60) as client:
        yield address, client


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_completion(slow, connect, stream):
    address, client = slow
    gone = connect(address)
    gone.sendall(request_bytes({**ENDLESS, "stream": stream, "n": 2}))
    if stream:
        read_until(gone, b"data: ")
    wait_until(lambda: figure(client, "running") == 2)
    gone.close()
    wait_until(lambda: figure(client, "running") == 0, seconds=3)
    assert figure(client, "cancelled_total") == 2


def test_one_too_many_is_told_when_to_come_again(slow, connect):
    address, client = slow
    others = connect(address)
    others.sendall(request_bytes({**ENDLESS, "n": 2}))
    wait_until(lambda: figure(client, "running") == 2)
    waits = connect(address)
    waits.sendall(request_bytes({**ENDLESS, "max_tokens": 3}))
    wait_until(lambda: figure(client, "waiting") == 1)
    refused = client.post("/v1/completions", json=ENDLESS)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["error"]["code"] == "queue_full"
    others.close()
    read_until(waits, b'"finish_reason":"length"')
    assert client.post(
        "/v1/completions", json={"prompt": "", "max_tokens": 1}
    ).is_success


@pytest.mark.parametrize("stream", [True, False])
def test_memory_for_logprobs_is_bounded(slow, connect, monkeypatch, stream):
    address, client = slow
    monkeypatch.setattr(completions, "MOST_PLACES_UNDER_WAY", 8000)
    other = connect(address)
    other.sendall(request_bytes({**ENDLESS, "logprobs": 1, "stream": stream}))
    wait_until(lambda: figure(client, "running") == 1)
    body = {"prompt": "a", "max_tokens": 1, "logprobs": 1}
    assert client.post("/v1/completions", json=body).is_success
    refused = client.post("/v1/completions", json={**ENDLESS, "logprobs": 1})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    other.close()
    wait_until(lambda: figure(client, "running") == 0, seconds=3)
    long = {**body, "prompt": "a" * 7999, "echo": True}
    for _ in range(3):  # what was answered takes no room
        assert client.post("/v1/completions", json=long).is_success


def test_a_request_that_takes_too_long_is_ended(serving):
    address = serving({"slow": slow_model()}, request_seconds=0.3)
    with httpx.Client(base_url=address, timeout=60) as client:
        late = client.post("/v1/completions", json=ENDLESS)
        assert late.status_code == 504
        assert late.json()["error"]["code"] == "timeout"
        streamed = client.post("/v1/completions", json={**ENDLESS, "stream": True})
        assert streamed.status_code == 200
        last = streamed.text.rstrip().rsplit("data: ", 1)[1]
        assert json.loads(last)["error"]["code"] == "timeout"
        assert "[DONE]" not in streamed.text
        wait_until(lambda: figure(client, "running") == 0)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\1\2\3" * 50, b"GET", b"GET / HTTP/1.1\r\nHost: lo", b"\r\n\r\n\r\n",
     b"GET / HTTP/9.9\r\n\r\n", b"GET  /  HTTP/1.1\r\n\r\n",
     b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
     b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
     b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
     request_bytes({"prompt": "a"})[:-5], request_bytes({"prompt": "a"}, length=9999),
     request_bytes({"prompt": "a"}, path="/%00%ff/../..")],
)  # fmt: skip
def test_what_is_cut_off_or_no_http_does_no_harm(connect, client, data, capfd):
    own = connect()
    own.sendall(data)
    own.close()
    answered = connect()
    answered.sendall(data + b"\r\n\r\n")
    answered.settimeout(0.05)
    try:
        said = answered.recv(1000)
    except TimeoutError:
        said = b""
    assert not said or said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 2"))
    answered.close()
    assert client.get("/healthz").text == "ok\n"
    wait_until(lambda: figure(client, "running") == 0)
    assert "Traceback" not in capfd.readouterr().err


def test_slow_clients_are_cut_off(serving, connect, monkeypatch):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    address = serving({"one": alphabet_model()})
    silent, slow_head, slow_body = connect(address), connect(address), connect(address)
    slow_head.sendall(b"GET /healthz HTTP/1.1\r\nHost: local")
    slow_body.sendall(request_bytes({"prompt": "a"}, length=50))
    assert read_until(slow_body).startswith(b"HTTP/1.1 408")
    begun_s = time.monotonic()
    assert silent.recv(1000) == b""
    assert slow_head.recv(1000) == b""
    assert time.monotonic() - begun_s < 5
    again = connect(address)
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    again.sendall(head)
    read_until(again, b"ok\n")
    again.sendall(head[:20])  # the next one, never to be finished
    assert again.recv(1000) == b""


def test_a_body_that_never_ends_is_told_that_the_server_stops(connect):
    with running({"one": alphabet_model()}) as address:
        own = connect(address)
        sent = request_bytes({"prompt": "a"}, length=50)
        own.sendall(sent.replace(b"\r\n", b"\r\nExpect: 100-continue\r\n", 1))
        read_until(own, b"100 Continue\r\n\r\n")  # it waits for the body
    head, _, body = read_until(own).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    assert json.loads(body)["error"]["code"] == "stopping"


def test_a_client_that_takes_nothing_is_cut_off(serving, connect, monkeypatch):
    monkeypatch.setattr(server, "TAKING_SECONDS", 0.3)
    address = serving({"one": alphabet_model()})
    own = connect(address)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    body = {**ENDLESS, "stream": True, "n": 4, "logprobs": 5}
    for _ in range(3):
        own.sendall(request_bytes(body))
    with httpx.Client(base_url=address, timeout=60) as client:
        wait_until(lambda: figure(client, "cancelled_total") > 0, seconds=180)
        wait_until(lambda: figure(client, "running") == 0)


def test_hundreds_of_mixed_clients_leave_nothing_behind(client, connect):
    """Some leave at once, some midway, some stay; then all is as before."""
    threads, failures = threading.active_count(), []

    def work(number):
        try:
            for turn in range(8):
                kind = (number + turn) % 4
                body = {**ENDLESS, "max_tokens": 30, "stream": kind % 2 == 1}
                if kind == 2:
                    with connect() as own:
                        own.sendall(request_bytes({**ENDLESS, "stream": True}))
                elif kind == 3:
                    with client.stream("POST", "/v1/completions", json=body) as events:
                        next(events.iter_lines())
                else:
                    assert client.post("/v1/completions", json=body).is_success
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(24)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    wait_until(lambda: figure(client, "running") + figure(client, "waiting") == 0)
    assert threading.active_count() == threads


def test_what_is_sent_does_not_wait_for_more(serving, monkeypatch):
    """Else each stream's first characters would come 40 ms late."""
    seen, begin = [], server.BoundedProtocol.connection_made

    def watch(protocol, transport):
        begin(protocol, transport)
        own = transport.get_extra_info("socket")
        seen.append(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(server.BoundedProtocol, "connection_made", watch)
    assert httpx.get(f"{serving({'one': alphabet_model()})}/healthz").is_success
    assert len(seen) == 1
    assert seen[0] != 0
