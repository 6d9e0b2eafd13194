"""What is wrong with a request is told in the protocol's form, and changes nothing."""

import json

import httpx
import pytest
from web.conftest import figure

GOOD = {"prompt": "a", "max_tokens": 3}


def post(client, body=None, **options):
    if isinstance(body, dict):
        body = json.dumps(body)
    headers = {"Content-Type": "application/json"} | options.pop("headers", {})
    return client.post("/v1/completions", content=body, headers=headers, **options)


def assert_refused(response, status, expected):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert expected in error["message"]
    assert "\n" not in error["message"]
    assert len(error["message"]) < 500
    return error


WRONG = [
    ({}, "`prompt` is missing"),
    ({"prompt": None}, "`prompt` is missing"),
    ({"prompt": []}, "`prompt` must be text or a list"),
    ({"prompt": [1, 2]}, "not of tokens' numbers"),
    ({"prompt": {"a": 1}}, "`prompt` must be text"),
    ({"prompt": "a" * 10_001}, "`prompt` must have 10,000 characters at most"),
    ({"prompt": ["a"] * 17}, "`n` times the number of prompts"),
    ({"prompt": ["a"] * 4, "n": 5}, "must be at most 16, but was 20"),
    ({"prompt": "Ü", "strict": True}, "'Ü'"),
    ({**GOOD, "max_tokens": 5001}, "`max_tokens` must be"),
    ({**GOOD, "max_tokens": -1}, "`max_tokens` must be"),
    ({**GOOD, "max_tokens": 2.5}, "`max_tokens` must be a whole number"),
    ({**GOOD, "max_tokens": True}, "`max_tokens` must be"),
    ({**GOOD, "max_tokens": 10**400}, "`max_tokens` must be"),
    ({**GOOD, "temperature": "hot"}, "`temperature` must be a number"),
    ({**GOOD, "temperature": -0.1}, "`temperature` must be"),
    ({**GOOD, "temperature": float("nan")}, "`temperature` must be"),
    ({**GOOD, "temperature": {}}, "`temperature` must be"),
    ({**GOOD, "top_p": 0}, "`top_p` must be a number above 0"),
    ({**GOOD, "top_p": [0.5]}, "`top_p` must be"),
    ({**GOOD, "top_k": 0}, "`top_k` must be"),
    ({**GOOD, "n": 0}, "`n` must be"),
    ({**GOOD, "n": 17}, "`n` must be"),
    ({**GOOD, "seed": -1}, "`seed` must be"),
    ({**GOOD, "seed": 2**32}, "`seed` must be"),
    ({**GOOD, "seed": "1"}, "`seed` must be"),
    ({**GOOD, "stop": ""}, "`stop` must be"),
    ({**GOOD, "stop": ["a"] * 5}, "`stop` must be"),
    ({**GOOD, "stop": [1]}, "`stop` must be"),
    ({**GOOD, "stop": "a" * 257}, "`stop` must be"),
    ({**GOOD, "stream": "yes"}, "`stream` must be true or false"),
    ({**GOOD, "echo": 1}, "`echo` must be true or false"),
    ({**GOOD, "stream_options": []}, "`stream_options` must be"),
    ({**GOOD, "stream_options": {"include_usage": "no"}}, "`include_usage` must be"),
    ({**GOOD, "temperature": [1] * 65}, "`temperature` must be 64 numbers at most"),
    ({**GOOD, "logprobs": 0, "max_tokens": 2001, "n": 10}, "not 20,010"),
    ({**GOOD, "logprobs": 5, "prompt": ["a" * 9000] * 3, "echo": True}, "not 27,009"),
    ({**GOOD, "logprobs": 6}, "`logprobs` must be"),
    ({**GOOD, "logprobs": True}, "`logprobs` must be"),
    ({**GOOD, "suffix": "b"}, "`suffix` is not supported here"),
    ({**GOOD, "best_of": 2}, "`best_of` is not supported"),
    ({**GOOD, "presence_penalty": 1}, "`presence_penalty` is not supported"),
    ({**GOOD, "logit_bias": {"5": 1}}, "`logit_bias` is not supported"),
    ({**GOOD, "beam": 3}, "'beam' is no option"),
    ({**GOOD, "temprature": 1}, "did you mean `temperature`?"),
    ({**GOOD, "x" * 9000: 1}, "is no option of a completion"),
]


