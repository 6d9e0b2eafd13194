import io
import sys
import threading
import warnings
from itertools import islice, repeat

import numpy as np
import pytest
from fakes import FakeModel, alphabet_model, certain, whimsical_model
from hypothesis import given
from hypothesis import strategies as st

from textgen.config import CompletionConfig, WindowConfig
from textgen.errors import OptionError, VocabularyError
from textgen.generation import batch as batch_generation
from textgen.generation import lanes
from textgen.generation import streaming as generation
from textgen.generation.batch import (
    LANES,
    LEAST_LANE_STREAMS,
    Completion,
    completion_seeds,
    distinct_lines,
    generate_many,
    iterate_completions,
)
from textgen.generation.batch_decoder import Row, complete_rows
from textgen.generation.streaming import (
    UnknownSymbolsWarning,
    generate_output,
    opening_ids,
    stream_output,
)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_completion_is_what_the_logits_say():
    assert generate_output(alphabet_model(), "ab", length=7) == "ab" + "cdef\nab"


@pytest.mark.parametrize("prompt", ["", "a", "ab", "ab ", "fed\n" * 500])
@pytest.mark.parametrize("length", [1, 2, 37])
def test_prompt_begins_output_and_length_is_exact(prompt, length):
    model = whimsical_model("\n abcdef")
    text = generate_output(model, prompt, length=length, seed=1)
    assert text.startswith(prompt)
    assert len(text) == len(prompt) + length


def test_default_length_is_400_and_trailing_space_counts():
    model = whimsical_model("\n abcdef")
    with_space, without = (
        generate_output(model, prompt, seed=1) for prompt in ("ab ", "ab")
    )
    assert len(with_space) == 403
    assert with_space[3:] != without[2:]


def test_network_reads_the_prompt_and_then_each_new_symbol_once():
    model = alphabet_model()
    generate_output(model, "ab", length=3)
    assert model.decoders[0].read == [(1, 2, 3, 4)]


def test_a_symbol_is_made_only_when_it_is_asked_for():
    model = alphabet_model()
    characters = stream_output(model, "a", length=100_000_000)
    assert list(islice(characters, 2)) == ["b", "c"]
    assert len(model.decoders[0].read[0]) == 2


def test_temperature_zero_is_argmax_and_draws_follow_the_logits():
    logits = np.log([0.5, 0.3, 0.2])
    model = FakeModel("abc", lambda read: logits)
    assert generate_output(model, "", length=5, temperature=0) == "aaaaa"
    drawn = generate_output(model, "", length=20_000, temperature=1, seed=0)
    shares = [drawn.count(symbol) / len(drawn) for symbol in "abc"]
    # Four standard errors of a share near a half.
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.014)
    only_two = generate_output(model, "", length=500, temperature=2, top_k=2, seed=0)
    assert set(only_two) == {"a", "b"}
    nucleus = generate_output(model, "", length=500, temperature=1, top_p=0.4, seed=0)
    assert set(nucleus) == {"a"}


def test_seed_repeats_and_global_state_is_left_alone():
    model = whimsical_model()
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    texts = [generate_output(model, "a", length=60, seed=s) for s in (3, 3, 4)]
    assert np.random.random() == expected  # noqa: NPY002
    assert texts[0] == texts[1] != texts[2]
    fresh = {generate_output(model, "a", length=60) for _ in range(3)}
    assert len(fresh) == 3


def test_empty_prompt_of_a_stream_begins_after_a_newline_that_is_not_shown():
    model = alphabet_model("abc\nde")
    assert generate_output(model, "", length=3) == "dea"
    assert generate_output(alphabet_model("abc"), "", length=3) == "bca"


def test_lines_begin_with_the_end_symbol_and_end_at_it():
    model = alphabet_model(kind="lines")
    assert generate_output(model, "", length=50) == "abcdef"
    assert model.decoders[0].read == [(0, 1, 2, 3, 4, 5, 6)]
    assert generate_output(model, "ef", length=50) == "ef"
    assert generate_output(model, "c", length=2) == "cde"


