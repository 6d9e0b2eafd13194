"""The page that needs no server: its file, and what a browser computes with it."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import ENGLISH, model_of, random_cells

from textgen.config import CompletionConfig, PageConfig, WindowConfig
from textgen.data.vocabulary import TYPOGRAPHIC_FORMS
from textgen.errors import ModelFileError
from textgen.evaluation.pages import is_page
from textgen.generation.sampling import probabilities
from textgen.generation.streaming import generate_output, ids_to_read
from textgen.inference.activations import ACTIVATIONS
from textgen.inference.weights import LSTMWeights, Network
from textgen.saving.model_file import load_model
from textgen.saving.onnx_file import ACTIVATIONS as EXPORTED
from textgen.web.offline import offline_page

USUAL = PageConfig()
HOSTILE = "<script>document.title='x'</script><img src=x onerror=alert(1)>&amp;\u2028"
WINDOW = WindowConfig(4, targets="last")


def rounded(model):
    """Return a model whose matrices are in steps of their rows, as a page has them."""

    def steps(rows):
        scales = np.abs(rows).max(axis=1, keepdims=True) / 127
        return np.rint(rows / np.where(scales, scales, 1)) * scales

    network, is_one_hot = model.network, model.network.embedding is None
    layers = [
        replace(
            layer,
            kernel=steps(layer.kernel.T).T,
            recurrent_kernel=steps(layer.recurrent_kernel.T).T,
        )
        for layer in network.layers
    ]
    if is_one_hot:  # a row for each symbol
        layers[0] = replace(layers[0], kernel=steps(network.layers[0].kernel))
    network = replace(
        network,
        embedding=None if is_one_hot else steps(network.embedding),
        layers=tuple(layers),
        dense_kernel=steps(network.dense_kernel.T).T,
    )
    return replace(model, network=network)


def random_model(kinds, one_hot=False, **options):
    return rounded(model_of(random_cells(kinds, one_hot=one_hot), **options))


MODELS = {
    "LSTM layers": random_model("LSTM LSTM"),
    "one-hot LSTM layers": random_model("LSTM LSTM", one_hot=True),
    "GRU layers": random_model("GRU GRU"),
    "GRU layers that reset before": random_model("GRU-before GRU-before"),
    "simple layers": random_model("SimpleRNN SimpleRNN", one_hot=True),
    "windows": random_model("GRU LSTM", windows=WINDOW),
}


def reciting(text: str, kind: str = "text"):
    """Return a model that surely goes on in a text: after each symbol comes the next.

    No symbol may come twice. An LSTM layer with a unit for each symbol lights the one
    that was read last.
    """
    size = len(text)
    gates = np.full((4, size), 20, np.float32)  # i, o wide open; f shut, g up to input
    gates[1], gates[2] = -20, 0
    kernel = np.zeros((size, 4, size), np.float32)
    kernel[:, 2] = 20 * np.eye(size)
    layer = LSTMWeights(
        kernel.reshape(size, -1), np.zeros((size, 4 * size), np.float32), gates.ravel()
    )
    dense = 100 * np.roll(np.eye(size, dtype=np.float32), 1, axis=1)
    network = Network(None, (layer,), dense, np.zeros(size, np.float32))
    return model_of(network, text, kind)


def distinct(text: str) -> str:
    return "".join(dict.fromkeys(text))


@pytest.fixture
def visit(browser, tmp_path):
    """Return a function that opens a model's page from the disk; nothing goes wrong."""
    troubles, contexts = [], []

    def open_one(model, **options):
        path = tmp_path / "page.html"
        path.write_text(offline_page(model, USUAL), encoding="utf-8")
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda said: troubles.append(said.text))
        page.on("request", lambda asked: troubles.append(asked.url))
        page.goto(path.as_uri())
        assert troubles.pop(0) == path.as_uri()
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert troubles == []


