"""train.py whose saves are often, slow and announced, for `kill_training.py` to kill.

    training_to_kill.py FD OPTIONS…

FD is an open pipe: ``(`` is written to it when a file begins to be written, ``)`` when
it is in its place. The slowness is in the one function that writes files and in the
renaming after it, so that a kill finds each of their moments.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from textgen.system import files as atomic_file
from textgen.system.process import prepare_process

PIECES = 20
PIECE_S = 0.005  # a file takes a tenth of a second to be written …
RENAME_S = 0.02  # … and each step of putting it in its place some more

write_atomically = atomic_file.write_atomically


def slow_write(path, data):
    size = -(-len(data) // PIECES)
    with open(path, "xb", buffering=0) as file:
        for start in range(0, len(data), size):
            file.write(data[start : start + size])
            time.sleep(PIECE_S)
        os.fsync(file.fileno())


def slowly(function):
    def slow(*arguments):
        time.sleep(RENAME_S)
        function(*arguments)

    return slow


def announced(pipe):
    def write(*arguments, **options):
        os.write(pipe, b"(")
        write_atomically(*arguments, **options)
        os.write(pipe, b")")

    return write


def main():
    prepare_process()  # as train.py: other products are rounded in another way
    _, pipe, *options = sys.argv
    os.replace, os.link = slowly(os.replace), slowly(os.link)
    atomic_file._write = slow_write
    atomic_file.write_atomically = announced(int(pipe))
    # Whoever uses that function imports it from here on.
    from textgen.__main__ import start
    from textgen.training import checkpoint as autosave

    autosave.INTERVAL_S, autosave.MOST_SHARE = 0.2, 1.0

    start("train", options, "train.py")


if __name__ == "__main__":
    main()