def test_windowed_model_reads_no_more_than_its_window():
    windows = WindowConfig(seq_length=4, targets="last")
    model = whimsical_model(windows=windows)
    np.testing.assert_array_equal(opening_ids(model, "abcdef", False), [3, 4, 5, 6])
    np.testing.assert_array_equal(opening_ids(model, "ab", False), [1, 2])
    lines = whimsical_model(windows=windows, kind="lines")
    np.testing.assert_array_equal(opening_ids(lines, "abc", False), [0, 1, 2, 3])
    np.testing.assert_array_equal(opening_ids(lines, "abcd", False), [1, 2, 3, 4])


def test_a_prompt_of_a_megabyte_is_cut_for_the_network_only(monkeypatch):
    monkeypatch.setattr(generation, "MAX_PROMPT_SYMBOLS", 10)
    model = alphabet_model()
    prompt = "abcdef\n" * 150_000
    assert generate_output(model, prompt, length=2) == prompt + "ab"
    assert len(model.decoders[0].read[0]) == 11


def test_unknown_symbols_are_named_and_the_prompt_is_kept():
    model = alphabet_model()
    with pytest.warns(UnknownSymbolsWarning) as caught:
        text = generate_output(model, "☃Á\x1b\udcff", length=2)
    assert text == "☃Á\x1b\udcffbc"
    (message,) = {str(warning.message) for warning in caught}
    assert "'Á' (folded to 'a')" in message
    assert "'☃' (skipped)" in message
    assert r"'\x1b'" in message
    assert "\n" not in message
    assert model.decoders[0].read[0][0] == 1


def test_a_prompt_of_unknown_symbols_only_is_like_an_empty_one():
    with pytest.warns(UnknownSymbolsWarning):
        assert generate_output(alphabet_model(), "☃", length=2) == "☃ab"


def test_strict_refuses_unknown_symbols():
    with pytest.raises(VocabularyError, match="☃"):
        stream_output(alphabet_model(), "a☃", strict=True)
    assert generate_output(alphabet_model(), "a", length=1, strict=True) == "ab"


@pytest.mark.parametrize(
    ("stop", "completion"),
    [
        ("d", "bc"),
        ("cd", "b"),
        ("b", ""),
        ("ef\n", "bcd"),
        ("x", "bcdef\nabcd"),
        ("cx", "bcdef\nabcd"),
        ("d" * 2000, "bcdef\nabcd"),
        ("abcde", "bcdef\nabcd"),
    ],
)
def test_stop_ends_the_completion_and_is_not_part_of_it(stop, completion):
    model = alphabet_model()
    assert generate_output(model, "a", length=10, stop=stop) == "a" + completion
    (batched,) = generate_many(model, ["a"], seeds=[0], length=10, stop=stop)
    assert batched.text == completion


@pytest.mark.parametrize(
    ("text", "stop", "shown"),
    [
        # What matches of a stop text falls back by more than one border at once.
        ("aabaaabaaac", "aabaaac", "aaba"),
        ("ababcababab", "abababx", "ababcababab"),
        ("aabaabaaab", "aabaaab", "aab"),
    ],
)
def test_stop_is_found_wherever_it_begins(text, stop, shown):
    assert "".join(generation._until(iter(text), stop)) == shown == text.split(stop)[0]


@given(st.text("abc", max_size=40), st.text("ab", min_size=1, max_size=8))
def test_stop_agrees_with_a_search_and_holds_back_no_more_than_needed(text, stop):
    read = ""
    shown = ""

    def source():
        nonlocal read
        for character in text:
            # Asked for the next: what isn't shown yet may be the beginning of stop.
            held = max(n for n in range(len(stop)) if read.endswith(stop[:n]))
            assert shown == read[: len(read) - held]
            read += character
            yield character

    for character in generation._until(source(), stop):
        shown += character
    assert shown == text.split(stop)[0]


@pytest.mark.parametrize(
    "options",
    [
        {"length": 0},
        {"length": -1},
        {"length": 10**15},
        {"length": 1.5},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": "hot"},
        {"top_k": 0},
        {"top_p": 0},
        {"top_p": 1.1},
        {"seed": -1},
        {"seed": 2**32},
        {"seed": 1.0},
        {"stop": ""},
        {"stop": 5},
        {"prompt": 5},
        {"prompt": b"a"},
    ],
)
def test_nonsense_is_refused_by_the_call_in_one_line(options):
    options = {"prompt": "a"} | options
    with pytest.raises(OptionError) as caught:
        stream_output(alphabet_model(), **options)
    assert "\n" not in str(caught.value)