def decoded(model, ids):
    """Logits (N, V) of our decoder for ids (N,)."""
    decoder = model.decoder()
    return np.array([decoder.step(np.array([each]))[0].copy() for each in ids])


def decoded_there(page, ids):
    return np.array(
        page.evaluate(
            "ids => (decoder.reset(), ids.map(id => "
            "(decoder.push(id), Array.from(decoder.logits()))))",
            list(map(int, ids)),
        )
    )


def write(page, prompt, length=30, **options):
    from playwright.sync_api import expect

    page.fill("#draft", prompt)
    for name, value in {"length": length, "seed": 1, **options}.items():
        page.fill(f"#{name}", str(value))
    page.click("#write")
    expect(page.locator("#write")).to_be_enabled(timeout=60_000)
    return page.text_content("#text")


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_our_decoder(visit, name):
    model = MODELS[name]
    ids = np.random.default_rng(1).integers(0, 7, 25)
    page = visit(model)
    for read in (ids, ids[::-1]):  # the second text begins anew
        np.testing.assert_allclose(
            decoded_there(page, read), decoded(model, read), rtol=1e-4, atol=1e-4
        )


def test_symbols_that_are_never_drawn_have_no_probability(visit):
    undrawn = np.arange(7) >= 5
    model = rounded(model_of(replace(random_cells("LSTM"), undrawn=undrawn)))
    page, ids = visit(model), [1, 2, 3]
    np.testing.assert_allclose(
        decoded_there(page, ids), decoded(model, ids), rtol=1e-4, atol=1e-4
    )
    assert not set("ef") & set(write(page, "a", 300, temperature=2))


def test_shipped_models_are_predicted_alike(visit):
    model = rounded(load_model("dinos"))
    page = visit(model)
    for text in ("\ntyranno", "\nabacadabra\nq", "\n" + "z" * 40):
        ids = model.vocabulary.encode(text)
        expected = decoded(model, ids)
        assert np.abs(decoded_there(page, ids) - expected).max() < 1e-4


def test_weights_of_a_byte_are_nearly_the_same(visit):
    model = load_model("dinos")
    ids = model.vocabulary.encode("\ntyrannosaurus")
    there, here = decoded_there(visit(model), ids), decoded(model, ids)
    error = np.abs(there - here).max()
    assert 1e-4 < error < 0.3
    plain = CompletionConfig(temperature=1)
    one, other = (probabilities(each, plain) for each in (there, here))
    assert np.abs(one - other).max() < 0.02


def test_activations_are_those_of_keras(visit):
    page, points = visit(MODELS["LSTM layers"]), np.linspace(-5, 5, 21)
    for name in EXPORTED:
        there = page.evaluate(
            f"x => x.map(each => ACTIVATIONS.{name}(each))", points.tolist()
        )
        here = points.copy()
        ACTIVATIONS[name](here)
        np.testing.assert_allclose(there, here, atol=1e-12)


def test_symbols_are_folded_and_skipped_as_elsewhere(visit):
    model = model_of(random_cells("GRU", len(ENGLISH)), ENGLISH)
    page = visit(model)
    for text in ("Café ☃ “Oh” – naïve…", "".join(TYPOGRAPHIC_FORMS), "ǅ Ⅻ ﬁ ½ 😀 é\0"):
        fitted = model.vocabulary.fit(text)
        ids, note = page.evaluate(
            "text => { const found = fit(text, idOf, data.forms); "
            "return [found.ids, found.note]; }",
            text,
        )
        assert model.vocabulary.decode(ids) == fitted.text
        changes = len(fitted.folded) + len(fitted.skipped)
        assert note.count("folded") + note.count("skipped") == min(5, changes)
    assert write(page, "Ça? ☃", 5).startswith("Ça? ☃")
    told = page.text_content("#status")
    assert "never seen “Ç” (folded to “C”), “☃” (skipped)." in told


