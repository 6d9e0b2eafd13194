r"""Which texts fit: regular expressions as one automaton over a model's symbols.

A text is read symbol by symbol, and each leads from one of S states to the next. It
fits if the state after its last symbol accepts. Several conditions are one automaton,
which accepts what all of them accept. The library `interegular` turns the expressions
into states; the table is of the model's own symbols.

    >>> ends_with_don = automaton_of([r"[\s\S]*don"], "\nadno")
    >>> state = ends_with_don.after("naddon")
    >>> bool(ends_with_don.accepts[state])
    True
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textgen.errors import OptionError, shown

MAX_STATES = 2_000
MAX_S = 10.0  # of processor time, for finding them

LOCK = threading.Lock()  # while the library has a limit
DEAD = 0  # the state after a symbol by which nothing can fit any more
# An escape, a class in brackets, or another character.
TOKENS = re.compile(r"\\.|\[(?:\\.|[^\]\\])+\]|.", re.DOTALL)
CLASSES = "wWdDsS"
# Looking around, atomic groups, possessive numbers, and a class that begins with ].
OTHERWISE_READ = re.compile(r"\(\?[^:Pa-zA-Z-]|[*+?}]\+|\[")


@dataclass(frozen=True, eq=False)
class Automaton:
    """A table of S states and the V symbols of a model."""

    symbols: Sequence[str]
    table: np.ndarray  # (S, V), the state after each symbol
    accepts: np.ndarray  # (S,) bool
    start: int

    def over(self, pieces: Sequence[str]) -> np.ndarray:
        """Return the state after each of M pieces, runs of the symbols, (S, M)."""
        if tuple(pieces) == tuple(self.symbols):
            return self.table
        ids = {symbol: number for number, symbol in enumerate(self.symbols)}
        states = np.repeat(np.arange(len(self.table))[:, None], len(pieces), axis=1)
        for number, piece in enumerate(pieces):
            for symbol in piece:
                states[:, number] = self.table[states[:, number], ids[symbol]]
        return states

    def after(self, text: str) -> int:
        """Return the state after a text; a symbol that isn't the model's is `DEAD`."""
        ids = {symbol: number for number, symbol in enumerate(self.symbols)}
        state = self.start
        for symbol in text:
            state = int(self.table[state, ids[symbol]]) if symbol in ids else DEAD
        return state


class Distances:
    """From which states an accepting one is reached by how many symbols."""

    def __init__(self, automaton: Automaton, most: int, excluded: int | None) -> None:
        """Reckon up to ``most`` symbols, none of which is the ``excluded`` id."""
        table = automaton.table.copy()
        if excluded is not None:
            table[:, excluded] = DEAD
        states = len(table)
        pairs = np.unique(np.arange(states)[:, None] * states + table)
        before, after = np.divmod(pairs, states)
        reached = automaton.accepts
        # How many numbers of symbols below the row's lead from a state to acceptance.
        self._counts = np.zeros((most + 2, states), np.uint16)
        for number in range(most + 1):
            self._counts[number + 1] = self._counts[number] + reached
            reached = np.bincount(before, reached[after], minlength=states) > 0

    def within(
        self, states: np.ndarray, least: np.ndarray | int, most: np.ndarray | int
    ) -> np.ndarray:
        """Tell of states whether from ``least`` to ``most`` symbols more can fit.

        All three are arrays that broadcast; if ``most`` is below ``least``, none can.
        """
        last = len(self._counts) - 2
        above = self._counts[np.clip(np.add(most, 1), 0, last + 1), states]
        return above > self._counts[np.clip(least, 0, last + 1), states]


def automaton_of(expressions: Sequence[str], symbols: Sequence[str]) -> Automaton:
    """Return the automaton of the texts that each of some regular expressions matches.

    A text has to match from its beginning to its end. An `OptionError` says what is no
    regular expression, or that there would be too many states.
    """
    from interegular.patterns import InvalidSyntax, Unsupported, parse_pattern

    machine = None
    for expression in expressions:
        plain = _plain(expression, symbols)
        try:
            with _few_states():
                one = parse_pattern(plain).to_fsm()
                machine = one if machine is None else machine & one
        except (Unsupported, InvalidSyntax, RecursionError):
            raise _not_understood(expression) from None
    assert machine is not None, "there is an expression at least"
    states = {state: number for number, state in enumerate(machine.states, DEAD + 1)}
    # Symbols that no expression tells apart share a column of the library's.
    alike = [machine.alphabet[symbol] for symbol in symbols]
    columns = {column: number for number, column in enumerate(dict.fromkeys(alike))}
    table = np.full((len(states) + 1, len(columns)), DEAD)
    for state, row in machine.map.items():
        for column, number in columns.items():
            if column in row:
                table[states[state], number] = states[row[column]]
    accepts = np.zeros(len(table), bool)
    accepts[[states[state] for state in machine.finals]] = True
    table, accepts, start = _smallest(table, accepts, states[machine.initial])
    own = [columns[column] for column in alike]
    return Automaton(symbols, table[:, own], accepts, start)


@contextlib.contextmanager
def _few_states() -> Iterator[None]:
    """Let the library give up where a machine has too many states, or takes too long.

    A short expression can have billions, and all its machines are made by one function.
    """
    from interegular import fsm

    def crawl(alphabet: Any, initial: Any, final: Any, follow: Any) -> Any:
        states = itertools.count(1)

        def counted(state: Any) -> bool:
            needed = f"{MAX_STATES:,} states" if next(states) > MAX_STATES else ""
            if needed or time.thread_time() > end_s:
                problem = "what the text has to be like takes over"
                needed = needed or f"{MAX_S:.0f} seconds to understand"
                advice = "ask for something simpler or shorter"
                raise OptionError(f"{problem} {needed}", advice)
            return final(state)

        return usual(alphabet, initial, counted, follow)

    with LOCK:
        end_s = time.thread_time() + MAX_S
        usual, fsm.crawl = fsm.crawl, crawl
        try:
            yield
        finally:
            fsm.crawl = usual


def _smallest(
    table: np.ndarray, accepts: np.ndarray, start: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Join the states from which the same texts fit (Moore's algorithm)."""
    count, groups = 0, accepts.astype(np.int64)
    while groups.max() + 1 > count:  # tell apart by the groups of the next states
        count = int(groups.max()) + 1
        rows = np.column_stack([groups, groups[table]])
        groups = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    groups = (groups - groups[DEAD]) % (int(groups.max()) + 1)
    first = np.unique(groups, return_index=True)[1]
    return groups[table[first]], accepts[first], int(groups[start])


