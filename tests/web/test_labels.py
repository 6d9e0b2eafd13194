"""A label in a request: the text that `textgen generate` makes, and no label in it."""

import math

import httpx
import pytest
from model_files import write_own_file

from textgen.data.labels import label_symbol
from textgen.generation.streaming import generate_output
from textgen.saving.model_file import load_model

MARKS = [label_symbol(0), label_symbol(1)]


@pytest.fixture
def labelled(tmp_path):
    path = tmp_path / "poets.h5"
    write_own_file(path, f"\nab{''.join(MARKS)}", "lines", labels=["Keats", "Shelley"])
    return load_model(path)


@pytest.fixture
def post(serving, labelled, models):
    address = serving({"poets": labelled, "fake": models["fake"]})
    with httpx.Client(base_url=address, timeout=60) as client:
        yield lambda path, **body: client.post(f"/v1/{path}", json=body)


def test_requests_with_labels(post, labelled):
    wanted = {"prompt": "ab", "max_tokens": 12, "seed": 1, "temperature": 9}
    predictions = set()
    for label in (None, "Keats", "Shelley"):
        answer = post("completions", **wanted, label=label, logprobs=5, echo=True)
        (choice,) = answer.json()["choices"]
        options = {"length": 12, "seed": 1, "temperature": 9, "label": label}
        own = generate_output(labelled, "ab", **options)
        assert choice["text"] == own
        scores = choice["logprobs"]
        likeliest = [top for top in scores["top_logprobs"] if top is not None]
        predictions.add(repr(likeliest))
        assert all(set(top) == set("\nab") for top in likeliest)
        assert all(sum(map(math.exp, top.values())) > 0.999 for top in likeliest)
    assert len(predictions) > 1
    refused = post("completions", **wanted, label="Byron")
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, "label")
    assert "`label` must be one of 'Keats', 'Shelley'" in error["message"]
    refused = post("completions", **wanted, label="Keats", model="fake")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "label")
    for wrong in (7, "", ["Keats"], {}):
        assert post("completions", **wanted, label=wrong).status_code == 400
    refused = post("forms", form="couplet", label="Byron")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "label")


def test_a_model_tells_its_labels(serving, labelled):
    with httpx.Client(base_url=serving({"poets": labelled})) as client:
        card = client.get("/v1/models/poets").json()
    assert card["labels"] == ["Keats", "Shelley"]
    assert card["symbols"] == "\nab"
