"""A server that runs beside the tests, and what it serves."""

import asyncio
import contextlib
import faulthandler
import shutil
import socket
import threading
import time
from importlib import resources

import httpx
import pytest
from fakes import whimsical_model
from model_files import write_own_file

from textgen.cli.serve import load_models, mixed
from textgen.config import ServerConfig
from textgen.data.labels import label_symbol
from textgen.saving.model_file import load_model
from textgen.web import server as web_server
from textgen.web.server import listen, make_server

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, PROGRAMS)), None)
AXE = "axe_playwright_python"
SYMBOLS = "\n abcdefghijklmnopqrstuvwxyz."


@contextlib.contextmanager
def running(models, **options):
    """Yield the address of a server with these models and options."""
    config = ServerConfig(port=0, **options)
    with listen(config.host, 0) as listening:
        server = make_server(models, config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.005)
        host, port = listening.getsockname()[:2]
        try:
            yield f"http://{host}:{port}"
        finally:
            server.should_exit = True
            thread.join(timeout=60)
            if thread.is_alive():
                faulthandler.dump_traceback()  # where each thread hangs
                for task in asyncio.all_tasks(server._loop):  # and each coroutine
                    task.print_stack()
            assert not thread.is_alive()


@pytest.fixture(scope="session", autouse=True)
def _short_grace():
    """Let servers end soon, whatever a test has left under way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web_server, "GRACE_SECONDS", 1)
        yield


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no browser is tried: Chromium isn't installed")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def violations():
    """Return a function that tells which rules of accessibility a page violates."""
    pytest.importorskip(AXE, reason="axe-core isn't installed")
    source = (resources.files(AXE) / "axe.min.js").read_text(encoding="utf-8")

    def of(page):
        page.evaluate(source)
        return page.evaluate(
            "axe.run().then(found => found.violations.map("
            "each => [each.id, each.nodes.map(node => node.html).slice(0, 3)]))"
        )

    return of


@pytest.fixture(scope="session")
def models():
    """A fake of which all is known, and the model of names that comes with textgen."""
    return {"fake": whimsical_model(SYMBOLS), "dinos": load_model("dinos")}


@pytest.fixture(scope="session")
def longer_models(tmp_path_factory):
    """Tiny models of words, with labels, and of byte pairs, and a mixture of two."""
    folder = tmp_path_factory.mktemp("models")
    words, pairs, other = (folder / f"{x}.h5" for x in ("words", "pairs", "other"))
    marks = [label_symbol(0), label_symbol(1)]
    symbols = ["\n", " ", *"abc", " ab", "bca", *marks]
    labels = ["Keats", "Shelley"]
    write_own_file(words, symbols, "lines", level="word", labels=labels)
    pieces = {"level": "bpe", "merges": [[2, 3], [1, 5], [5, 4]]}
    symbols = ["\n", " ", *"abc", "ab", " ab", "abc"]
    write_own_file(pairs, symbols, **pieces)
    write_own_file(other, symbols, units=4, **pieces)
    both = load_models([pairs, other])
    mixture = mixed(both, (0.75, 0.25))
    return load_models([words]) | {"pairs": both["pairs"]} | mixture


@pytest.fixture(scope="session")
def longer_address(longer_models):
    with running(longer_models) as address:
        yield address


@pytest.fixture(scope="session")
def address(models):
    with running(models) as address:
        yield address


@pytest.fixture
def serving():
    """Return a function that starts another server and returns its address."""
    with contextlib.ExitStack() as stack:
        yield lambda models, **how: stack.enter_context(running(models, **how))


@pytest.fixture
def client(address):
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


@pytest.fixture
def connect(address):
    """Return a function that opens a connection for what no client would send."""
    with contextlib.ExitStack() as stack:

        def open_one(to=address):
            host, port = to.removeprefix("http://").rsplit(":", 1)
            own = socket.create_connection((host, int(port)), timeout=30)
            return stack.enter_context(own)

        yield open_one


def figure(client, name):
    """Return a figure of /metrics, or 0."""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"textgen_{name} "):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def wait_until(condition, seconds=30):
    """Wait for something that is to come soon."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.01)
