"""How large a network, and how hard it is trained, for a text and a budget of minutes.

A few rules of thumb, fitted to trainings of some seconds to an hour on a 2-core
machine (docs/experiments.md), in terms of

    n  characters of the text
    t  seconds of the budget, less 8 for starting, times the speed of the machine
       (1.3 for two cores of Zen 5)
    P  weights of the recurrent layers, G·U² for one layer and 3G·U² for two, where G is
       4 for the LSTM, 3 for the GRU and 1 for the simple RNN

1. **Work.** A machine does more multiplications a second in larger networks: about
   S(P) = 27·10⁹·(P / 66,000)^⅓ weights × characters a second. So a network sees
   t·S(P)/P characters, its *passes* over the text are that through n.
2. **Size.** As long as the text is long enough, 20 characters seen for each weight.
   Where that would be more than 40 passes, a larger network that makes 40; but never
   more than 800,000·(n / 85,000)^0.6 weights, whatever the time. With a
   multiple of 256 units float32 is slower than with more: 16 less are taken.
3. **Layers.** One up to 4,000,000 weights; then two.
4. **Rate.** A cosine, from 0.014 for one layer of up to 400 units, from 0.014·400 / U
   for a wider one, and from 0.008·(128 / U)^0.8 for two layers; cells other than the
   LSTM take 0.35 of that.
   From 20 passes on the rate is half as much again and constant, and the weights are
   averaged; but not for many lines, whose batches have few characters.
5. **Regularisation.** Dropout 0.1·ln(P·passes / n), passes being 40 at most, from 0.05
   to 0.5; none where the text is not seen once. A fifth of that number for the input
   symbols, and as the weight decay, which is 0.01 at least.
6. **Windows** of 64 characters; of 128 for two layers. **Batches** of 32 windows; of
   16 where 40 passes would be less than 2,000 steps.
7. **Words and byte pairs** are what n counts where there are any. The softmax over V of
   them, or over a sample, is work, too, so that the recurrent layers have P / (P + V·U)
   of the time.

None of it looks at the held-out part.
"""

from __future__ import annotations

import math

from textgen.config import (
    GATES,
    SAMPLE_SIZE,
    WIDE_SYMBOLS,
    Config,
    ModelConfig,
    TrainingConfig,
    WindowConfig,
)

WORK_PER_S = 27e9  # weights × characters, at REFERENCE_WEIGHTS
REFERENCE_WEIGHTS = 66e3
CHARS_PER_WEIGHT = 20
USEFUL_PASSES = 40
MOST_WEIGHTS, AT_CHARS = 800e3, 85e3
MOST_IN_ONE_LAYER = 4e6
WIDE_UNITS = 400  # from here on a layer learns better at a lower rate
MANY_PASSES, RATE_FACTOR = 20, 1.5
RATE_OF_CELL = {"lstm": 1.0, "gru": 0.35, "rnn": 0.35}  # docs/experiments.md
LEAST_DROPOUT, MOST_DROPOUT = 0.05, 0.5
LEAST_DECAY = 0.01
UNITS_MULTIPLE, MOST_UNITS = 16, 2000  # of two layers, 48 of 60 million weights
SLOW_MULTIPLE = 256  # rows of its gates, 4 KiB apart, compete for one part of a cache
ROUNDS = 16  # in which the share of a wide softmax is found
STARTING_S = 8.0  # imports, compiling and measuring
FEWEST_STEPS = 2000


def size_for(
    chars: int,
    minutes: float,
    speed: float = 1.0,
    kind: str = "text",
    cell: str = "lstm",
    wide_softmax: int = 0,
) -> Config:
    """Return the configuration for n ``chars`` to train on and a process's minutes.

    The machine's speed is that of `textgen.system.hardware.relative_speed`.
    Regularisation was fitted to the LSTM. Where there are words or byte pairs in the
    place of characters, ``wide_softmax`` is how many.
    """
    chars, seconds = max(1, chars), max(1.0, 60 * minutes - STARTING_S) * speed
    weights, whole = _weights(chars, seconds), seconds
    if wide_softmax >= WIDE_SYMBOLS:
        wide_softmax = SAMPLE_SIZE
    for _ in range(ROUNDS if wide_softmax else 0):  # V·U depends on P
        softmax = wide_softmax * _shape(weights, cell)[1]
        seconds = whole * weights / (weights + softmax)
        weights = _weights(chars, seconds)
    passes = _passes(chars, weights, seconds)
    layers, units = _shape(weights, cell)
    units = max(1, round(units / UNITS_MULTIPLE)) * UNITS_MULTIPLE
    if units % SLOW_MULTIPLE == 0:
        units -= UNITS_MULTIPLE
    units = min(units, MOST_UNITS)
    dropout = _dropout(chars, weights, passes)
    a_fifth = round(dropout / 5, 2)
    window = 64 if layers == 1 else 128
    few = USEFUL_PASSES * chars < FEWEST_STEPS * 32 * window
    averaged = passes >= MANY_PASSES and (few or kind == "text")
    schedule = "averaged" if averaged else "cosine"
    return Config(
        ModelConfig(layers, units, 64, cell, dropout=dropout, input_dropout=a_fifth),
        WindowConfig(seq_length=window),
        TrainingConfig(
            batch_size=16 if few else 32,
            learning_rate=peak_rate(layers, units, schedule, cell),
            schedule=schedule,
            weight_decay=max(LEAST_DECAY, a_fifth),
            epochs=None,
            minutes=minutes,
        ),
    )


def peak_rate(layers: int, units: int, schedule: str, cell: str = "lstm") -> float:
    """Return the learning rate of rule 4, to four digits after the point."""
    one, two = 0.014 * min(1, WIDE_UNITS / units), 0.008 * (128 / units) ** 0.8
    rate = one if layers == 1 else two
    rate *= RATE_OF_CELL[cell]
    return round(rate if schedule == "cosine" else RATE_FACTOR * rate, 4)


def _shape(weights: float, cell: str) -> tuple[int, float]:
    """Return how many layers of how many units have so many weights."""
    layers = 1 if weights <= MOST_IN_ONE_LAYER else 2
    return layers, math.sqrt(weights / GATES[cell] / (1 if layers == 1 else 3))


def _weights(chars: int, seconds: float) -> float:
    """Solve rule 2 for P; S(P) stands on both sides of it."""
    per_second = WORK_PER_S / REFERENCE_WEIGHTS ** (1 / 3)
    for_the_time = (seconds * per_second / CHARS_PER_WEIGHT) ** (3 / 5)
    for_the_text = (seconds * per_second / (USEFUL_PASSES * chars)) ** (3 / 2)
    most = MOST_WEIGHTS * (chars / AT_CHARS) ** 0.6
    return min(max(for_the_time, for_the_text), most)


def _passes(chars: int, weights: float, seconds: float) -> float:
    speed = WORK_PER_S * (weights / REFERENCE_WEIGHTS) ** (1 / 3)
    return seconds * speed / weights / chars


def _dropout(chars: int, weights: float, passes: float) -> float:
    """Follow rule 5, to two digits."""
    if passes < 1:
        return 0.0
    seen_by_weight = weights * min(passes, USEFUL_PASSES) / chars
    by_rule = round(0.1 * math.log(seen_by_weight), 2)
    return min(max(by_rule, LEAST_DROPOUT), MOST_DROPOUT)
