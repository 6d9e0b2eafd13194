"""Jobs that come and go give the texts that they give alone."""

import queue
import threading

import numpy as np
import pytest
from fakes import FakeModel, alphabet_model, pieces_model, whimsical_model

from textgen.config import CompletionConfig
from textgen.generation import engine as engine_module
from textgen.generation.batch_decoder import Request
from textgen.generation.endings import stop_ids
from textgen.generation.engine import Engine, EngineFullError, Job
from textgen.generation.halves import LEAST_HALF
from textgen.generation.streaming import generate_output, openings_of

LIMIT_S = 60
PLAIN = CompletionConfig()


class Client:
    """An engine with a record of what it delivers."""

    def __init__(self, models, **options):
        self.models, self.deliveries = models, queue.Queue()
        self.texts, self.reasons, self.errors = {}, {}, {}
        self.engine = Engine(models, self.deliveries.put, **options)

    def job(self, prompt="a", config=PLAIN, *, model="one", length=20, seed=0,
            stops=(), streamed=True, observe=None):  # fmt: skip
        own = self.models[model]
        begin = openings_of(own, prompt, strict=True).drawn(config, seed)
        found = stop_ids(own.vocabulary, *stops)
        request = Request(0, prompt, begin.ids, seed, config, length, found, observe,
                          begin.state, begin.text, stops)  # fmt: skip
        return Job(model, request, tuple(stops), streamed)

    def submit(self, **options):
        job = self.job(**options)
        self.engine.submit([job])
        return job

    def take(self):
        for job, text, reason, error in self.deliveries.get(timeout=LIMIT_S):
            self.texts[job] = self.texts.get(job, "") + text
            if reason:
                self.reasons[job], self.errors[job] = reason, error

    def wait_for(self, *jobs):
        while not all(job in self.reasons for job in jobs):
            self.take()
        return [self.texts[job] for job in jobs]

    def wait_for_text(self, job):
        while not self.texts.get(job):
            self.take()


@pytest.fixture
def client():
    clients = []

    def make(*models, **options):
        names = ("one", "two")
        clients.append(Client(dict(zip(names, models, strict=False)), **options))
        return clients[-1]

    before = threading.active_count()
    yield make
    for each in clients:
        each.engine.close()
    assert threading.active_count() == before


CONFIGS = [
    CompletionConfig(temperature=1),
    CompletionConfig(temperature=0),
    CompletionConfig(top_p=0.6),
    CompletionConfig(top_k=2, temperature=1.5),
    CompletionConfig(min_p=0.2, temperature=(0.5, 2)),
    CompletionConfig(no_repeat_ngram=3),
]
DRAWING = ("temperature", "top_p", "top_k", "min_p", "no_repeat_ngram")


@pytest.mark.parametrize("kind", ["text", "lines"])
@pytest.mark.parametrize("reads_alone", [True, False])
def test_each_text_is_as_alone_whoever_is_there(client, kind, reads_alone, monkeypatch):
    def choose(batch, job, others):
        return reads_alone

    monkeypatch.setattr(engine_module._Batch, "_is_better_read_alone", choose)
    model = whimsical_model("\nabc", kind=kind)
    here = client(model, running=20, waiting=100)
    prompts, jobs, expected = ["", "a", "cab" * 4, "abcab" * 20], [], []
    for seed in range(48):
        config = CONFIGS[seed % len(CONFIGS)]
        options = {"length": 5 + 3 * (seed % 11), "prompt": prompts[seed % 4]}
        stop = "bb" if seed % 5 == 0 else None
        streamed = seed % 3 > 0
        jobs.append(
            here.submit(config=config, seed=seed, stops=[stop] if stop else (),
                        streamed=streamed, **options)
        )  # fmt: skip
        drawing = {name: getattr(config, name) for name in DRAWING}
        text = generate_output(model, seed=seed, stop=stop, **drawing, **options)
        expected.append(text.removeprefix(options["prompt"]))
        if seed % 7 == 0:
            here.wait_for(jobs[-1])
    assert here.wait_for(*jobs) == expected
    reasons = {here.reasons[job] for job in jobs}
    assert reasons == ({"stop", "length"} if kind == "text" else {"stop"})
    assert here.engine.counts()[1] == 0