def test_symbols_are_drawn_by_the_probabilities_of_our_sampling(visit):
    page = visit(MODELS["LSTM layers"])
    logits = [1.0, -2.0, 0.5, 3.0, 3.0, -9.0, 0.0]
    draws = 20_000  # evenly spread over what a generator gives
    for temperature, top_p in product([0.0, 0.5, 1.3], [1, 0.9, 0.3]):
        counts = page.evaluate(
            "([logits, temperature, topP, draws]) => {"
            "  const found = logits.map(() => 0), given = Float64Array.from(logits);"
            "  for (let k = 0; k < draws; k++) "
            "    found[draw(given, temperature, topP, () => (k + 0.5) / draws)]++;"
            "  return found; }",
            [logits, temperature, top_p, draws],
        )
        config = CompletionConfig(temperature=temperature, top_p=top_p)
        expected = probabilities(np.array(logits), config)
        np.testing.assert_allclose(np.array(counts) / draws, expected, atol=1.1 / draws)


def mulberry32(state):
    """The generator in whole numbers of 32 bits, as its author gives it."""
    while True:
        state = (state + 0x6D2B79F5) % 2**32
        mixed = (state ^ state >> 15) * (state | 1) % 2**32
        mixed ^= (mixed + (mixed ^ mixed >> 7) * (mixed | 61)) % 2**32
        yield (mixed ^ mixed >> 14) / 2**32


def test_a_seed_gives_the_numbers_of_its_generator(visit):
    page = visit(MODELS["LSTM layers"])
    for seed in (0, 1, 2**32 - 1):
        generator = mulberry32(seed)
        expected = [next(generator) for _ in range(50)]
        there = page.evaluate(
            "seed => { const next = seeded(seed); "
            "return Array.from({ length: 50 }, () => next()); }",
            seed,
        )
        assert there == expected


def test_an_empty_prompt_begins_as_after_a_line_break(visit):
    model = reciting("ab\ncd")
    assert write(visit(model), "", 4, temperature=0) == "cdab"
    assert generate_output(model, "", length=4, temperature=0) == "cdab"


def test_a_seed_repeats_a_text_and_a_fresh_one_does_not(visit):
    page = visit(MODELS["GRU layers"])
    first = write(page, "abc", 60)
    assert first.startswith("abc")
    assert len(first) == 63
    assert write(page, "abc", 60) == first
    assert write(page, "abc", 60, seed=2) != first
    fresh = write(page, "abc", 60, seed="")
    (seed,) = re.findall(r"seed (\d+)\.", page.text_content("#status"))
    assert write(page, "abc", 60, seed="") != fresh
    assert write(page, "abc", 60, seed=seed) == fresh


def test_at_temperature_0_the_text_is_that_of_the_library(visit):
    dinos = rounded(load_model("dinos"))
    for model in (MODELS["LSTM layers"], MODELS["windows"], dinos):
        page = visit(model)
        for prompt in ("abc", "", "fadefadefade"):
            there = page.evaluate("prompt => idsToRead(prompt).ids", prompt)
            here = ids_to_read(model, prompt, strict=False).tolist()
            assert there[-len(here) :] == here  # of windows, only the last is read
            expected = generate_output(model, prompt, temperature=0, length=40)
            assert write(page, prompt, 40, temperature=0) == expected


def test_a_line_ends_with_its_end(visit):
    page = visit(reciting("\nabcd", kind="lines"))
    assert write(page, "", 9) == "abcd"
    assert write(page, "bc", 9) == "bcd"
    assert page.text_content("#status").startswith("1 character, ")


def test_stop_and_escape_end_a_text_and_another_can_begin(visit):
    from playwright.sync_api import expect

    page = visit(MODELS["LSTM layers"])
    for stop in (lambda: page.click("#stop"), lambda: page.keyboard.press("Escape")):
        page.fill("#draft", "abc")
        page.fill("#length", "100000")
        page.locator("#draft").press("Control+Enter")
        expect(page.locator("#text")).to_have_text(re.compile("abc.{9}"))
        expect(page.locator("#write")).to_be_disabled()
        stop()
        expect(page.locator("#status")).to_contain_text("Stopped. ")
        assert 12 <= len(page.text_content("#text")) < 100_003
    assert len(write(page, "abc", 5)) == 8


