"""Requests to `textgen serve` that are malformed, oversized, slow or cut off.

  python tests/stress/abuse_server.py --count 10000

Beside them well-formed clients complete prompts all the time. Afterwards the server has
answered them, holds no slot, and printed no traceback; its memory before and after is
told. 10,000 requests take some minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.speed.serving import Measured, complete, server, wishes

AT_ONCE = 64
SLOW_S = 1.0
GOOD = {"prompt": "ab", "max_tokens": 30}


def request(body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Return a request's bytes, with a length that may be wrong."""
    lines = [
        "POST /v1/completions HTTP/1.1", "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}", *headers,
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def malformed(rng: random.Random) -> bytes:
    """Return a request with a few bytes changed, anywhere or in its body."""
    body = json.dumps(GOOD | {"stream": rng.random() < 0.5, "logprobs": 2}).encode()
    spoilt = bytearray(request(body) if rng.random() < 0.5 else body)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(spoilt))
        spoilt[place : place + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 4))
    return bytes(spoilt) if spoilt.startswith(b"POST") else request(bytes(spoilt))


def oversized(rng: random.Random) -> bytes:
    """Return a request with something too large in it."""
    return rng.choice([
        request(b'{"prompt": "%b"}' % (b"a" * 70_000)),
        request(b"[" * 60_000),
        request(b"", f"X-Long: {'y' * 20_000}"),
        request(json.dumps(GOOD | {"prompt": "a" * 20_000}).encode()),
        request(json.dumps(GOOD | {"max_tokens": 10**9}).encode()),
        request(b"", length=10**15),
        b"GET /" + b"z" * 30_000,
    ])  # fmt: skip


async def read(reader: asyncio.StreamReader, seconds: float) -> bytes:
    """Return what the server says, up to its end or so long."""
    said = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(seconds):
            while part := await reader.read(65_536):
                said += part
    return said


async def abuse(port: int, rng: random.Random, seen: Counter[str]) -> None:
    """Send one request in a bad way, and count what comes back."""
    kind = rng.choice(("malformed", "oversized", "slow", "cut off", "left"))
    answer = b""
    with contextlib.suppress(ConnectionError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            good = request(json.dumps(GOOD | {"stream": rng.random() < 0.5}).encode())
            if kind == "malformed":
                writer.write(malformed(rng))
                answer = await read(reader, 0.5)
            elif kind == "oversized":
                writer.write(oversized(rng))
                answer = await read(reader, 0.5)
            elif kind == "slow":
                cut = rng.randrange(len(good))
                writer.write(good[:cut])
                await asyncio.sleep(rng.random() * SLOW_S)
                writer.write(good[cut:])
                answer = await read(reader, 0.5)
            elif kind == "cut off":
                writer.write(good[: rng.randrange(len(good))])
            else:
                endless = GOOD | {"max_tokens": 5000, "n": 2, "stream": True}
                writer.write(request(json.dumps(endless).encode()))
                answer = await reader.read(rng.randrange(1, 2000))
            with contextlib.suppress(ConnectionError):
                await writer.drain()
    status = answer[9:12].decode("ascii", "replace") if answer else "none"
    seen[f"{kind}: {status}"] += 1


async def metrics(port: int) -> dict[str, float]:
    """Return the server's figures."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.closing(writer):
        head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        writer.write(head)
        text = (await reader.read()).decode()
    return {name: float(x) for name, x in re.findall(r"(?m)^(\w+) (\S+)$", text)}


async def good_client(port: int, measured: Measured, ended: asyncio.Event) -> None:
    """Complete prompts as clients should, and see that all are whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.closing(writer):
        for wish in wishes():
            if ended.is_set():
                return
            end_s = time.perf_counter() + 600
            await complete(reader, writer, "sonnets", wish, end_s, measured)


async def run(port: int, count: int, seed: int) -> Counter[str]:
    """Send so many, while two clients behave."""
    rng, seen, ended = random.Random(seed), Counter[str](), asyncio.Event()
    measured, left = Measured(), iter(range(count))

    async def work() -> None:
        for number in left:
            await abuse(port, random.Random(rng.random()), seen)
            if number % 1000 == 999:
                print(f"{number + 1:,} sent", file=sys.stderr, flush=True)

    before = await metrics(port)
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(good_client(port, measured, ended))
        workers = [group.create_task(work()) for _ in range(AT_ONCE)]
        await asyncio.wait(workers)
        ended.set()
    for _ in range(100):
        after = await metrics(port)
        if not after["textgen_running"] + after["textgen_waiting"]:
            break
        await asyncio.sleep(0.1)
    else:
        raise SystemExit(f"slots are taken still: {after}")
    memory = "process_resident_memory_bytes"
    print(f"memory, MiB: {before[memory] / 2**20:.0f} → {after[memory] / 2**20:.0f}")
    print(f"completions of two good clients meanwhile: {measured.completions}")
    return seen


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started_s = time.monotonic()
    with server("sonnets") as (port, _):
        seen = asyncio.run(run(port, options.count, options.seed))
    for outcome, times in sorted(seen.items()):
        print(f"{times:8,}  {outcome}")
    print(f"{options.count:,} in {time.monotonic() - started_s:.0f} s, no traceback")


if __name__ == "__main__":
    main()
