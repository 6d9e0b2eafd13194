"""Load on `textgen serve`: many clients at once, beside the bare batch.

  python -m benchmarks.speed.serving                              60 s for each number
  python -m benchmarks.speed.serving --clients 1,64 --seconds 10

Each client asks for one streamed completion after the other: prompts of 0 to 60
characters, 100 to 700 new ones, a seed each. Server and clients share this machine. The
columns: characters a second of all clients; the same of the bare batch, as many texts
of the same prompts and lengths in a process of its own without a server, run before;
the first as a share of that; the same share of characters by processor time, without
the clients', which depends less on what else runs; milliseconds to the first character
and from one delivery to the next, median and 99th percentile; completions; the server's
memory afterwards. A completion that isn't whole ends the run with an error. The bare
batch counts the texts that ended in the second half of its time, which is to be many
times that of one text.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import report
from benchmarks.harness.worker import ROOT, BenchmarkError

TEXT = (
    "Shall I compare thee to a summer's day? Thou art more lovely and more temperate: "
    "Rough winds do shake the darling buds of May, And summer's lease hath all too"
)
LONGEST_PROMPT = 60
LENGTHS = (100, 700)
WAIT_S = 120  # for a client's next bytes
HEADINGS = (
    "clients", "characters/s", "bare batch", "share", "by CPU time",
    "first, ms: p50", "p99", "next, ms: p50", "p99", "completions", "memory, MiB",
)  # fmt: skip


class Wish(NamedTuple):
    """What one completion is asked of."""

    prompt: str
    length: int
    seed: int


@dataclass
class Measured:
    """What the clients of one run saw."""

    characters: int = 0
    processor_s: float = 0.0  # of the server
    completions: int = 0
    first_s: list[float] = field(default_factory=list)
    next_s: list[float] = field(default_factory=list)


def wishes() -> Iterator[Wish]:
    """Yield what is asked for, endlessly, always the same."""
    rng = random.Random(0)
    for seed in count():
        start = rng.randrange(len(TEXT) - LONGEST_PROMPT)
        prompt = TEXT[start : start + rng.randrange(LONGEST_PROMPT + 1)]
        yield Wish(prompt, rng.randint(*LENGTHS), seed)


async def client(
    port: int, model: str, asked: Iterator[Wish], end_s: float, measured: Measured
) -> None:
    """Ask for one completion after the other until the time is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.closing(writer):
        while time.perf_counter() < end_s:
            await complete(reader, writer, model, next(asked), end_s, measured)


async def complete(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    model: str,
    wish: Wish,
    end_s: float,
    measured: Measured,
) -> None:
    """Ask for a completion, and note what comes while there is time.

    Raises:
        BenchmarkError: if it isn't whole.
    """
    body = {"model": model, "prompt": wish.prompt, "max_tokens": wish.length,
            "seed": wish.seed, "stream": True}  # fmt: skip
    data = json.dumps(body).encode()
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (len(data), data)
    )
    last_s, got = time.perf_counter(), 0
    while True:
        line = await asyncio.wait_for(reader.readline(), WAIT_S)
        now_s = time.perf_counter()
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            if "error" in event:
                raise BenchmarkError(f"the server answered {event}")
            new = len(event["choices"][0]["text"])
            if new and now_s <= end_s:
                (measured.next_s if got else measured.first_s).append(now_s - last_s)
                measured.characters += new
            got, last_s = got + new, now_s
        elif line.startswith(b"data: [DONE]"):
            while await reader.readline() != b"0\r\n":
                pass
            await reader.readline()
            break
        elif not line or (line.startswith(b"HTTP/1.1 ") and b" 200 " not in line):
            raise BenchmarkError(f"the server answered {line!r}")
    if got != wish.length:
        raise BenchmarkError(f"{got} characters came of {wish.length}")
    measured.completions += 1


async def load(
    port: int, pid: int, model: str, clients: int, seconds: float
) -> Measured:
    """Let so many clients ask for so long."""
    measured, asked = Measured(), wishes()
    before_s = processor_s(pid)
    end_s = time.perf_counter() + seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client(port, model, asked, end_s, measured))
        await asyncio.sleep(seconds)
        measured.processor_s = processor_s(pid) - before_s
    return measured


