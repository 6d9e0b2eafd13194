import itertools
import os
import subprocess
import sys
import threading
from itertools import islice, repeat

import numpy as np
import pytest
from fakes import FakeModel, alphabet_model, certain, whimsical_model

from textgen.config import CompletionConfig
from textgen.errors import OptionError
from textgen.generation import batch, halves
from textgen.generation.batch import (
    Completion,
    complete_many,
    completion_seeds,
    distinct_lines,
    generate_many,
)
from textgen.generation.batch_decoder import BatchDecoder
from textgen.generation.halves import threads_for
from textgen.generation.streaming import UnknownSymbolsWarning, generate_output

TWO_HALVES = halves.HALVES * halves.LEAST_HALF


@pytest.mark.parametrize("kind", ["text", "lines"])
def test_batch_equals_single_runs_whatever_its_size(kind):
    model, options = whimsical_model("\nabc", kind=kind), {"length": 20, "stop": "bb"}
    prompts, seeds = ["a", "", "abcabcabc", "c", "cb"] * 4, range(20)
    expected = []
    for prompt, seed in zip(prompts, seeds, strict=True):
        text = generate_output(model, prompt, seed=seed, **options)
        expected.append(Completion(prompt, text[len(prompt) :], seed))
    assert len({len(completion.text) for completion in expected}) > 3
    assert generate_many(model, prompts, seed=seeds, **options) == expected
    config = CompletionConfig(**options)
    for size in (1, 3, 64):
        made = complete_many(model, prompts, seeds, config, batch_size=size)
        assert list(made) == expected


