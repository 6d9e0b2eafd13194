"""The pages: what stands in their files, and what a browser makes of them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from textgen.evaluation import pages
from textgen.evaluation.activations import Activations
from textgen.evaluation.features import features_of
from textgen.evaluation.pages import SHOWN_CHARS, activations_page, surprise_page
from textgen.evaluation.surprise import Surprise

with contextlib.suppress(ImportError):  # Windows has none
    import fcntl

HOSTILE = "</script><script>document.title='x'</script><!-- & \u2028 <b>é</b>\n"


def surprise_of(text: str, symbols: tuple[str, ...] = ()) -> Surprise:
    """Return a surprise at a text, of random figures; its first character has none."""
    symbols = symbols or tuple(sorted(set(text) | set("abcdef")))
    rng = np.random.default_rng(1)
    shape = len(text), 5
    surprisal, entropy = rng.gamma(1, 1.3, shape[:1]), rng.gamma(1, 1, shape[:1])
    surprisal[0] = entropy[0] = np.nan
    chances = np.sort(rng.dirichlet(np.ones(6), len(text)))[:, :0:-1]
    chances[0] = np.nan
    likeliest = rng.permuted(np.tile(np.arange(len(symbols)), (len(text), 1)), axis=1)
    return Surprise(text, symbols, surprisal, entropy, likeliest[:, :5], chances)


def activations_of(text: str, units: int = 6) -> Activations:
    """Return random units, of which the last one follows the vowels."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(len(text), units)).astype(np.float32)
    values[:, -1] = 0.5 * features_of(text)["vowel"]
    return Activations(text, (values[:, :2], values[:, 2:]))


def data_in(page: str) -> dict:
    (data,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL
    )
    return json.loads(data)


def surprise_page_of(text: str) -> str:
    return surprise_page(surprise_of(text), "m.h5", "a.txt", len(text))


def activations_page_of(text: str) -> str:
    return activations_page(activations_of(text), "m.h5", "a.txt", len(text))


both_pages = pytest.mark.parametrize("make", [surprise_page_of, activations_page_of])


@both_pages
def test_a_page_is_one_file_that_asks_no_network_and_runs_its_own_script_only(make):
    page = make("Some text.\n" * 30)
    assert not re.search(r"https?:|\"//|@import|url\(|<link|src=|fetch\(", page)
    (policy,) = re.findall('Content-Security-Policy" content="(.*?)"', page)
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (source,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


@both_pages
def test_what_a_text_holds_is_no_markup(make):
    page = make(HOSTILE * 9)
    assert data_in(page)["text"] == HOSTILE * 9
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "<b>" not in page
    assert "\u2028" not in page


def test_names_are_no_markup_and_steer_nothing():
    name = "<img src=x>\n\x1b[2J.txt"
    for page in (
        surprise_page(surprise_of("abc"), name, name, 3),
        activations_page(activations_of("abc d " * 50), name, name, 300),
    ):
        assert "<img" not in page
        assert page.count(r"&lt;img src=x&gt;\n\x1b[2J.txt") == 3


def test_the_data_are_the_figures():
    found = surprise_of("abc\0é" * 4)
    data = data_in(surprise_page(found, "m.h5", "a.txt", 20))
    assert data["symbols"] == list(found.symbols)
    assert data["nats"][0] is data["entropy"][0] is None
    assert data["nats"][1:] == pytest.approx(found.surprisal[1:], abs=5e-4)
    assert data["entropy"][1:] == pytest.approx(found.entropy[1:], abs=5e-4)
    assert data["width"] == 5
    assert data["likeliest"] == found.likeliest.ravel().tolist()
    chances = np.array(data["chances"]).reshape(-1, 5)[1:] / 1e4
    assert chances == pytest.approx(found.probabilities[1:], abs=5.1e-5)


def test_units_are_bytes_on_scales_of_their_own():
    found = activations_of("abc d " * 50)
    data = data_in(activations_page(found, "m.h5", "a.txt", 300))
    assert data["units"] == [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2], [1, 3]]
    values = np.frombuffer(base64.b64decode(data["values"]), np.int8).reshape(6, -1)
    shown = values.T / 127 * data["scales"]
    assert shown == pytest.approx(np.hstack(found.layers), abs=0.02)
    (vowel,) = [x for x in data["followers"] if x["feature"] == "vowel"]
    assert vowel == {"feature": "vowel", "row": 5, "found": 1.0, "checked": 1.0}


