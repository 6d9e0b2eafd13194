"""Counters of the server, in the text form that Prometheus reads.

https://prometheus.io/docs/instrumenting/exposition_formats/ describes it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]


class Histogram:
    """How many values were at most so large, and their sum."""

    def __init__(self, bounds: Iterable[float] = SECONDS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> Iterator[str]:
        """Yield the samples."""
        total = 0
        bounds = (*(f"{bound:g}" for bound in self._bounds), "+Inf")
        for bound, count in zip(bounds, self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {total}"


class Metrics:
    """What the server has done since it began; only the event loop counts."""

    def __init__(self) -> None:
        self.responses: Counter[Labels] = Counter()
        self.completions: Counter[Labels] = Counter()
        self.characters: Counter[Labels] = Counter()
        self.prompt_characters: Counter[Labels] = Counter()
        self.cancelled = 0
        self.first_character = Histogram()
        self.request = Histogram()

    def text(self, running: int, waiting: int) -> str:
        """Return everything, with how many completions run and wait just now."""
        lines = [
            *_counter("responses", "HTTP responses by status.", self.responses),
            *_counter("completions", "Completions that ended.", self.completions),
            *_counter("characters", "Characters delivered.", self.characters),
            *_counter(
                "prompt_characters", "Characters of prompts.", self.prompt_characters
            ),
            *_one("cancelled_total", "counter", "Given up by clients.", self.cancelled),
            *_one("running", "gauge", "Completions that have a slot.", running),
            *_one("waiting", "gauge", "Completions that wait for one.", waiting),
            *_head("first_character_seconds", "histogram", "From request to it."),
            *self.first_character.lines("textgen_first_character_seconds"),
            *_head("request_seconds", "histogram", "From request to its end."),
            *self.request.lines("textgen_request_seconds"),
        ]
        if (memory := _resident_bytes()) is not None:
            name = "process_resident_memory_bytes"
            lines += [f"# TYPE {name} gauge", f"{name} {memory}"]
        return "\n".join(lines) + "\n"


def labels(**values: str) -> Labels:
    """Return a sample's labels."""
    return tuple(values.items())


def _head(name: str, kind: str, help_text: str) -> list[str]:
    return [f"# HELP textgen_{name} {help_text}", f"# TYPE textgen_{name} {kind}"]


def _one(name: str, kind: str, help_text: str, value: float) -> list[str]:
    return [*_head(name, kind, help_text), f"textgen_{name} {value}"]


def _counter(name: str, help_text: str, values: Counter[Labels]) -> list[str]:
    lines = _head(f"{name}_total", "counter", help_text)
    for each, value in sorted(values.items()):
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in each)
        lines.append(f"textgen_{name}_total{{{pairs}}} {value}")
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _resident_bytes() -> int | None:
    """Return how much memory the process has, where Linux tells it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    import resource

    return pages * resource.getpagesize()