@pytest.mark.parametrize("kind", ["text", "lines"])
def test_symbols_of_several_characters_are_delivered_as_characters(client, kind):
    model = pieces_model(kind=kind)
    here, jobs, expected = client(model, running=8, waiting=100), [], []
    for seed in range(30):
        config, stops = CONFIGS[seed % len(CONFIGS)], ("ca", "bb") * (seed % 3 == 0)
        options = {"length": 1 + seed % 11, "prompt": ("", "a", "cab ab")[seed % 3]}
        streamed = seed % 4 > 0
        jobs.append(
            here.submit(config=config, seed=seed, stops=stops, streamed=streamed,
                        **options)
        )  # fmt: skip
        drawing = {name: getattr(config, name) for name in DRAWING}
        text = generate_output(model, seed=seed, **drawing, **options)
        text = text.removeprefix(options["prompt"])
        # Whichever comes first; none of the two is within the other.
        expected.append(
            min((text.partition(stop)[0] for stop in stops or ("!",)), key=len)
        )
    assert here.wait_for(*jobs) == expected
    for job, text in zip(jobs, expected, strict=True):
        is_full = len(text) == job.request.length
        assert here.reasons[job] == ("length" if is_full else "stop")


def test_a_batch_grows_and_shrinks_with_its_jobs(client):
    model = whimsical_model()
    here = client(model, running=40, waiting=100)
    stays = here.job(length=3000, seed=1)
    others = [here.job(length=4 + n, seed=n) for n in range(30)]
    here.engine.submit([stays, *others])
    expected = generate_output(model, "a", length=3000, seed=1)[1:]
    assert here.wait_for(stays, *others)[0] == expected
    sizes = {len(decoder.read): decoder for decoder in model.decoders[:-1]}
    assert {1, 32} <= set(sizes) <= {1, 2, 4, 8, 12, 16, 24, 32}
    assert max(map(len, sizes[1].read)) > 2900


def test_a_job_that_is_cancelled_makes_room_at_once_and_is_heard_of_no_more(client):
    here = client(alphabet_model(), running=1, waiting=5)
    endless = here.submit(length=10**8)
    here.wait_for_text(endless)
    waits = here.submit(length=3)
    never = here.submit(length=3)
    here.engine.cancel(never)
    here.engine.cancel(endless)
    assert here.wait_for(waits) == ["bcd"]
    known = len(here.texts[endless])
    here.wait_for(here.submit(length=3))
    assert len(here.texts[endless]) == known
    assert never not in here.texts
    here.engine.cancel(endless)  # nothing happens


def test_more_than_may_wait_are_refused_and_none_of_them_begun(client):
    here = client(alphabet_model(), running=1, waiting=2)
    jobs = [here.submit(length=10**8), here.submit()]
    with pytest.raises(EngineFullError):
        here.engine.submit([here.job(), here.job()])
    jobs.append(here.submit())
    with pytest.raises(EngineFullError):
        here.engine.submit([here.job()])
    here.engine.cancel(jobs[0])
    here.wait_for(*jobs[1:])
    assert len(here.reasons) == 2


def test_what_may_begin_a_stop_text_is_held_back(client):
    here = client(alphabet_model("\nabcdefgh"), running=4)
    jobs = [
        here.submit(stops=["dex", "fgh"]), here.submit(stops=["abc", "ef", "def"]),
        here.submit(stops=["x", "hb"], length=7), here.submit(stops=["ghx"], length=7),
    ]  # fmt: skip
    seen = dict.fromkeys(jobs, "")
    expected = ["bcde", "bc", "bcdefgh", "bcdefgh"]
    while len(here.reasons) < 4:
        for each in (got := here.deliveries.get(timeout=LIMIT_S)):
            seen[each.job] += each.text
            assert expected[jobs.index(each.job)].startswith(seen[each.job])
            here.reasons.update({x.job: x.reason for x in got if x.reason})
    assert list(seen.values()) == expected
    assert [here.reasons[job] for job in jobs] == ["stop", "stop", "length", "length"]


def test_a_job_that_is_not_streamed_is_delivered_once(client):
    here = client(whimsical_model(), running=4)
    job = here.submit(length=2000, streamed=False)
    (delivery,) = here.deliveries.get(timeout=LIMIT_S)
    assert (delivery.job, len(delivery.text), delivery.reason) == (job, 2000, "length")