def test_a_long_text_is_shown_in_part_and_the_page_says_so():
    long = "The cat.\n" * (SHOWN_CHARS // 5)
    symbols = tuple(map(chr, range(0x4E00, 0x4E00 + 3000))) + tuple(sorted(set(long)))
    page = surprise_page(surprise_of(long[:21_000], symbols), "m", "a", len(long))
    assert data_in(page)["text"] == long[:20_000]
    assert "Shown: the first 20,000 of 36,000 characters." in page
    assert len(page.encode()) < 1_500_000
    units = activations_page(activations_of(long, 1000), "m", "a", len(long))
    assert data_in(units)["text"] == long[: (1 << 21) // 1000]
    assert "36,000 characters were read. " in units
    assert "Shown: the first 2,097 of 36,000 characters." in units
    assert len(units.encode()) < 3_000_000
    assert "Shown" not in surprise_page_of("abc" * 99)


def test_of_too_many_units_those_that_follow_something_are_kept(monkeypatch):
    monkeypatch.setattr(pages, "UNITS_BYTES", 5000)
    found = activations_of("ab, d " * 500, units=7)
    page = activations_page(found, "m", "a", 3000)
    data = data_in(page)
    kept = sorted({(x.layer, x.unit) for x in found.followers()})
    assert list(map(tuple, data["units"])) == kept
    assert len(kept) < 7
    assert "Of 7 units, those that follow something are here." in page
    for each, follower in zip(data["followers"], found.followers(), strict=True):
        assert tuple(data["units"][each["row"]]) == (follower.layer, follower.unit)


# In a browser


class Browser:
    """A Chromium without a window, spoken to by a pair of pipes."""

    def __init__(self, program: str, folder: Path) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def take_pipes() -> None:  # the program's own are numbers 3 and 4
            ours = [fcntl.fcntl(x, fcntl.F_DUPFD, 10) for x in (to_read, to_write)]
            for number, end in enumerate(ours, 3):
                os.dup2(end, number)

        self._process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu",
             "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"],
            close_fds=False, preexec_fn=take_pipes,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._session: str | None = None
        self._number, self._buffer = 0, b""
        self.events: list[dict] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        (page,) = [x["targetId"] for x in targets if x["type"] == "page"]
        attach = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attach["sessionId"]
        self.resize(1200, 800)
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            received = self._next()
            if received.get("id") == self._number:
                assert "error" not in received, received
                return received["result"]
            self.events.append(received)

    def _next(self) -> dict:
        while b"\0" not in self._buffer:
            received = os.read(self._read, 1 << 16)
            assert received, "the browser has gone"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(x["method"] == "Page.loadEventFired" for x in self.events):
            self.events.append(self._next())

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.call("Emulation.setDeviceMetricsOverride", **size, mobile=False)

    def tell(self, expression: str):
        """Return the value of an expression in the page."""
        found = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, *keys: str) -> None:
        for key in keys:
            for kind in ("rawKeyDown", "keyUp"):
                code = {"Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
                        "ArrowDown": 40, "Home": 36, "End": 35}[key]  # fmt: skip
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                          windowsVirtualKeyCode=code)  # fmt: skip

    def point_at(self, place: int) -> None:
        box = f"spans[{place}].getBoundingClientRect()"
        x, y = self.tell(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.tell("new Promise(requestAnimationFrame)")  # which is when it is told

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    if CHROMIUM is None or os.name == "nt":
        pytest.skip("there is no Chromium, or none that can be spoken to")
    browser = Browser(CHROMIUM, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def opened(browser, tmp_path) -> Callable[[str], Browser]:
    """Return a function that opens a page, which must raise and ask for nothing."""

    def open_page(page: str) -> Browser:
        path = tmp_path / "page.html"
        path.write_text(page, encoding="utf-8", newline="")
        browser.open(path)
        return browser

    return open_page


PANEL = "document.getElementById('panel').innerText"
HERE = "spans.findIndex(x => x.classList.contains('here'))"
LEVELS = "spans.map(x => Number(x.style.getPropertyValue('--level')))"


def assert_quiet(browser: Browser, path_count: int = 1) -> None:
    methods = [x["method"] for x in browser.events]
    assert methods.count("Network.requestWillBeSent") == path_count
    assert not {"Runtime.exceptionThrown", "Log.entryAdded"} & set(methods)


def test_the_browser_shows_a_text_as_text(opened):
    browser = opened(surprise_page_of(HOSTILE))
    shown = browser.tell("document.getElementById('text').textContent")
    assert shown == HOSTILE.replace("\u2028", "◌").replace("\n", "↵")
    assert browser.tell("document.title") == "Surprise: a.txt"
    assert (
        browser.tell("document.querySelectorAll('#text b, #text script').length") == 0
    )
    assert_quiet(browser)


def test_pointer_and_keys_tell_the_likeliest_characters(opened):
    found = surprise_of("abc\nbad cafe\nfab")
    browser = opened(surprise_page(found, "m.h5", "a.txt", 16))
    most = int(np.nanargmax(found.surprisal))
    assert browser.tell(HERE) == most, "the most surprising one is shown at first"
    browser.point_at(6)
    told = browser.tell(PANEL)
    nats = round(found.surprisal[6], 3)
    assert f"{nats:.2f} nats, {nats / np.log(2):.2f} bits" in told
    assert f"{found.entropy[6]:.2f} nats" in told
    names = [found.symbols[k] for k in found.likeliest[6]]
    names += ["d"] * ("d" not in names)
    rows = browser.tell(
        "[...panel.querySelectorAll('.bars b')].map(x => x.textContent)"
    )
    assert rows == [{"\n": "newline", " ": "space"}.get(x, x) for x in names]
    came = browser.tell("panel.querySelector('.came b').textContent")
    assert came == "d"
    assert f"{100 * found.probabilities[6, 0]:.1f} %" in told
    browser.tell("document.getElementById('text').focus()")
    browser.press("ArrowUp", "ArrowUp", "Home")
    for key, place in (
        *(("ArrowLeft", 0), ("ArrowRight", 1), ("ArrowDown", 5), ("End", 12)),
        *(("ArrowDown", 15), ("ArrowRight", 15), ("Home", 13), ("ArrowUp", 4)),
        ("ArrowUp", 0),
    ):
        browser.press(key)
        assert browser.tell(HERE) == place, key
    assert "nothing was predicted" in browser.tell(PANEL)
    assert_quiet(browser)


def test_the_second_layer_is_entropy(opened):
    found = surprise_of("abc\nbad cafe\nfab")
    browser = opened(surprise_page(found, "m.h5", "a.txt", 16))

    def levels(figures, highest):
        return np.minimum(1, np.nan_to_num(figures) / highest)

    assert browser.tell(LEVELS) == pytest.approx(levels(found.surprisal, 5), abs=6e-3)
    browser.tell("document.querySelector('input').focus()")
    browser.press("ArrowRight")
    assert browser.tell(LEVELS) == pytest.approx(levels(found.entropy, 3), abs=6e-3)
    assert "3 nats and more" in browser.tell("document.body.innerText")


def test_a_unit_is_chosen_in_the_table_or_the_list(opened):
    found = activations_of("abc d " * 50)
    browser = opened(activations_page(found, "m.h5", "a.txt", 300))
    values = np.hstack(found.layers)

    def assert_shows(unit):
        expected = np.abs(values[:, unit]) / np.abs(values[:, unit]).max()
        assert browser.tell(LEVELS) == pytest.approx(expected, abs=0.02)
        signs = browser.tell("spans.map(x => x.classList.contains('negative'))")
        certain = expected > 0.02
        assert (np.array(signs) == (values[:, unit] < 0))[certain].all()

    assert_shows(5)
    select = "document.querySelector('select')"
    browser.tell(f"{select}.value = 1; {select}.dispatchEvent(new Event('change'))")
    assert_shows(1)
    browser.point_at(2)
    assert f"{values[2, 1]:+.2f}".replace("-", "−") in browser.tell(PANEL)
    browser.tell("document.querySelector('tbody button').click()")
    assert_shows(5)
    assert "layer 1, unit 3" in browser.tell(PANEL)
    assert_quiet(browser)


@both_pages
@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_fits_and_can_be_read(make, opened, width, theme):
    """It is no wider than the screen; letters stand out from every colour."""
    browser = opened(make("Some words, and more of them. " * 20 + "\nx" * 60))
    browser.resize(width, 700)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.call("Emulation.setEmulatedMedia", features=features)
    assert browser.tell("document.documentElement.scrollWidth") <= width
    ratio = browser.tell(CONTRAST)
    assert ratio >= 4.5
    browser.resize(1200, 800)


# The least contrast of a letter with the colour under it, as WCAG 2 defines it.
CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d");
  const over = (...colours) => {
    for (const colour of colours) {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    const linear = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map((x) => (x <= 10 ? x / 3294 : ((x / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const paper = getComputedStyle(document.body).backgroundColor;
  return Math.min(...spans.map((span) => {
    const style = getComputedStyle(span);
    const [a, b] = [over(paper, style.backgroundColor), over(style.color)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
})()"""
