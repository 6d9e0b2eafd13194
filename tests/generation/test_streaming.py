import io
import sys
from itertools import islice

import numpy as np
import pytest
from fakes import FakeModel, alphabet_model, whimsical_model
from hypothesis import given
from hypothesis import strategies as st

from textgen.config import WindowConfig
from textgen.errors import OptionError, VocabularyError
from textgen.generation import streaming
from textgen.generation.batch import generate_many
from textgen.generation.streaming import (
    UnknownSymbolsWarning,
    generate_output,
    ids_to_read,
    request_for_beginning,
    stream_output,
)


def test_completion_is_what_the_logits_say():
    model = alphabet_model()
    assert generate_output(model, "ab", length=7) == "ab" + "cdef\nab"
    # The network reads the prompt and then each new symbol once, but for the last.
    assert model.decoders[0].read == [(1, 2, 3, 4, 5, 6, 0, 1)]


@pytest.mark.parametrize("prompt", ["", "a", "ab", "ab ", "fed\n" * 500])
@pytest.mark.parametrize("length", [1, 2, 37])
def test_prompt_begins_output_and_length_is_exact(prompt, length):
    model = whimsical_model("\n abcdef")
    text = generate_output(model, prompt, length=length, seed=1)
    assert text.startswith(prompt)
    assert len(text) == len(prompt) + length


def test_a_symbol_is_made_only_when_it_is_asked_for():
    model = alphabet_model()
    characters = stream_output(model, "a", length=100_000_000)
    assert list(islice(characters, 2)) == ["b", "c"]
    assert len(model.decoders[0].read[0]) == 2


@pytest.mark.parametrize(
    ("options", "drawn"),
    [({"temperature": 0}, "a"), ({"temperature": 2}, "abc"), ({"top_k": 2}, "ab"),
     ({"temperature": 1, "top_p": 0.4}, "a")],
)  # fmt: skip
def test_the_options_decide_what_is_drawn(options, drawn):
    model = FakeModel("abc", lambda read: np.log([0.5, 0.3, 0.2]))
    text = generate_output(model, "", length=200, seed=0, **options)
    assert set(text) == set(drawn)


def test_seed_repeats_and_without_one_texts_differ():
    model = whimsical_model()
    texts = [generate_output(model, "a", length=60, seed=s) for s in (0, 0, 4)]
    assert texts[0] == texts[1] != texts[2]
    fresh = {generate_output(model, "a", length=60) for _ in range(3)}
    assert len(fresh) == 3


def test_empty_prompt_of_a_text_begins_after_a_newline_that_is_not_shown():
    model = alphabet_model("abc\nde")
    assert generate_output(model, "", length=3) == "dea"
    assert generate_output(alphabet_model("abc"), "", length=3) == "bca"


def test_lines_begin_with_the_end_symbol_and_end_at_it():
    model = alphabet_model(kind="lines")
    assert generate_output(model, "", length=50) == "abcdef"
    assert model.decoders[0].read == [(0, 1, 2, 3, 4, 5, 6)]
    assert generate_output(model, "ef", length=50) == "ef"
    assert generate_output(model, "c", length=2) == "cde"


@pytest.mark.parametrize("kind", ["lines", "text"])
def test_documents_and_rows_begin_and_end_with_the_end_of_a_text(kind):
    """What they hold may have newlines, and none of them ends it."""
    model = alphabet_model("\0ab\nc", kind=kind)
    assert generate_output(model, "", length=50) == "ab\nc"
    assert model.decoders[0].read == [(0, 1, 2, 3, 4)]
    assert generate_output(model, "b\n", length=50) == "b\nc"
    assert generate_output(model, "a", length=2) == "ab\n"
    texts = generate_many(model, ["", "b"], seed=1)
    assert [text.text for text in texts] == ["ab\nc", "\nc"]


def test_a_newline_ends_no_text():
    assert (
        generate_output(alphabet_model("\nab", kind="text"), "a", length=4) == "ab\nab"
    )


@pytest.mark.parametrize(
    ("metadata", "symbols", "kind", "noun"),
    [("dinos", "\nab", "lines", "name"), ("sonnets", "\nab", "text", "poem"),
     ("mail", "\nab", "lines", "line"), ("mail", "\0\nab", "lines", "text"),
     ("novel", "\nab", "text", "text"), (None, "\nab", "text", "text")],
)  # fmt: skip
def test_what_is_asked_for_is_what_the_model_makes(metadata, symbols, kind, noun):
    metadata = {} if metadata is None else {"corpus": {"name": metadata}}
    model = alphabet_model(symbols, kind=kind, metadata=metadata)
    assert f"the beginning of a {noun}, " in request_for_beginning(model)


