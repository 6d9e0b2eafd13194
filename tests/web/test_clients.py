"""The clients that people use: the openai package, llm, curl."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openai
import pytest
from fakes import pieces_model

from textgen.generation.samplers import log_probabilities
from textgen.generation.streaming import generate_output

ROOT = Path(__file__).parents[2]
PROMPT = "the sun"


@pytest.fixture(scope="session")
def api(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as api:
        yield api


@pytest.fixture(scope="session")
def fake(models):
    return models["fake"]


def own_text(model, prompt=PROMPT, **options):
    return generate_output(model, prompt, **options).removeprefix(prompt)


def test_openai_gets_the_text_that_textgen_makes(api, fake):
    made = api.completions.create(
        model="fake", prompt=PROMPT, max_tokens=60, temperature=0.9, top_p=0.8, seed=7
    )
    (choice,) = made.choices
    options = {"length": 60, "temperature": 0.9, "top_p": 0.8, "seed": 7}
    assert choice.text == own_text(fake, **options)
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "length", None)
    assert (made.object, made.model) == ("text_completion", "fake")
    usage = made.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (len(PROMPT), 60)
    assert usage.total_tokens == len(PROMPT) + 60


def test_what_is_not_given_is_textgens_default(api, models):
    made = api.completions.create(model="dinos", prompt="ty", seed=3)
    assert made.choices[0].text == own_text(models["dinos"], "ty", seed=3)
    assert made.choices[0].finish_reason == "stop"


def test_openai_streams_it_in_pieces(api, fake):
    pieces = list(
        api.completions.create(
            model="fake", prompt=PROMPT, max_tokens=3000, seed=1, echo=True,
            stream=True, stream_options={"include_usage": True},
        )
    )  # fmt: skip
    *texts, usage = pieces
    assert len(texts) > 3
    text = "".join(piece.choices[0].text for piece in texts)
    assert text == generate_output(fake, PROMPT, length=3000, seed=1)
    reasons = [piece.choices[0].finish_reason for piece in texts]
    assert reasons == [None] * (len(texts) - 1) + ["length"]
    assert usage.choices == []
    assert usage.usage.completion_tokens == 3000
    assert len({piece.id for piece in pieces}) == 1


def test_several_prompts_have_several_choices_each(api, fake):
    made = api.completions.create(
        model="fake", prompt=["a", "bc"], n=3, max_tokens=20, seed=5, temperature=1
    )
    assert [choice.index for choice in made.choices] == list(range(6))
    assert len({choice.text for choice in made.choices}) == 6
    for choice, prompt in zip(made.choices, ["a"] * 3 + ["bc"] * 3, strict=True):
        seed = choice.model_extra["seed"]
        options = {"length": 20, "temperature": 1, "seed": seed}
        assert choice.text == own_text(fake, prompt, **options)
    assert made.choices[0].model_extra["seed"] == 5
    streamed = [""] * 6
    for piece in api.completions.create(
        model="fake", prompt=["a", "bc"], n=3, max_tokens=20, seed=5, temperature=1,
        stream=True,
    ):  # fmt: skip
        streamed[piece.choices[0].index] += piece.choices[0].text
    assert streamed == [choice.text for choice in made.choices]


@pytest.mark.parametrize("stream", [False, True])
def test_stop_texts_end_it_and_are_left_out(api, fake, stream):
    whole = own_text(fake, length=300, seed=2, temperature=1)
    stops = [whole[200:203], whole[120:122], "never to come", whole[119:122]]
    made = api.completions.create(
        model="fake", prompt=PROMPT, max_tokens=300, seed=2, temperature=1, stop=stops,
        stream=stream,
    )  # fmt: skip
    pieces = list(made) if stream else [made]
    text = "".join(piece.choices[0].text for piece in pieces)
    assert text == whole[: min(whole.find(stop) % 1000 for stop in stops)]
    assert pieces[-1].choices[0].finish_reason == "stop"
    one = api.completions.create(
        model="fake", prompt=PROMPT, max_tokens=300, seed=2, temperature=1,
        stop=stops[0],
    )  # fmt: skip
    assert one.choices[0].text == whole[: whole.index(stops[0])]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "prompt"), [("fake", PROMPT), ("dinos", "Ty")])
def test_logprobs_are_the_models_own(api, models, stream, model, prompt):
    made = api.completions.create(
        model=model, prompt=prompt, max_tokens=12, seed=1, temperature=0.4, logprobs=3,
        echo=True, stream=stream,
    )  # fmt: skip
    pieces = [piece.choices[0] for piece in made] if stream else [made.choices[0]]
    text = "".join(piece.text for piece in pieces)
    own = models[model]
    known = prompt.lower() + text[len(prompt) :]
    tokens, scores, tops, offsets = (
        [x for piece in pieces for x in getattr(piece.logprobs, name)]
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    )
    assert "".join(tokens) == known
    assert offsets == list(range(len(known)))
    decoder, ids = own.decoder(), own.vocabulary.encode(known).tolist()
    if own.end_id is None:
        assert (scores.pop(0), tops.pop(0)) == (None, None)
        read, ids = ids[0], ids[1:]
    else:
        read = own.end_id
    for symbol_id, score, top in zip(ids, scores, tops, strict=True):
        nats = log_probabilities(np.float64(decoder.step(np.array([read]))))[0]
        assert score == pytest.approx(nats[symbol_id], abs=1e-4)
        assert sorted(top.values()) == pytest.approx(np.sort(nats)[-3:], abs=1e-4)
        best = max(top, key=top.get)
        assert own.vocabulary.symbols.index(best) == nats.argmax()
        read = symbol_id


def test_a_text_of_ones_own_is_judged_without_a_completion(api):
    made = api.completions.create(
        model="dinos", prompt="trex", max_tokens=0, echo=True, logprobs=0
    )
    (choice,) = made.choices
    assert (choice.text, choice.finish_reason) == ("trex", "length")
    assert choice.logprobs.tokens == list("trex")
    assert all(score < 0 for score in choice.logprobs.token_logprobs)
    assert made.usage.completion_tokens == 0


def test_samplers_beyond_the_protocol_go_by_their_own_names(api, fake):
    made = api.completions.create(
        model="fake", prompt=PROMPT, max_tokens=40, seed=4,
        extra_body={"top_k": 3, "min_p": 0.1, "no_repeat_ngram": 4},
    )  # fmt: skip
    options = {"top_k": 3, "min_p": 0.1, "no_repeat_ngram": 4, "length": 40, "seed": 4}
    assert made.choices[0].text == own_text(fake, **options)


def test_a_seed_gives_the_same_text_in_company(api, fake):
    """Of clients that all ask for something else at the same time."""

    def ask(number):
        made = api.completions.create(
            model=("fake", "dinos")[number % 2], prompt="ab" * (1 + number % 5),
            max_tokens=20 + 9 * number, seed=number, temperature=number % 4 / 2,
            top_p=(0.5, 1)[number % 3 == 0],
        )  # fmt: skip
        return made.choices[0].text

    alone = [ask(number) for number in range(24)]
    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(ask, range(24))) == alone
    assert alone[8] == own_text(
        fake, "ab" * 4, length=92, seed=8, temperature=0, top_p=0.5
    )


def test_models_are_listed(api, fake):
    assert [model.id for model in api.models.list()] == ["fake", "dinos"]
    dinos = api.models.retrieve("dinos")
    assert (dinos.owned_by, dinos.model_extra["kind"]) == ("textgen", "lines")
    with pytest.raises(openai.NotFoundError, match="only 'fake', 'dinos'"):
        api.models.retrieve("gpt")


def test_openai_understands_what_is_wrong(api):
    with pytest.raises(openai.BadRequestError) as caught:
        api.completions.create(model="fake", prompt="a", temperature=-1)
    assert (caught.value.param, caught.value.code) == ("temperature", "invalid_value")
    with pytest.raises(openai.NotFoundError) as missing:
        api.completions.create(model="gpt", prompt="a")
    assert missing.value.code == "model_not_found"


def test_of_a_model_of_words_a_token_is_a_character(serving):
    model = pieces_model()
    with openai.OpenAI(base_url=f"{serving({'words': model})}/v1", api_key="-") as api:
        how = {"model": "words", "prompt": ["b ab", "c"], "seed": 2, "max_tokens": 9}
        made = api.completions.create(**how)
        texts = [choice.text for choice in made.choices]
        wanted = [own_text(model, x, length=9, seed=2) for x in how["prompt"]]
        assert texts == wanted
        assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (5, 18)
        pieces = list(api.completions.create(**how, stop="ca", stream=True))
        for index, text in enumerate(wanted):
            own = [each.choices[0] for each in pieces if each.choices[0].index == index]
            assert "".join(each.text for each in own) == text.partition("ca")[0]
        (card,) = api.models.list().data
        assert (card.level, card.symbols) == ("word", "\n abc")
        with pytest.raises(openai.BadRequestError, match="`logprobs` needs a model of"):
            api.completions.create(**how, logprobs=1)


def test_llm_completes_a_prompt(address, models, tmp_path):
    """Simon Willison's command line, told of the server by its own file."""
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: names\n  model_name: dinos\n  api_base: {address}/v1\n"
        "  completion: true\n"
    )
    environment = os.environ | {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "x"}
    options = ["-m", "names", "-o", "seed", "3", "-o", "temperature", "0.9"]
    command = [sys.executable, "-m", "llm", "prompt", "ty", *options]
    said = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 0, said.stderr
    expected = own_text(models["dinos"], "ty", seed=3, temperature=0.9)
    assert said.stdout == expected + "\n"


def shown_commands():
    text = (ROOT / "docs/server.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [block for block in blocks if block.startswith("curl")]


@pytest.mark.parametrize("command", shown_commands())
def test_the_manuals_curl_commands_work(command, address):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = command.replace("http://127.0.0.1:8000", address)
    command = command.replace('"sonnets"', '"fake"')
    said = subprocess.run(
        ["bash", "-c", f"set -e\n{command}"], capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout
    assert '"error"' not in said.stdout