def test_a_seed_of_numpy_is_a_seed():
    model = whimsical_model()
    (completion,) = generate_many(model, ["a"], seeds=[np.int64(3)], length=9)
    assert type(completion.seed) is int
    assert "a" + completion.text == generate_output(model, "a", length=9, seed=3)
    text = generate_output(model, "a", length=np.int32(9), seed=np.uint8(3))
    assert text == "a" + completion.text


def test_stream_gets_the_text_as_it_is_made_and_one_newline():
    class Recorder(io.StringIO):
        flushes = 0

        def flush(self):
            self.flushes += 1

    stream = Recorder()
    text = generate_output(alphabet_model(), "a", length=3, stream=stream)
    assert stream.getvalue() == text + "\n" == "abcd\n"
    assert stream.flushes >= 5


def test_a_terminal_gets_no_control_characters():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    model = alphabet_model("ab\x1b\r\x9b\n\t")
    text = generate_output(model, "ab", length=5, stream=stream)
    assert text == "ab\x1b\r\x9b\n\t"
    assert stream.getvalue() == "ab\\x1b\\r\\x9b\n\t\n"


def test_without_a_prompt_it_asks_and_shows(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("abc \r\n"))
    model = alphabet_model("\n abcdef", metadata={"corpus": {"name": "sonnets"}})
    text = generate_output(model, length=4)
    shown = capsys.readouterr()
    assert shown.out == text + "\n"
    assert text == "abc abcd"
    assert shown.err.startswith("Write the beginning of a poem")
    with pytest.raises(OptionError, match="standard input has ended"):
        generate_output(model)


# Many at once


def test_batch_equals_single_runs_whatever_its_size():
    model = whimsical_model()
    prompts = ["a", "", "abcdefabc", "f\n", "bb"] * 4
    seeds = list(range(20))
    expected = []
    for prompt, seed in zip(prompts, seeds, strict=True):
        text = generate_output(model, prompt, length=15, seed=seed)
        expected.append(Completion(prompt, text[len(prompt) :], seed))
    assert generate_many(model, prompts, seeds=seeds, length=15) == expected
    for streams in (1, 3, 64):
        config = CompletionConfig(length=15)
        completions = iterate_completions(
            model, prompts, seeds, config=config, streams=streams
        )
        assert list(completions) == expected