@contextlib.contextmanager
def server(model: str) -> Iterator[tuple[int, int]]:
    """Start a server and yield its port and process; it may fail nowhere."""
    command = [sys.executable, "-m", "textgen", "serve", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--model", model], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"serving at http://[\d.]+:(\d+)", line):
                yield int(found[1]), process.pid
                break
        else:
            raise BenchmarkError("the server didn't start")
    finally:
        process.terminate()
        said = process.communicate(timeout=60)[1]
    if "Traceback" in said:
        raise BenchmarkError(f"the server failed:\n{said}")


async def memory_mib(port: int) -> float:
    """Return what memory the server has."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.closing(writer):
        head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        writer.write(head)
        text = (await reader.read()).decode()
    found = re.search(r"(?m)^process_resident_memory_bytes (\S+)", text)
    return float(found[1]) / 2**20 if found else 0.0


def processor_s(pid: int) -> float:
    """Return the processor time that a process has taken (on Linux)."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def bare(model: str, texts: int, seconds: float) -> tuple[float, float]:
    """Return how many characters a batch of so many texts makes, by both clocks.

    That is a second, and a second of processor time.
    """
    command = [sys.executable, "-m", __spec__.name, "--bare", str(texts)]
    options = ["--model", model, "--seconds", str(seconds)]
    said = subprocess.check_output([*command, *options], cwd=ROOT, text=True)
    by_clock, by_processor = map(float, said.split())
    return by_clock, by_processor


def measure_bare(model: str, texts: int, seconds: float) -> tuple[float, float]:
    """Make a batch in this process; see `bare`."""
    from textgen.system.process import prepare_process

    prepare_process()
    from textgen.config import CompletionConfig
    from textgen.generation.batch_decoder import Request
    from textgen.generation.endings import stop_ids
    from textgen.generation.halves import drawn_in_batch
    from textgen.generation.streaming import ids_to_read
    from textgen.saving.model_file import load_model

    trained, config = load_model(model), CompletionConfig()
    no_stops = stop_ids(trained.vocabulary)
    requests = (
        Request(index, wish.prompt, ids_to_read(trained, wish.prompt, False), wish.seed,
                config, wish.length, no_stops)
        for index, wish in enumerate(wishes())
    )  # fmt: skip
    characters, half_s, processor_s = 0, time.perf_counter() + seconds / 2, 0.0
    for _, ids in drawn_in_batch(trained, requests, texts):
        late_s = time.perf_counter() - half_s
        if late_s > 0:
            processor_s = processor_s or time.process_time()
            characters += len(ids)
        if late_s > seconds / 2:
            break
    return characters / late_s, characters / (time.process_time() - processor_s)


def milliseconds(seconds: list[float], share: float) -> str:
    """Return a quantile, in milliseconds."""
    ordered = sorted(seconds)
    return report.figure(1000 * ordered[int(share * (len(ordered) - 1))])


def row(
    clients: int,
    bare_rates: tuple[float, float],
    measured: Measured,
    seconds: float,
    memory: float,
) -> list[str]:
    """Return a line of the table, from the bare rates by both clocks."""
    rate = measured.characters / seconds
    by_processor = measured.characters / measured.processor_s
    bare_rate, bare_by_processor = bare_rates
    return [
        str(clients), report.figure(rate), report.figure(bare_rate),
        f"{rate / bare_rate:.0%}", f"{by_processor / bare_by_processor:.0%}",
        milliseconds(measured.first_s, 0.5), milliseconds(measured.first_s, 0.99),
        milliseconds(measured.next_s, 0.5), milliseconds(measured.next_s, 0.99),
        f"{measured.completions:,}", report.figure(memory),
    ]  # fmt: skip


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    add = parser.add_argument
    add("--model", default="sonnets", help="to serve (default: %(default)s)")
    add("--clients", type=report.positives, default=[1, 8, 64, 256],
        help="at once, numbers with commas between (default: 1,8,64,256)")  # fmt: skip
    add("--seconds", type=report.positive(float), default=60.0,
        help="for each number (default: %(default)s)")  # fmt: skip
    add("--bare", type=report.positive(int), help="only make a batch of so many texts")
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    arguments = parse_arguments()
    model, seconds = arguments.model, arguments.seconds
    if arguments.bare is not None:
        print(*measure_bare(model, arguments.bare, seconds))
        return
    print(report.describe_machine())
    rows = []
    with server(model) as (port, pid):
        for clients in map(int, arguments.clients):
            bare_rates = bare(model, clients, seconds)
            measured = asyncio.run(load(port, pid, model, clients, seconds))
            memory = asyncio.run(memory_mib(port))
            rows.append(row(clients, bare_rates, measured, seconds, memory))
            print(f"{clients} clients: {rows[-1][1:]}", file=sys.stderr, flush=True)
    report.show(f"textgen serve, the model {os.fspath(model)}", HEADINGS, rows)


if __name__ == "__main__":
    main()