def _plain(expression: str, symbols: Sequence[str]) -> str:
    r"""Return an expression as `interegular` reads it just as Python does.

    To the library ``\w``, ``\d`` and ``\s`` are of ASCII only, so that they are spelled
    out; a ``^`` before and a ``$`` after the whole say nothing here; and what it would
    read in another way is refused.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what may mean more
            re.compile(expression)
    except (re.error, RecursionError, OverflowError) as error:
        wanted = f"a regular expression, but was {shown(expression)}"
        reason = str(error).splitlines()[0]
        raise OptionError(f"`matching` must be {wanted}", reason) from None
    tokens = TOKENS.findall(expression)
    tokens = tokens[tokens[:1] == ["^"] :]
    if tokens[-1:] == ["$"]:
        del tokens[-1]
    bare = "".join(token if len(token) == 1 else "x" for token in tokens)
    if "[^]" in tokens or OTHERWISE_READ.search(bare):
        raise _not_understood(expression)

    def spelled_out(match: re.Match[str]) -> str:
        if match[1] not in CLASSES:
            return match[0]
        return "".join(re.escape(x) for x in symbols if re.fullmatch(match[0], x))

    for number, token in enumerate(tokens):
        if len(token) > 1:
            if token[0] == "\\" and token[1] in CLASSES:
                token = f"[{token}]"
            tokens[number] = re.sub(r"\\(.)", spelled_out, token, flags=re.DOTALL)
    return "".join(tokens)


def _not_understood(expression: str) -> OptionError:
    known = r"characters, classes such as [a-z] and \w, groups, |, *, +, ?, {2,5}, (?i)"
    return OptionError(
        f"`matching` knows {known}, and matches the whole, but was {shown(expression)}"
    )
