"""The rules of thumb together give known sizes, for any text and any budget."""

import pytest

from textgen.config import SAMPLE_SIZE, WIDE_SYMBOLS
from textgen.training.budget import STARTING_S, size_for

MILLION = 1_000_000
COSINE, AVERAGED = "cosine", "averaged"


@pytest.mark.parametrize(
    ("chars", "minutes", "layers", "units", "dropout", "rows", "rate", "schedule"),
    [
        # 20 characters for each weight
        (MILLION, 0.2, 1, 144, 0.05, 32, 0.014, COSINE),
        (MILLION, 1.2, 1, 320, 0.11, 32, 0.014, COSINE),
        (MILLION, 3, 1, 416, 0.23, 32, 0.0135, COSINE),
        (1000 * MILLION, 40, 1, 928, 0.0, 32, 0.006, COSINE),
        (1000 * MILLION, 60, 2, 608, 0.0, 32, 0.0023, COSINE),
        # just before and after the text was seen once
        (4 * MILLION, 0.46, 1, 224, 0.0, 32, 0.014, COSINE),
        (4 * MILLION, 0.48, 1, 224, 0.05, 32, 0.014, COSINE),
        # and twenty times
        (MILLION, 5, 1, 496, 0.3, 32, 0.0113, COSINE),
        (MILLION, 5.2, 1, 496, 0.3, 32, 0.0169, AVERAGED),
        (MILLION, 9.5, 1, 608, 0.38, 32, 0.0138, AVERAGED),
        (MILLION, 20, 1, 832, 0.47, 32, 0.0101, AVERAGED),
        # forty times, by a larger network
        (200_000, 1.2, 1, 320, 0.44, 32, 0.021, AVERAGED),
        (300_000, 2, 1, 368, 0.42, 32, 0.021, AVERAGED),
        # as many weights as the text is worth
        (85_000, 1.2, 1, 448, 0.5, 16, 0.0188, AVERAGED),
        (10 * MILLION, 1e5, 2, 1072, 0.4, 32, 0.0022, AVERAGED),
        (10 * MILLION, 1e6, 2, 1072, 0.4, 32, 0.0022, AVERAGED),
        # the ends
        (MILLION * MILLION, 1e7, 2, 2000, 0.0, 32, 0.0009, COSINE),
        (0, 1e-6, 1, 16, 0.5, 16, 0.021, AVERAGED),
    ],
)
def test_known_sizes(chars, minutes, layers, units, dropout, rows, rate, schedule):
    config = size_for(chars, minutes)
    model, training = config.model, config.training
    assert (model.layers, model.units, model.embedding) == (layers, units, 64)
    assert model.dropout == dropout
    a_fifth = round(dropout / 5, 2)
    assert model.input_dropout == a_fifth
    assert training.weight_decay == max(0.01, a_fifth)
    assert (training.batch_size, training.minutes) == (rows, minutes)
    assert (training.learning_rate, training.schedule) == (rate, schedule)
    assert config.windows.seq_length == (64 if layers == 1 else 128)


def test_many_lines_are_no_text_to_average_on():
    schedules = [
        size_for(chars, 2, kind=kind).training.schedule
        for chars in (12_000, 180_000)
        for kind in ("lines", "text")
    ]
    assert schedules == ["averaged", "averaged", "cosine", "averaged"]


@pytest.mark.parametrize("minutes", [0.5, 3, 20])
def test_half_the_speed_is_half_the_time(minutes):
    half = (minutes - 8 / 60) / 2 + 8 / 60
    slow, short = size_for(MILLION, minutes, 0.5), size_for(MILLION, half)
    assert slow == short.override(minutes=minutes)


def test_no_network_has_a_width_that_is_slow_in_float32():
    units = {
        size_for(MILLION, minutes / 100).model.units for minutes in range(20, 3000)
    }
    assert {240, 272, 496, 528} < units
    assert not {256, 512} & units


@pytest.mark.parametrize(("chars", "layers"), [(200_000, 1), (1000 * MILLION, 2)])
def test_every_cell_gets_as_many_weights(chars, layers):
    """So that it sees the text as often in the time."""
    sizes = {cell: size_for(chars, 60, cell=cell) for cell in ("lstm", "gru", "rnn")}
    for cell, gates in {"lstm": 4, "gru": 3, "rnn": 1}.items():
        assert sizes[cell].model.cell == cell
        assert sizes[cell].model.layers == layers
        ratio = gates * sizes[cell].model.units ** 2 / sizes["lstm"].model.units ** 2
        assert abs(ratio / 4 - 1) < 0.08  # units are multiples of 16


def test_a_softmax_of_a_sample_costs_no_more_however_many_symbols_there_are():
    sampled = size_for(4 * MILLION, 3, wide_softmax=SAMPLE_SIZE)
    for symbols in (WIDE_SYMBOLS, 15 * WIDE_SYMBOLS):
        assert size_for(4 * MILLION, 3, wide_softmax=symbols) == sampled
    whole = size_for(4 * MILLION, 3, wide_softmax=WIDE_SYMBOLS - 1)
    assert whole.model.units < sampled.model.units


@pytest.mark.parametrize(("symbols", "minutes"), [(500, 3), (1500, 3), (1600, 1.5)])
def test_a_network_beside_a_wide_softmax_is_as_large_as_its_share_of_the_time(
    symbols, minutes
):
    """The share is P / (P + V·U), and depends on the network that it is for."""
    model = size_for(MILLION, minutes, wide_softmax=symbols).model
    weights = 4 * model.units**2
    share = weights / (weights + symbols * model.units)
    seconds = (60 * minutes - STARTING_S) * share
    alone = size_for(MILLION, (seconds + STARTING_S) / 60).model
    assert abs(alone.units - model.units) <= 16  # units are multiples of 16