def test_long_completions_in_batches_go_side_by_side_as_single_ones():
    """Longer than the numbers drawn ahead and than the first arrays of what is made."""
    model = whimsical_model()
    streams = LANES * LEAST_LANE_STREAMS
    count = streams + 9  # places for 68 in each half, and one that waits
    prompts = ["", "abc", "fedcba" * 30] * (count // 3) + ["a"] * (count % 3)
    completions = generate_many(
        model, prompts, seeds=range(count), length=150, stop="aaa"
    )
    assert [len(decoder.read) for decoder in model.decoders] == [68, 68]
    for number in (0, 1, 2, 63, 64, streams - 1, streams, count - 1):
        text = generate_output(
            model, prompts[number], seed=number, length=150, stop="aaa"
        )
        assert completions[number].prompt + completions[number].text == text
    lengths = {len(completion.text) for completion in completions}
    assert 150 in lengths
    assert len(lengths) > 10


def test_what_a_finished_row_has_made_stays_when_its_place_is_taken():
    model, config = whimsical_model(), CompletionConfig(length=20)
    rows = (Row(n, "a", opening_ids(model, "a", True), seed=n) for n in range(9))
    finished = [row for some in complete_rows(model, rows, config, 2) for row in some]
    alone = generate_many(model, ["a"] * 9, seeds=range(9), length=20)
    made = [model.vocabulary.decode(row.made) for row in finished]
    assert made == [alone[row.index].text for row in finished]


def test_a_failure_side_by_side_is_told_and_leaves_no_threads(monkeypatch):
    monkeypatch.setattr(lanes, "CLOSING_S", 60)  # for a busy machine
    before = threading.active_count()
    seeds = [*range(130), -1, *range(200)]
    with pytest.raises(OptionError, match="seed"):
        generate_many(whimsical_model(), ["a"] * len(seeds), seeds=seeds, length=9)
    assert threading.active_count() == before


def test_a_network_too_large_for_all_is_given_fewer_at_once():
    model = whimsical_model(max_batch_size=3)
    completions = generate_many(model, ["a"] * 10, seeds=range(10), length=5)
    assert completions == generate_many(
        whimsical_model(), ["a"] * 10, seeds=range(10), length=5
    )
    assert [len(decoder.read) for decoder in model.decoders] == [3]


def test_batch_of_lines_equals_single_runs():
    model = whimsical_model("\nab", kind="lines")
    prompts = ["", "a", "ba"] * 10
    completions = generate_many(model, prompts, seeds=range(30), length=30, stop="bb")
    for completion, prompt, seed in zip(completions, prompts, range(30), strict=True):
        text = generate_output(model, prompt, seed=seed, length=30, stop="bb")
        assert completion == Completion(prompt, text[len(prompt) :], seed)
    assert len({len(completion.text) for completion in completions}) > 3


def test_many_of_nothing_and_seeds_that_do_not_fit():
    model = alphabet_model()
    assert generate_many(model, []) == []
    assert len(generate_many(model, ["a", "b"], length=2)) == 2
    with pytest.raises(OptionError, match="2, but were 1"):
        generate_many(model, ["a", "b"], seeds=[1])
    with pytest.raises(OptionError, match="seed"):
        generate_many(model, ["a"], seeds=[-1])


@pytest.mark.parametrize("prompt", [b"a", None, ["a"], 3])
def test_a_prompt_that_is_no_text_is_refused(prompt):
    for make in (generate_many, stream_output):
        argument = [prompt] if make is generate_many else prompt
        with pytest.raises(OptionError, match="prompt must be text, but was"):
            make(whimsical_model(), argument)


def test_no_more_prompts_are_taken_than_are_worked_on():
    taken = []

    def prompts():
        for number in range(1000):
            taken.append(number)
            yield "a"

    completions = iterate_completions(
        alphabet_model(),
        prompts(),
        completion_seeds(0),
        config=CompletionConfig(length=5),
        streams=4,
    )
    assert next(completions).text == "bcdef"
    assert len(taken) == 4


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
        found = distinct_lines(model, prompt, count, seed, config=config)
        return [prompt + completion.text for completion in found]

    names = lines("", 40, 0)
    assert len(set(names)) == len(names) == 40
    assert "" not in names
    assert names == lines("", 40, 0) != lines("", 40, 1)
    # The count decides how far it goes, not what comes.
    assert lines("", 7, 0) == names[:7]
    assert all(name.startswith("ab") for name in lines("ab", 5, 0))


def test_each_distinct_line_can_be_repeated_alone():
    model = whimsical_model("\nabc", kind="lines")
    config = CompletionConfig(length=20, temperature=1)
    for completion in distinct_lines(model, "b", 10, 3, config=config):
        again = generate_output(
            model, "b", length=20, temperature=1, seed=completion.seed
        )
        assert again == "b" + completion.text


def test_only_fruitless_draws_in_a_row_end_the_search(monkeypatch):
    # With few names to find, most draws repeat one, but no 60 running.
    monkeypatch.setattr(batch_generation, "FRUITLESS_DRAWS", 60)
    model = whimsical_model("\nab", kind="lines")
    config = CompletionConfig(length=6, temperature=1)
    draws = iterate_completions(
        model, repeat(""), completion_seeds(0), config=config, streams=20
    )
    lines = [completion.text for completion in islice(draws, 2000)]
    wanted, fruitless = [], 0
    for line in lines:
        fruitless = fruitless + 1 if line in {"", *wanted} else 0
        if fruitless == 60:
            break
        if not fruitless:
            wanted.append(line)
    assert lines.index(wanted[-1]) - len(wanted) > 60  # fruitless draws in all
    found = distinct_lines(model, "", 1000, 0, config=config)
    assert [completion.text for completion in found] == wanted


def test_distinct_lines_end_when_no_more_are_found(monkeypatch):
    monkeypatch.setattr(batch_generation, "FRUITLESS_DRAWS", 50)
    config = CompletionConfig(temperature=0)
    model = alphabet_model(kind="lines")
    found = list(distinct_lines(model, "", 20, 0, config=config))
    assert [completion.text for completion in found] == ["abcdef"]
    silent = FakeModel("\na", lambda read: certain(0, 2), kind="lines")
    assert list(distinct_lines(silent, "", 20, 0, config=config)) == []
    with pytest.raises(OptionError, match="count"):
        next(distinct_lines(model, "", 0, 0, config=config))
