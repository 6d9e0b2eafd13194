"""The text of a conversation, and the files that it was saved in."""

from __future__ import annotations

import os
from pathlib import Path

from textgen.errors import OptionError, OutputError, shown_path
from textgen.system.files import write_atomically


class Text:
    """A beginning and what followed it, piece by piece; empty before the first one."""

    def __init__(self) -> None:
        self.number = 0  # of its beginning, in this conversation
        self.has_ended = False  # whether nothing can follow it
        self._pieces: list[str] = []
        self._others: list[str] = []  # what might stand in place of the last piece

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def __str__(self) -> str:
        return "".join(self._pieces)

    def begin(self, beginning: str) -> None:
        """Forget what there is, and begin anew."""
        self._pieces, self._others = [beginning], []
        self.number, self.has_ended = self.number + 1, False

    def restart(self) -> None:
        """Keep only the beginning."""
        self._pieces, self._others, self.has_ended = self._pieces[:1], [], False

    def add(self, *pieces: str, ends: bool = False) -> None:
        """Go on with the last of some pieces; the others may be taken instead."""
        self._pieces.append(pieces[-1])
        self._others, self.has_ended = list(pieces), ends

    def take(self, number: int) -> None:
        """Put another one of the pieces that were added together in the last's place.

        Raises:
            OptionError: unless so many pieces were added together.
        """
        most = len(self._others)
        if not 1 <= number <= most:
            had = f"1 to {most}" if most > 1 else "only one"
            raise OptionError(
                f"of the last completions there is no {number}, but {had}"
            )
        self._pieces[-1], self._others = self._others[number - 1], []

    def undo(self) -> None:
        """Take the last piece back.

        Raises:
            OptionError: if there is nothing but the beginning.
        """
        if len(self._pieces) < 2:
            raise OptionError("there is nothing to take back; write a beginning")
        self._pieces.pop()
        self._others, self.has_ended = [], False

    def versions(self) -> list[str]:
        """Return the text, once for each of the pieces that were added together."""
        before = "".join(self._pieces[:-1])
        return [before + piece for piece in self._others or self._pieces[-1:]]


class SavedTexts:
    """The files that a conversation has written, and what is in them.

    A file holds each text that was saved in it; one that has changed is replaced.
    """

    def __init__(self) -> None:
        self._texts: dict[Path, dict[int, str]] = {}  # by the numbers of the texts
        self._written: dict[Path, bytes] = {}

    def save(self, name: str, text: Text, between: str) -> Path:
        """Write a text to a file, ``between`` it and others; return the path.

        Raises:
            OutputError: if there is a file that this conversation didn't write, or
                that was changed since, or if it can't be written.
        """
        try:
            path = Path(os.path.realpath(os.path.expanduser(name)))
            is_other = os.path.lexists(path) and not self._is_own(path)
        except ValueError:  # it holds a zero byte
            raise OutputError(f"{shown_path(name)} is no name of a file") from None
        if is_other:
            problem = f"{shown_path(name)} holds something else already"
            raise OutputError(problem, "choose another name")
        versions = between.join(f"{version}\n" for version in text.versions())
        texts = self._texts.get(path, {}) | {text.number: versions}
        data = between.join(texts.values()).encode("utf-8", "surrogateescape")
        try:
            write_atomically(data, path)
        except OutputError as error:
            raise OutputError(error.problem, "choose another place") from error
        self._texts[path], self._written[path] = texts, data
        return path

    def _is_own(self, path: Path) -> bool:
        try:
            return path in self._written and path.read_bytes() == self._written[path]
        except OSError:
            return False