def test_long_completions_in_two_halves_are_as_single_ones():
    """Longer than the numbers drawn ahead and than the first arrays of what is made."""
    model = whimsical_model()
    count = TWO_HALVES + 9  # slots for 68 in each half, and one that waits
    prompts = ["", "abc", "fedcba" * 30] * (count // 3) + ["a"] * (count % 3)
    options = {"length": 150, "stop": "aaa"}
    completions = generate_many(model, prompts, seed=range(count), **options)
    assert [len(decoder.read) for decoder in model.decoders] == [68, 68]
    for number in (0, 1, 2, 63, 64, TWO_HALVES - 1, TWO_HALVES, count - 1):
        text = generate_output(model, prompts[number], seed=number, **options)
        assert completions[number].prompt + completions[number].text == text
    lengths = {len(completion.text) for completion in completions}
    assert 150 in lengths
    assert len(lengths) > 10


def test_halves_run_at_the_same_time_and_requests_are_split_in_turn(monkeypatch):
    """Each waits for the other: one after the other they would wait forever."""
    meeting, fill, taken = threading.Barrier(2, timeout=60), BatchDecoder.fill, {}

    def waiting(decoder, requests):
        own = taken.setdefault(threading.get_ident(), [])
        if not own:
            meeting.wait()
        noted = (own.append(request.index) or request for request in requests)
        return fill(decoder, noted)

    monkeypatch.setattr(BatchDecoder, "fill", waiting)
    generate_many(whimsical_model(), ["a"] * 300, seed=0, length=3)
    assert sorted(taken.values()) == [list(range(0, 300, 2)), list(range(1, 300, 2))]


@pytest.mark.parametrize("count", [3, 2 * TWO_HALVES + 5])
def test_a_long_prompt_of_many_completions_is_read_once(count):
    model, prompt = whimsical_model("\nabc"), "abcab" * 60
    completions = generate_many(model, [prompt] * count, seed=range(count), length=9)
    *batches, alone = sorted(model.decoders, key=lambda decoder: -len(decoder.read))
    assert len(batches) == threads_for(count)
    assert len(alone.read[0]) == len(prompt) - 1
    for number in (0, 1, count - 1):
        text = generate_output(model, prompt, seed=number, length=9)
        assert prompt + completions[number].text == text


def test_different_long_prompts_are_read_in_the_batch():
    model, prompts = whimsical_model("\nabc"), ["abcab" * 20, "cab" * 30]
    generate_many(model, prompts * 2, seed=0, length=3)
    assert [len(decoder.read) for decoder in model.decoders] == [4]


def test_a_free_slot_waits_while_another_reads_a_long_prompt():
    model, config = alphabet_model(kind="lines"), CompletionConfig()
    prompts = ["a", "f", "a" * 600]
    completions = complete_many(model, prompts, range(3), config, batch_size=2)
    assert [made.text for made in completions] == ["bcdef", "", "bcdef"]


def test_a_small_batch_needs_no_thread(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", None)
    count = TWO_HALVES - 1
    assert len(generate_many(alphabet_model(), ["a"] * count, length=2)) == count
    assert (threads_for(count), threads_for(TWO_HALVES)) == (1, 2)


def test_a_failure_in_a_half_is_told_and_leaves_no_threads():
    before = threading.active_count()
    seeds = [*range(130), -1, *range(200)]
    with pytest.raises(OptionError, match="seed"):
        generate_many(whimsical_model(), ["a"] * len(seeds), seed=seeds, length=9)
    assert threading.active_count() == before


def test_closed_early_it_leaves_no_threads_and_has_not_run_far_ahead():
    before, model = threading.active_count(), alphabet_model(kind="lines")
    config, taken = CompletionConfig(), itertools.count()
    small = complete_many(model, repeat(""), taken, config, batch_size=4)
    assert (next(small).text, next(taken)) == ("abcdef", 4)
    small.close()
    completions = complete_many(model, repeat(""), taken, config)
    for _ in range(1000):
        assert next(completions).text == "abcdef"
    completions.close()
    assert threading.active_count() == before
    steps_ahead = halves.STEPS_AT_ONCE * (halves.TASKS_AHEAD + 1)
    assert next(taken) < 1000 + 2 * steps_ahead * batch.MAX_BATCH_SIZE // len(
        "abcdef\n"
    )


def test_closed_early_it_takes_no_more_steps():
    model = alphabet_model(kind="text")
    completions = complete_many(model, repeat(""), range(10**6), CompletionConfig())
    next(completions)
    completions.close()
    most = CompletionConfig().length + halves.STEPS_AT_ONCE * halves.TASKS_AHEAD
    assert all(len(decoder.read[0]) <= most for decoder in model.decoders)


LEFT_OPEN = """
from itertools import count, repeat
from fakes import alphabet_model
from textgen.config import CompletionConfig
from textgen.generation.batch import complete_many
endless = complete_many(alphabet_model(), repeat("a"), count(), CompletionConfig())
for completion in endless:
    raise KeyboardInterrupt
"""


def test_a_program_that_is_interrupted_meanwhile_ends():
    """The traceback keeps the iterator alive, and it the threads."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", LEFT_OPEN]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.stderr.endswith("KeyboardInterrupt\n")


def test_a_network_too_large_for_all_is_given_fewer_at_once():
    model, options = whimsical_model(max_batch_size=3), {"seed": 0, "length": 5}
    completions = generate_many(model, ["a"] * 10, **options)
    assert completions == generate_many(whimsical_model(), ["a"] * 10, **options)
    assert [len(decoder.read) for decoder in model.decoders] == [3]


def test_one_seed_gives_each_completion_its_own():
    model = whimsical_model()
    completions = generate_many(model, ["a"] * 5, seed=7, length=20)
    assert [made.seed for made in completions] == list(islice(completion_seeds(7), 5))
    assert len({made.text for made in completions}) == 5
    assert completions == generate_many(model, ["a"] * 5, seed=7, length=20)
    fresh = [generate_many(model, ["a"], length=20) for _ in range(2)]
    assert fresh[0] != fresh[1]


def test_a_number_asks_for_so_many_texts_or_different_lines():
    texts = generate_many(whimsical_model(), 5, seed=7, length=20)
    assert texts == generate_many(whimsical_model(), [""] * 5, seed=7, length=20)
    lines = generate_many(whimsical_model("\nabc", kind="lines"), 40, seed=3)
    assert len({line.text for line in lines} - {""}) == 40
    assert len(generate_many(alphabet_model(), np.int64(2), length=2)) == 2
    assert generate_many(alphabet_model(), []) == []


@pytest.mark.parametrize(
    ("prompts_or_count", "options", "match"),
    [(["a", "b"], {"seed": [1]}, "one number or 2"), (["a"], {"seed": [-1]}, "seed"),
     ([b"a"], {}, "must be text, but was bytes"), (["a"], {"seed": -1}, "seed"),
     (0, {}, "count"), (True, {}, "count"), ("abc", {}, "text"),
     (["a"], {"length": 0}, "length")],
)  # fmt: skip
def test_many_of_nonsense_are_refused(prompts_or_count, options, match):
    with pytest.raises(OptionError, match=match):
        generate_many(alphabet_model(), prompts_or_count, **options)


def test_unknown_symbols_of_a_repeated_prompt_are_named_once():
    with pytest.warns(UnknownSymbolsWarning) as caught:
        found = generate_many(alphabet_model(), ["A"] * 5, length=2)
    assert {completion.text for completion in found} == {"bc"}
    assert len(caught) == 1


def test_completion_seeds_begin_with_the_seed_and_do_not_overlap():
    first, second = (list(islice(completion_seeds(s), 1000)) for s in (0, 1))
    assert (first[0], second[0]) == (0, 1)
    assert len(set(first) | set(second)) == 2000
    assert first == list(islice(completion_seeds(0), 1000))
    assert all(0 <= seed < 2**32 for seed in first)


def test_distinct_lines_are_distinct_and_repeat():
    model = whimsical_model("\nabc", kind="lines")
    config = CompletionConfig(length=20, temperature=1)

    def lines(prompt, count, seed):
        found = distinct_lines(model, prompt, count, seed, config)
        return [prompt + completion.text for completion in found]

    names = lines("", 40, 0)
    assert len(set(names) - {""}) == len(names) == 40
    assert names == lines("", 40, 0) != lines("", 40, 1)
    # The count decides how far it goes, not what comes.
    assert lines("", 7, 0) == names[:7]
    assert all(name.startswith("ab") for name in lines("ab", 5, 0))


def test_only_fruitless_draws_in_a_row_end_the_search(monkeypatch):
    # With few names to find, most draws repeat one, but no 60 running.
    monkeypatch.setattr(batch, "FRUITLESS_DRAWS", 60)
    model = whimsical_model("\nab", kind="lines")
    config = CompletionConfig(length=6, temperature=1)
    draws = complete_many(model, repeat(""), completion_seeds(0), config, batch_size=20)
    lines = [completion.text for completion in islice(draws, 2000)]
    wanted, fruitless = [], 0
    for line in lines:
        fruitless = fruitless + 1 if line in {"", *wanted} else 0
        if fruitless == 60:
            break
        wanted += [line] * (fruitless == 0)
    assert lines.index(wanted[-1]) - len(wanted) > 60  # fruitless draws in all
    found = distinct_lines(model, "", 1000, 0, config)
    assert [completion.text for completion in found] == wanted


def test_distinct_lines_end_when_no_more_are_found(monkeypatch):
    monkeypatch.setattr(batch, "FRUITLESS_DRAWS", 50)
    config = CompletionConfig(temperature=0)
    model = alphabet_model(kind="lines")
    found = list(distinct_lines(model, "", 20, 0, config))
    assert [completion.text for completion in found] == ["abcdef"]
    silent = FakeModel("\na", lambda read: certain(0, 2), kind="lines")
    assert list(distinct_lines(silent, "", 20, 0, config)) == []
    with pytest.raises(OptionError, match="count"):
        next(distinct_lines(model, "", 0, 0, config))