@pytest.mark.parametrize(
    ("kind", "prompt", "read"),
    [("text", "abcdef", [3, 4, 5, 6]), ("text", "ab", [1, 2]),
     ("lines", "abc", [0, 1, 2, 3]), ("lines", "abcd", [1, 2, 3, 4])],
)  # fmt: skip
def test_windowed_model_reads_no_more_than_its_window(kind, prompt, read):
    windows = WindowConfig(seq_length=4, targets="last")
    model = whimsical_model(windows=windows, kind=kind)
    np.testing.assert_array_equal(ids_to_read(model, prompt, False), read)


def test_a_prompt_of_a_megabyte_is_cut_for_the_network_only(monkeypatch):
    monkeypatch.setattr(streaming, "MAX_PROMPT_SYMBOLS", 10)
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
    assert "'Á' (folded to 'a'), '☃' (skipped), '\\x1b' (skip" in message
    assert "\n" not in message
    assert {warning.filename for warning in caught} == {__file__}
    assert model.decoders[0].read[0][0] == 1


def test_no_model_at_all_is_refused():
    with pytest.raises(OptionError, match=r"`model`.* was 3"):
        generate_output(3, "a")


def test_strict_refuses_unknown_symbols():
    with pytest.raises(VocabularyError, match="☃"):
        stream_output(alphabet_model(), "a☃", strict=True)
    assert generate_output(alphabet_model(), "a", length=1, strict=True) == "ab"


@pytest.mark.parametrize(
    ("stop", "completion"),
    [("d", "bc"), ("cd", "b"), ("b", ""), ("ef\n", "bcd"), ("x", "bcdef\nabcd"),
     ("cx", "bcdef\nabcd"), ("d" * 2000, "bcdef\nabcd"), ("abcde", "bcdef\nabcd")],
)  # fmt: skip
def test_stop_ends_the_completion_and_is_not_part_of_it(stop, completion):
    model = alphabet_model()
    assert generate_output(model, "a", length=10, stop=stop) == "a" + completion
    (batched,) = generate_many(model, ["a"], seed=[0], length=10, stop=stop)
    assert batched.text == completion


@given(st.text("abc", max_size=40), st.text("ab", min_size=1, max_size=8))
def test_stop_agrees_with_a_search_and_holds_back_no_more_than_needed(text, stop):
    read = shown = ""

    def source():
        nonlocal read
        for character in text:
            # Asked for the next: what isn't shown yet may be the beginning of stop.
            held = max(n for n in range(len(stop)) if read.endswith(stop[:n]))
            assert shown == read[: len(read) - held]
            read += character
            yield character

    for character in streaming._until(source(), stop):
        shown += character
    assert shown == text.split(stop)[0]


@pytest.mark.parametrize(
    "options",
    [{"length": 0}, {"temperature": "hot"}, {"top_k": 0}, {"top_p": 0}, {"seed": -1},
     {"seed": 2**32}, {"seed": 1.0}, {"stop": ""}, {"prompt": b"a"}],
)  # fmt: skip
def test_nonsense_is_refused_by_the_call_in_one_line(options):
    with pytest.raises(OptionError, match=r"^.*\Z"):
        stream_output(alphabet_model(), **{"prompt": "a"} | options)


def test_a_seed_of_numpy_is_a_seed():
    model = whimsical_model()
    (completion,) = generate_many(model, ["a"], seed=[np.int64(3)], length=9)
    assert type(completion.seed) is int
    text = generate_output(model, "a", length=np.int32(9), seed=np.uint8(3))
    assert text == "a" + completion.text
    assert text == generate_output(model, "a", length=9, seed=3)


class Stream(io.StringIO):
    """Counts flushes, and passes for a terminal."""

    flushes = 0

    def flush(self):
        self.flushes += 1

    def isatty(self):
        return True


def test_stream_gets_the_text_as_it_is_made_and_one_newline():
    stream = Stream()
    text = generate_output(alphabet_model(), "a", length=3, stream=stream)
    assert stream.getvalue() == text + "\n" == "abcd\n"
    assert stream.flushes >= 5


def test_a_terminal_gets_no_control_characters():
    stream, model = Stream(), alphabet_model("ab\x1b\r\x9b\n\t")
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