def test_first_characters_do_not_wait_until_others_are_due(client, monkeypatch):
    monkeypatch.setattr(engine_module, "LEAST_WAIT_S", 1000)
    here = client(alphabet_model(), running=4)
    job = here.submit(length=10**8)
    here.take()
    second = here.submit(length=10**8)
    here.wait_for_text(second)
    assert len(here.texts[job]) == 1
    assert here.texts[second] == "b"


@pytest.mark.parametrize("reads_alone", [True, False])
def test_an_observer_is_told_of_every_place_with_its_logits(
    client, monkeypatch, reads_alone
):
    def choose(batch, job, others):
        return reads_alone

    monkeypatch.setattr(engine_module._Batch, "_is_better_read_alone", choose)
    model = whimsical_model("\nabc", kind="lines")
    here = client(model, running=8)
    told = []

    def tell(place, symbol, logits):
        told.append((place, symbol, logits.copy()))

    others = [here.submit(length=50, seed=n) for n in range(3)]
    job = here.submit(prompt="cab" * 20, length=9, seed=4, streamed=False, observe=tell)
    (text,) = here.wait_for(job)
    here.wait_for(*others)
    ids = [0, *model.vocabulary.encode("cab" * 20 + text).tolist()]
    places, symbols, logits = zip(*told, strict=True)
    assert list(places) == list(range(1, len(places) + 1))
    assert list(symbols)[: len(ids) - 1] == ids[1:]
    for place in (1, 5, 60):
        expected = np.float32(model.rule(tuple(ids[:place])))
        np.testing.assert_array_equal(logits[place - 1], expected)


def test_a_model_that_fails_takes_only_its_own_jobs_along(client):
    def rule(read):
        if len(read) == 5:
            raise ValueError("broken")
        return [0.0, 1e4]

    here = client(FakeModel("ab", rule), alphabet_model(), running=4)
    healthy = here.submit(model="two", length=10**8)
    here.wait_for_text(healthy)
    failing = [here.submit(length=50), here.submit(length=50)]
    here.wait_for(*failing)
    assert str(here.errors[failing[0]]) == "broken"
    assert here.wait_for(here.submit(length=3)) == ["bbb"]
    assert healthy not in here.reasons
    here.engine.cancel(healthy)


def test_many_jobs_are_shared_by_two_threads_and_models_by_as_many(client):
    models = whimsical_model(), whimsical_model("\nab")
    here = client(*models, running=2 * LEAST_HALF, waiting=0)
    jobs = [here.job(length=30, seed=n) for n in range(2 * LEAST_HALF)]
    here.engine.submit(jobs)
    here.wait_for(*jobs)
    first, last = (
        generate_output(models[0], "a", length=30, seed=n)[1:] for n in (0, 127)
    )
    assert (here.texts[jobs[0]], here.texts[jobs[-1]]) == (first, last)
    own = here.engine._lanes
    one, two = (here.submit(model=name, length=10**8) for name in ("one", "two"))
    assert own[0] is here.engine._lane_of[one]
    assert own[1] is here.engine._lane_of[two]


def test_a_long_prompt_is_read_alone_where_that_is_quicker():
    batch = engine_module._Batch(whimsical_model(), 8)
    job = Job("one", Request(0, "", np.zeros(100, np.int64), 0, PLAIN, 5))
    batch._step_s, batch._reader.symbol_s = 1.0, 0.2
    assert batch._is_better_read_alone(job, others=3)
    assert not batch._is_better_read_alone(job, others=0)
    batch._step_s, batch._reader.symbol_s = 0.009, 0.001
    assert not batch._is_better_read_alone(job, others=3)  # it takes no second
    batch._step_s, batch._reader.symbol_s = 1.0, 0.2
    batch._reader.jobs.append(job)  # and twice as much is to be read
    assert not batch._is_better_read_alone(job, others=3)


def test_jobs_dropped_while_they_are_read_do_not_spoil_the_next():
    model = whimsical_model()
    reader = engine_module._Reader(model)
    prompts = [model.vocabulary.encode(text * 30) for text in ("ab", "fed", "ca")]
    jobs = [Job("one", Request(0, "", ids, 0, PLAIN, 5)) for ids in prompts]
    reader.jobs.extend(jobs)
    assert reader.read(0) == []
    reader.drop(jobs[0])
    read = reader.read(60)
    assert read == jobs[1:]
    assert [job.request.state for job in read] == [tuple(p[:-1]) for p in prompts[1:]]
