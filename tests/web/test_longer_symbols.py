"""Models of words and byte pairs, served: textgen's own texts, and what is refused."""

import json

import httpx
import pytest

from textgen.data.labels import SYMBOLS
from textgen.generation.streaming import generate_output

NAMES = ("words", "pairs", "pairs+other")


@pytest.fixture
def post(longer_address):
    with httpx.Client(base_url=longer_address, timeout=60) as client:
        yield lambda path, **body: client.post(f"/v1/{path}", json=body)


def own_text(model, prompt, **options):
    return generate_output(model, prompt, **options).removeprefix(prompt)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prompt", ["", "cab ab", "c b", "ca ca a"])
def test_it_writes_what_textgen_writes_whole_or_streamed(
    name, prompt, post, longer_models
):
    options = {"temperature": 1.5, "seed": 4}
    wanted = own_text(longer_models[name], prompt, length=15, **options)
    body = {"model": name, "prompt": prompt, "max_tokens": 15, **options}
    (choice,) = post("completions", **body).json()["choices"]
    assert choice["text"] == wanted
    is_cut = choice["finish_reason"] == "length"
    assert len(wanted) == 15 if is_cut else len(wanted) < 15
    lines = post("completions", **body, stream=True).text.split("\n\n")
    events = [json.loads(x.removeprefix("data: ")) for x in lines if "{" in x]
    assert "".join(x["choices"][0]["text"] for x in events) == wanted


def test_labels_of_a_model_of_words(post, longer_models):
    body = {"model": "words", "prompt": ["", "ca"], "max_tokens": 20, "seed": 1, "n": 2}
    texts = {}
    for label in (None, "Keats", "Shelley"):
        answer = post("completions", **body, temperature=2, label=label).json()
        texts[label] = [choice["text"] for choice in answer["choices"]]
        first = own_text(
            longer_models["words"], "", length=20, seed=1, temperature=2, label=label
        )
        assert texts[label][0] == first
        assert not any(SYMBOLS.search(text) for text in texts[label])
    assert texts["Keats"] != texts["Shelley"]
    refused = post("completions", **body, label="Byron")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "label")
    refused = post("completions", model="pairs", prompt="", label="Keats")
    assert "knows no labels" in refused.json()["error"]["message"]


def test_a_mixture_is_neither_of_its_models(post):
    body = {"prompt": "ab", "max_tokens": 200, "seed": 1, "temperature": 1}
    texts = {
        name: post("completions", **body, model=name).json()["choices"][0]["text"]
        for name in ("pairs", "pairs+other")
    }
    assert texts["pairs"] != texts["pairs+other"]


@pytest.mark.parametrize("name", NAMES)
def test_what_needs_single_characters_is_refused_in_a_line(name, post):
    symbols = "words" if name == "words" else "pieces of words"
    for path, asked, options in (
        ("completions", "logprobs", {"logprobs": 2}),
        ("forms", "form", {"form": "couplet"}),
    ):
        answer = post(path, model=name, prompt="", **options)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, asked)
        assert error["message"].splitlines() == [
            f"`{asked}` needs a model of characters; this one's symbols are {symbols}"
        ]


@pytest.mark.parametrize("name", NAMES)
def test_its_card_tells_level_and_characters(name, longer_address):
    with httpx.Client(base_url=longer_address, timeout=60) as client:
        (card,) = [
            x for x in client.get("/v1/models").json()["data"] if x["id"] == name
        ]
        assert card["level"] == ("word" if name == "words" else "bpe")
        assert card["symbols"] == "\n abc"
        assert card["labels"] == (["Keats", "Shelley"] if name == "words" else [])
        assert client.get("/v1/page").status_code == 200
