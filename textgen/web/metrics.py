"""Counters of the server, which Prometheus reads."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

BOUNDS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Metrics:
    """What the server has done since it began, in a registry of its own."""

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        ProcessCollector(registry=own)  # memory and processor time, where Linux tells
        self.responses = Counter(
            "textgen_responses", "HTTP responses by status.", ["status"], registry=own
        )
        self.completions = Counter(
            "textgen_completions", "Completions that ended.",
            ["model", "finish_reason"], registry=own,
        )  # fmt: skip
        self.characters = Counter(
            "textgen_characters", "Characters delivered.", ["model"], registry=own
        )
        self.prompt_characters = Counter(
            "textgen_prompt_characters", "Characters of prompts.", ["model"],
            registry=own,
        )  # fmt: skip
        self.cancelled = Counter(
            "textgen_cancelled", "Given up by clients.", registry=own
        )
        self.running = Gauge(
            "textgen_running", "Completions that have a slot.", registry=own
        )
        self.waiting = Gauge(
            "textgen_waiting", "Completions that wait for one.", registry=own
        )
        self.first_character_s = Histogram(
            "textgen_first_character_seconds", "From request to it.",
            registry=own, buckets=BOUNDS_S,
        )  # fmt: skip
        self.request_s = Histogram(
            "textgen_request_seconds", "From request to its end.",
            registry=own, buckets=BOUNDS_S,
        )  # fmt: skip

    def text(self, running: int, waiting: int) -> bytes:
        """Return everything, with how many completions run and wait just now."""
        self.running.set(running)
        self.waiting.set(waiting)
        return generate_latest(self._registry)