@pytest.mark.parametrize(("body", "expected"), WRONG)
def test_what_is_wrong_is_told_in_one_line(client, body, expected):
    error = assert_refused(post(client, body), 400, expected)
    assert error["type"] == "invalid_request_error"
    assert error["param"] in (None, *body)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b'"a"', b"null", b"\xff\xfe\xfd", b"{'prompt': 'a'}",
     b"[" * 50_000, b'{"prompt": ' + b"9" * 5000 + b"}", b'{"a":' * 9000, b"\0" * 99],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(client, body):
    response = post(client, body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] in ("invalid_json", "invalid_value")


def test_unknown_models_paths_and_methods_are_told(client):
    error = assert_refused(post(client, {**GOOD, "model": "gpt"}), 404, "'gpt'")
    assert error["code"] == "model_not_found"
    assert_refused(post(client, {**GOOD, "model": 5}), 404, "no model 5")
    assert_refused(client.get("/v1/completions"), 405, "Not Allowed")
    assert_refused(client.get("/v1/models/../../etc/passwd"), 404, "/v1/models lists")
    assert_refused(client.get("/static/page.html"), 404, "/v1/models lists")


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/chat/completions", "/completions", "/v1/responses",
     "/v1/novelty", "/v1/cards/fake", "/v1/embeddings",
     "/v1/engines/sonnets/completions", "/v1/" + "x" * 9000],
)  # fmt: skip
def test_clients_of_other_paths_are_told_the_one_there_is(client, path):
    body = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}
    error = assert_refused(client.post(path, json=body), 404, "`prompt` to /v1/comp")
    assert error["code"] == "unknown_url"
    assert path[:60] in error["message"]


def test_what_is_just_within_the_limits_is_answered(client):
    texts = {"max_tokens": 1250, "n": 16, "logprobs": 5, "stop": ["a", "b", "c", "d"]}
    assert post(client, {"prompt": "a", **texts}).status_code == 200
    without = {"prompt": "a", "max_tokens": 1300, "n": 16, "stop": ["a", "b"]}
    assert post(client, without).status_code == 200
    mild = {**GOOD, "temperature": [1] * 64, "stream_options": {"include_usage": None}}
    assert post(client, mild).status_code == 200


def test_other_kinds_of_bodies_are_refused(client):
    for kind in ("text/plain", "multipart/form-data; boundary=x", ""):
        response = post(client, GOOD, headers={"Content-Type": kind})
        assert_refused(response, 415, "application/json")
    kind = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert post(client, GOOD, headers=kind).status_code == 200


def test_large_bodies_are_refused_with_and_without_a_length(client):
    large = json.dumps({**GOOD, "user": "x" * 65_536}).encode()
    assert_refused(post(client, large), 413, "65,536 bytes")
    parts = (large[start : start + 5000] for start in range(0, len(large), 5000))
    assert_refused(post(client, parts), 413, "65,536 bytes")
    fits = json.dumps({**GOOD, "user": "x" * 65_000}).encode()
    assert post(client, fits).status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"Host": "evil.example"}, "unknown_host"), ({"Host": "."}, "unknown_host"),
     ({"Host": "localhost.evil.example"}, "unknown_host"),
     ({"Host": "evil.example@127.0.0.1.evil"}, "unknown_host"),
     ({"Host": "[::1"}, "unknown_host"), ({"Host": ""}, "unknown_host"),
     ({"Host": "/evil.example"}, "unknown_host"), ({"Host": ":80"}, "unknown_host"),
     ({"Origin": "http://evil.example"}, "unknown_origin"),
     ({"Origin": "null"}, "unknown_origin"), ({"Origin": "http://["}, "unknown_origin"),
     ({"Origin": "http://127.0.0.1:1"}, "unknown_origin")],
)  # fmt: skip
def test_pages_from_elsewhere_may_not_use_it(client, headers, code):
    for response in (post(client, GOOD, headers=headers),
                     client.get("/v1/models", headers=headers)):  # fmt: skip
        assert response.status_code == 403
        assert response.json()["error"]["code"] == code
        assert "access-control-allow-origin" not in response.headers


