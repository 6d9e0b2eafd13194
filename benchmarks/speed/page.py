"""The page of `textgen export --html` in Chromium, beside our own decoder.

  python -m benchmarks.speed.page              the sonnets' model and a smaller network
  python -m benchmarks.speed.page --only small

The columns: size of the file; seconds until it is open and ready, once; characters a
second, read and drawn at temperature 0.7, by the processor time of the page, and by
our decoder, in one thread, by that of this process; nats per character of the held-out
sonnets, read as one text, by the page and by our decoder. The smaller network is two
LSTM layers of 224 units and has random weights.
"""

# The setting below must be made before the imports after it.

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import report
from benchmarks.harness.contest import run, say
from benchmarks.harness.worker import BenchmarkError
from textgen.config import CompletionConfig, Config, PageConfig
from textgen.data.vocabulary import Vocabulary
from textgen.evaluation.nats import held_out_nats
from textgen.generation.sampling import sample
from textgen.inference.weights import LSTMWeights, Network
from textgen.saving.find_model import pretrained
from textgen.saving.model_file import load_model
from textgen.saving.own_text import own_corpus
from textgen.saving.trained_model import TrainedModel
from textgen.web.offline import offline_page

SMALL_UNITS, SMALL_EMBEDDING = 224, 64
CHARS = 1000  # drawn, after as many that only warm up
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
HEADINGS = (
    "model", "MB", "open, s", "characters/s", "our decoder", "nats/char",
    "our decoder",
)  # fmt: skip
DRAW = """count => {
  const random = seeded(1);
  for (let k = 0, id = 0; k < count; k++) {
    decoder.push(id);
    id = draw(decoder.logits(), 0.7, 1, random);
  }
}"""
JUDGE = """ids => {
  let nats = 0;
  decoder.reset();
  for (let k = 0; k + 1 < ids.length; k++) {
    decoder.push(ids[k]);
    const logits = decoder.logits();
    const highest = Math.max(...logits);
    nats += highest - logits[ids[k + 1]];
    nats += Math.log(logits.reduce((sum, x) => sum + Math.exp(x - highest), 0));
  }
  return nats / (ids.length - 1);
}"""


def small_model(vocabulary: Vocabulary) -> TrainedModel:
    """Return a model of two layers of random weights."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape, scale=0.1).astype(np.float32)

    size, units = len(vocabulary), SMALL_UNITS
    layers = tuple(
        LSTMWeights(
            normal(below, 4 * units), normal(units, 4 * units), normal(4 * units)
        )
        for below in (SMALL_EMBEDDING, units)
    )
    embedding = normal(size, SMALL_EMBEDDING)
    network = Network(embedding, layers, normal(units, size), normal(size))
    return TrainedModel(network, vocabulary, "text", Config(), {}, None)


def own_rate(model: TrainedModel) -> float:
    """Return how many characters a second our decoder draws, by processor time."""
    decoder, rng, config = model.decoder(), np.random.default_rng(1), CompletionConfig()
    current = np.zeros(1, np.int64)
    started_s = 0.0
    for count in range(2 * CHARS):
        if count == CHARS:
            started_s = time.process_time()
        current[0] = sample(decoder.step(current)[0], rng, config)
    return CHARS / (time.process_time() - started_s)


def measure_page(
    browser: Any, model: TrainedModel, ids: np.ndarray | None
) -> tuple[float, float, float, float | None]:
    """Return a page's MB, seconds to open, characters a second and nats per one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "page.html")
        path.write_text(offline_page(model, PageConfig()), encoding="utf-8")
        page = browser.new_page()
        page.set_default_timeout(0)
        started_s = time.perf_counter()
        page.goto(path.as_uri())
        page.locator("#write:enabled").wait_for()
        open_s = time.perf_counter() - started_s
        tools = page.context.new_cdp_session(page)
        tools.send("Performance.enable", {"timeDomain": "threadTicks"})

        def busy_s() -> float:
            found = tools.send("Performance.getMetrics")["metrics"]
            return {each["name"]: each["value"] for each in found}["TaskDuration"]

        page.evaluate(DRAW, CHARS)
        before_s = busy_s()
        page.evaluate(DRAW, CHARS)
        rate = CHARS / (busy_s() - before_s)
        nats = None if ids is None else page.evaluate(JUDGE, ids.tolist())
        page.close()
        return path.stat().st_size / 1e6, open_s, rate, nats


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    report.add_choice(parser, "--only", ("sonnets", "small"))
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    chosen = parse_arguments().only
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise BenchmarkError("this needs Chromium, which isn't installed")
    from playwright.sync_api import sync_playwright

    shipped = load_model(pretrained("sonnets"))
    corpus = own_corpus(shipped)
    held_out = corpus.split(shipped.texts[-1].held_out).held_out
    ids = shipped.vocabulary.encode(corpus.vocabulary.decode(held_out))
    models = {"sonnets": shipped, "small": small_model(shipped.vocabulary)}
    rows = []
    print(report.describe_machine())
    with sync_playwright() as driver:
        options = ["--no-sandbox"]
        browser = driver.chromium.launch(executable_path=program, args=options)
        print(f"Chromium {browser.version}")
        for name in chosen:
            model, judged = models[name], ids if name == "sonnets" else None
            own = held_out_nats(model, ids) if name == "sonnets" else None
            say(name)
            size, open_s, rate, nats = measure_page(browser, model, judged)
            figures = [f"{size:.1f}", f"{open_s:.2f}", f"{rate:,.0f}"]
            told = ["–" if x is None else f"{x:.4f}" for x in (nats, own)]
            rows.append([name, *figures, f"{own_rate(model):,.0f}", *told])
        browser.close()
    report.show("a page that completes prompts", HEADINGS, rows)


if __name__ == "__main__":
    run(main)
