"""The rules of thumb: each holds, and together they give known sizes."""

import math

import pytest

from textgen.training.budget import size_for

MILLION = 1_000_000


def weights_of(config):
    """Recurrent weights of the layers, the later ones fed by one as wide."""
    return (4 + 8 * (config.model.layers - 1)) * config.model.units**2


def passes_of(config, chars):
    """How often a text is seen in the time of a configuration, by rule 1."""
    weights = weights_of(config)
    seconds = 60 * config.training.minutes - 8
    return seconds * 27e9 * (weights / 66e3) ** (1 / 3) / weights / chars


@pytest.mark.parametrize(
    ("chars", "minutes", "layers", "units", "dropout", "batch_size"),
    [
        (MILLION, 0.2, 1, 144, 0.05, 32),
        (MILLION, 0.4, 1, 208, 0.05, 32),
        (MILLION, 1.2, 1, 320, 0.11, 32),
        (MILLION, 3, 1, 416, 0.23, 32),
        (MILLION, 4, 1, 464, 0.27, 32),
        (MILLION, 7, 1, 544, 0.34, 32),
        (MILLION, 9.5, 1, 608, 0.38, 32),
        (MILLION, 10, 2, 352, 0.38, 32),
        (200_000, 0.6, 1, 240, 0.34, 32),
        (200_000, 1.2, 1, 320, 0.44, 32),
        (MILLION, 20, 2, 480, 0.47, 32),
        (85_000, 1.2, 1, 448, 0.5, 16),
        (15_000, 0.4, 1, 272, 0.5, 16),
        (1000 * MILLION, 40, 2, 544, 0.0, 32),
        (10 * MILLION, 1e5, 2, 1072, 0.4, 32),
    ],
)
def test_known_sizes(chars, minutes, layers, units, dropout, batch_size):
    config = size_for(chars, minutes)
    assert (config.model.layers, config.model.units) == (layers, units)
    assert config.model.dropout == dropout
    assert config.training.batch_size == batch_size
    assert config.training.minutes == minutes
    assert config.model.embedding == 64
    assert config.windows.seq_length == (64 if layers == 1 else 128)


def test_there_is_no_dropout_before_the_text_was_seen_once():
    chars = 4 * MILLION
    for minutes in (n / 100 for n in range(20, 200)):
        config = size_for(chars, minutes)
        passes = passes_of(config, chars)
        if abs(passes - 1) > 0.1:  # units are rounded, and passes with them
            assert config.model.dropout == (0.05 if passes > 1 else 0.0)


def test_dropout_grows_no_more_after_forty_passes():
    chars = 10 * MILLION
    weights = weights_of(size_for(chars, 1e5))
    expected = pytest.approx(0.1 * math.log(40 * weights / chars), abs=0.02)
    assert size_for(chars, 1e5).model.dropout == expected
    assert size_for(chars, 1e6).model.dropout == expected


@pytest.mark.parametrize("chars", [0, 1, 100, 20_000, MILLION, 10**10])
@pytest.mark.parametrize("minutes", [1e-6, 0.1, 3.0, 100.0, 1e6])
def test_any_text_and_any_budget(chars, minutes):
    config = size_for(chars, minutes)
    assert config.model.units % 16 == 0
    assert 0 <= config.model.dropout <= 0.5
    a_fifth = round(config.model.dropout / 5, 2)
    assert config.model.input_dropout == a_fifth
    assert config.training.weight_decay == max(0.01, a_fifth)
    one, two = 0.014, 0.008 * (128 / config.model.units) ** 0.8
    expected = one if config.model.layers == 1 else two
    often = config.training.schedule == "averaged"
    if often:
        expected *= 1.5
    assert config.training.learning_rate == pytest.approx(expected, abs=6e-5)
    assert (config.model.layers == 1) == (weights_of(config) < 1.53e6)


@pytest.mark.parametrize("chars", [300_000, MILLION, 10 * MILLION])
def test_weights_are_averaged_where_a_text_is_seen_twenty_times(chars):
    schedules = set()
    for minutes in (2.0**n for n in range(-2, 13)):
        config = size_for(chars, minutes)
        passes = passes_of(config, chars)
        if abs(passes / 20 - 1) > 0.1:  # units are rounded, and passes with them
            often = passes > 20
            assert config.training.schedule == ("averaged" if often else "cosine")
            schedules.add(config.training.schedule)
    assert schedules == {"averaged", "cosine"}


def test_many_lines_are_no_text_to_average_on():
    schedules = [
        size_for(chars, 2, kind=kind).training.schedule
        for chars in (12_000, 180_000)
        for kind in ("lines", "text")
    ]
    assert schedules == ["averaged", "averaged", "cosine", "averaged"]


def test_more_time_is_worth_a_larger_network_up_to_what_the_text_is_worth():
    sizes = [weights_of(size_for(MILLION, 2.0**k)) for k in range(-2, 12)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[5] < sizes[-1]
    assert sizes[-1] == pytest.approx(800e3 * (MILLION / 85e3) ** 0.6, rel=0.1)


def test_a_long_text_gets_twenty_characters_a_weight():
    for minutes in (0.5, 2, 20):
        config = size_for(10**9, minutes)
        seen = passes_of(config, 1)
        assert seen / weights_of(config) == pytest.approx(20, rel=0.25)


def test_a_short_text_is_not_seen_more_than_forty_times_while_size_can_help():
    config = size_for(300_000, 2)
    passes = passes_of(config, 300_000)
    assert passes == pytest.approx(40, rel=0.25)
    expected = 0.1 * math.log(weights_of(config) * passes / 300_000)
    assert config.model.dropout == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("minutes", [0.5, 3, 20])
def test_half_the_speed_is_half_the_time(minutes):
    half = (minutes - 8 / 60) / 2 + 8 / 60
    slow, short = size_for(MILLION, minutes, 0.5), size_for(MILLION, half)
    assert slow == short.override(minutes=minutes)


def test_units_have_a_limit():
    assert size_for(10**12, 1e7).model.units == 4080


def test_no_network_has_a_width_that_is_slow_in_float32():
    units = {
        size_for(MILLION, minutes / 100).model.units for minutes in range(20, 3000)
    }
    assert {240, 272, 496, 528} < units
    assert not {256, 512} & units