def test_markup_that_a_model_writes_stays_text(visit):
    symbols = distinct(HOSTILE)
    page = visit(reciting(symbols))
    assert write(page, HOSTILE[:1], len(symbols) - 1, temperature=0) == symbols
    assert write(page, HOSTILE, 1).startswith(HOSTILE)
    assert page.locator("#text *").count() == 1  # what was given
    assert page.title() != "x"


def test_numbers_out_of_bounds_write_nothing(visit):
    page = visit(MODELS["LSTM layers"])
    before = page.text_content("#text")
    for name, value in (
        ("length", "0"),
        ("length", ""),
        ("seed", "-1"),
        ("seed", "1.5"),
    ):
        page.fill("#length", "9")
        page.fill("#seed", "1")
        page.fill(f"#{name}", value)
        page.click("#write")
        assert page.locator(f"#{name}:invalid").count() == 1
        assert page.text_content("#text") == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_a_narrow_screen_is_enough(visit, violations, scheme):
    viewport = {"width": 360, "height": 700}
    page = visit(MODELS["LSTM layers"], color_scheme=scheme, viewport=viewport)
    assert violations(page) == []
    write(page, "abc Ω" + "d" * 80, 300)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_page_is_one_file_that_asks_no_network_and_runs_its_own_script_only():
    page = offline_page(load_model("dinos"), USUAL)
    assert is_page(page[:1000].encode())
    assert "<h1>Dinos</h1>" in page
    assert not re.search(r"https?:|\"//|@import|url\(|src=|fetch\(", page)
    (policy,) = re.findall('Content-Security-Policy" content="(.*?)"', page)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (source,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_what_the_symbols_are_is_no_markup():
    symbols = distinct(HOSTILE)
    page = offline_page(model_of(random_cells("GRU", len(symbols)), symbols), USUAL)
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</', page)
    assert json.loads(data)["symbols"] == list(symbols)
    assert not set("<>&\u2028") & set(data)
    assert page.count("</script>") == 3


def test_a_page_has_the_title_of_its_corpus_or_the_one_given():
    model = replace(MODELS["GRU layers"], metadata={"corpus": {"name": "my <b>"}})
    for config, title in ((USUAL, "My &lt;b&gt;"), (PageConfig(title="A"), "A")):
        page = offline_page(model, config)
        assert f"<title>{title}</title>" in page
        assert f"<h1>{title}</h1>" in page


@pytest.mark.parametrize("name", ["sonnets", "dinos"])
def test_a_page_begins_with_a_first_text_and_its_beginning_as_a_prompt(visit, name):
    model = load_model(name)
    assert offline_page(model, USUAL) == offline_page(model, USUAL)
    page = visit(model)
    text, prompt = page.text_content("#text"), page.input_value("#draft")
    assert text == generate_output(model, "", seed=1).lstrip()
    assert text.startswith(prompt)
    assert (1 < len(prompt.split()) < 9) == (name == "sonnets")
    assert page.text_content("#text .given") == prompt


def test_a_text_without_words_has_a_prompt_and_an_empty_one_has_none(visit):
    assert len(visit(MODELS["windows"]).input_value("#draft")) > 3
    page = visit(reciting("\n "))
    assert page.text_content("#text") == page.input_value("#draft") == ""


def test_symbols_of_several_characters_and_unknown_networks_are_refused():
    model = MODELS["GRU layers"]
    words = replace(
        model, vocabulary=SimpleNamespace(symbols=("the ", *"\nabcde"), labels=())
    )
    with pytest.raises(ModelFileError, match="'the '"):
        offline_page(words, USUAL)
    selu = model_of(random_cells("GRU", activation="selu"))
    with pytest.raises(ModelFileError, match="selu"):
        offline_page(selu, USUAL)
