"""What the page asks the server for: poems and files; and the refusals."""

import contextlib
import json
import threading
import time

import httpx
import pytest
from fakes import FakeModel, whimsical_model, words_model
from web.conftest import running, wait_until

from textgen.generation import poems
from textgen.generation.poems import generate_form
from textgen.web import workers
from textgen.web.page import FILES

forms = pytest.mark.usefixtures("_pronouncing")


@pytest.fixture
def _pronouncing():
    pytest.importorskip("pronouncing")


@pytest.fixture(scope="module")
def address(models):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poems, "HALF_ROWS", 12)
        own = {"words": words_model(), "trained": whimsical_model()}
        with running({**own, **models}) as address:
            yield address


def events_of(response):
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, last = response.text.strip().split("\n\n")
    assert last == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events]


@forms
def test_a_poem_is_the_one_that_textgen_writes_and_comes_line_by_line(client):
    options = {"form": "couplet", "prompt": "The sweet ", "seed": 3, "top_p": 0.95}
    wanted = {"model": "words", **options}
    poem = generate_form(words_model(), **options)
    whole = client.post("/v1/forms", json=wanted).json()
    assert whole == {"text": poem, "seed": 3}
    events = events_of(client.post("/v1/forms", json={**wanted, "stream": True}))
    assert events[0] == {"text": "The sweet ", "seed": 3}
    assert "".join(event["text"] for event in events) == poem
    assert [event["text"].count("\n") for event in events] == [0, 0, 1]


@forms
@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({"form": "ode"}, 400, "`form`"),
        ({"form": "haiku", "rhyme_scheme": "AA"}, 400, "`rhyme_scheme`"),
        ({"form": "haiku", "temperature": 0}, 400, "`temperature` must be above 0"),
        ({"form": "haiku", "prompt": 5}, 400, "`prompt` must be text"),
        ({"form": "haiku", "prompt": "a" * 10_001}, 400, "10,000 characters"),
        ({"form": "haiku", "prompt": "see\nme\nso\n"}, 400, "has them all"),
        ({"form": "haiku", "prompt": "é☃", "strict": True}, 400, "☃"),
        ({"form": "haiku", "seed": -1}, 400, "`seed` must be"),
        ({"form": "haiku", "stream": 1}, 400, "`stream` must be"),
        ({"form": "haiku", "max_tokens": 9}, 400, "'max_tokens' is no option of a"),
        ({"form": "haiku", "model": "dinos"}, 400, "running English text"),
        ({"form": "haiku", "model": "x"}, 404, "no model 'x'"),
    ],
)
def test_what_is_wrong_with_a_poem_is_told(client, body, status, expected):
    for stream in ({}, {"stream": True}):
        response = client.post("/v1/forms", json={**stream, **body})
        assert response.status_code == status
        assert expected in response.json()["error"]["message"]


@forms
def test_a_poem_that_does_not_come_is_told_within_its_stream(serving):
    symbols = "\n abcdefghijklmnopqrstuvwxyz.,"
    mute = FakeModel(symbols, lambda read: [0.0 if x == "x" else -50 for x in symbols])
    body = {"form": "couplet", "stream": True, "seed": 1}
    with httpx.Client(base_url=serving({"mute": mute}), timeout=60) as client:
        response = client.post("/v1/forms", json=body)
        assert response.status_code == 200
        *_, last = response.text.strip().split("\n\n")
        error = json.loads(last.removeprefix("data: "))["error"]
        assert error["message"].startswith("no line 1 came that fits the couplet")


def test_poems_are_bounded_and_a_client_that_leaves_ends_its_own(client, monkeypatch):
    ended = threading.Event()

    def endless(model, prompt, form, config, seed, before_try):
        yield "a line"
        try:
            while True:
                before_try()
                time.sleep(0.005)
        finally:
            ended.set()

    monkeypatch.setattr("textgen.web.poems.stream_poem", endless)
    monkeypatch.setattr(workers, "MOST_UNDER_WAY", 1)
    body = {"form": "sonnet", "stream": True}
    with client.stream("POST", "/v1/forms", json=body) as response:
        lines = response.iter_lines()  # which, once let go, would close the response
        next(lines)
        refused = client.post("/v1/forms", json=body)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "10"
    assert ended.wait(10)
    monkeypatch.setattr("textgen.web.poems.stream_poem", lambda *_: iter(["a line"]))
    wait_until(lambda: client.post("/v1/forms", json={"form": "sonnet"}).is_success)


def test_a_server_that_stops_ends_poems_and_says_so(monkeypatch):
    def endless(model, prompt, form, config, seed, before_try):
        yield "a line"
        while True:
            before_try()
            time.sleep(0.005)

    monkeypatch.setattr("textgen.web.poems.stream_poem", endless)
    with httpx.Client(timeout=60) as client, contextlib.ExitStack() as stack:
        with running({"words": words_model()}) as address:
            body = {"form": "sonnet", "stream": True}
            url = f"{address}/v1/forms"
            response = stack.enter_context(client.stream("POST", url, json=body))
            lines = response.iter_lines()
            next(lines)
        assert "the server is stopping" in "".join(lines)


def test_the_page_knows_what_each_model_can_be_asked_for(client):
    facts = client.get("/v1/page").json()
    models = {each["id"]: each for each in facts["models"]}
    assert list(models) == ["words", "trained", "fake", "dinos"]
    assert models["words"]["no_forms"] is None
    assert "running English text" in models["dinos"]["no_forms"]
    assert (models["dinos"]["lines"], models["dinos"]["end"]) == (True, "\n")
    assert (models["words"]["lines"], models["words"]["end"]) == (False, None)
    assert (facts["max_length"], facts["length"]) == (5000, 400)


def test_forms_are_missing_where_their_library_is(client, monkeypatch):
    monkeypatch.setattr("textgen.web.poems.is_installed", lambda name: False)
    for model in client.get("/v1/page").json()["models"]:
        assert "pip install 'textgen-lstm[forms]'" in model["no_forms"]


def test_files_run_nothing_inline_and_nothing_else_is_sent(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "style=" not in page.text
    assert "http" not in page.text
    for name in FILES:
        if name in page.text:
            response = client.get(f"/static/{name}")
            assert response.status_code == 200
            assert response.headers["x-content-type-options"] == "nosniff"
    linked = [name for name in FILES if f'"static/{name}"' in page.text]
    assert len(linked) == len(FILES) - 1
    for name in ("page.html", "none.js", "..%2fapp.py", "../app.py", "%2e%2e/app.py"):
        assert client.get(f"/static/{name}").status_code == 404


def test_guard_and_token_hold_for_what_the_page_asks(serving, models):
    address = serving(models, token="secret")
    with httpx.Client(base_url=address, timeout=60) as client:
        assert client.get("/").status_code == 200
        assert client.get("/static/page.js").status_code == 200
        assert client.get("/v1/page").status_code == 401
        foreign = {"Host": "evil.test"}
        assert client.get("/v1/page", headers=foreign).status_code == 403
        own = {"Authorization": "Bearer secret"}
        assert client.get("/v1/page", headers=own).status_code == 200
        assert client.post("/v1/forms", json={}).status_code == 401
        foreign = own | {"Origin": "http://evil.test"}
        assert client.post("/v1/forms", json={}, headers=foreign).status_code == 403
        plain = own | {"Content-Type": "text/plain"}
        response = client.post("/v1/forms", content="{}", headers=plain)
        assert response.status_code == 415