def test_its_own_page_and_its_names_are_welcome(client, address):
    for host in (
        "localhost",
        "LOCALHOST:99",
        "127.0.0.1:8000",
        "[::1]:8",
        "192.168.0.9",
    ):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 200
    assert post(client, GOOD, headers={"Origin": address}).status_code == 200
    assert client.get("/healthz").headers["x-content-type-options"] == "nosniff"


def test_a_token_is_asked_for(serving, models):
    address = serving(models, token="sécret", allow_host="box.local, other,")
    with httpx.Client(base_url=address) as client:
        for value in ("", "Bearer", "Bearer secret", "Basic s", "sécret",
                      "Bearer sécret2", "Bearer s"):  # fmt: skip
            headers = {"Authorization": value.encode()} if value else {}
            response = post(client, GOOD, headers=headers)
            error = assert_refused(response, 401, "needs its token")
            assert error["code"] == "invalid_api_key"
            assert response.headers["www-authenticate"] == "Bearer"
            assert client.get("/metrics", headers=headers).status_code == 401
        right = {"Authorization": "Bearer sécret".encode()}
        assert post(client, GOOD, headers=right).status_code == 200
        assert client.get("/healthz").text == "ok\n"
        for host in ("box.local:80", "other"):
            found = client.get("/v1/models", headers={**right, "Host": host})
            assert found.status_code == 200


def test_unknown_characters_are_told_and_the_prompt_is_echoed_as_it_was(client):
    response = post(client, {**GOOD, "prompt": "Täg \ud800<script>", "echo": True})
    assert response.status_code == 200
    made = response.json()
    assert made["choices"][0]["text"].startswith("Täg \ud800<script>")
    (note,) = made["warnings"]
    assert "'T' (folded to 't')" in note


def test_all_of_it_is_counted(client):
    before = figure(client, 'responses_total{status="400"}')
    tokens = figure(client, 'characters_total{model="fake"}')
    post(client, {})
    post(client, {**GOOD, "max_tokens": 25})
    assert figure(client, 'responses_total{status="400"}') == before + 1
    assert figure(client, 'characters_total{model="fake"}') == tokens + 25
    text = client.get("/metrics").text
    assert text.endswith("\n")
    for line in text.splitlines():
        name = line.split("{")[0].split(" ")[0]
        assert line.startswith("# ") or name.startswith(("textgen_", "process_"))
    buckets = [x for x in text.splitlines() if x.startswith("textgen_request_seconds")]
    counts = [float(x.rsplit(" ", 1)[1]) for x in buckets if "_bucket" in x]
    assert counts == sorted(counts)
    assert counts[-1] == figure(client, "request_seconds_count") > 0


def test_a_model_that_fails_is_told_and_the_others_go_on(serving, models):
    from fakes import FakeModel

    from textgen.errors import ModelFileError

    def broken(read):
        raise ModelFileError("this model's numbers grow", "use another")

    address = serving({**models, "broken": FakeModel("ab", broken)})
    with httpx.Client(base_url=address) as client:
        body = {**GOOD, "model": "broken"}
        assert_refused(post(client, body), 400, "numbers grow: use another")
        streamed = post(client, {**body, "stream": True}).text
        told = json.loads(streamed.removeprefix("data: "))
        assert "numbers grow" in told["error"]["message"]
        assert post(client, GOOD).status_code == 200
