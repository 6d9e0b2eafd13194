"""`train` whose saves are often, slow and announced, for `kill_training.py` to kill.

    training_to_kill.py FD OPTIONS…

FD is an open pipe: ``(`` is written to it when a file begins to be written, ``)`` when
it is in its place. What slows down is the one function that writes files and the
renaming after it, so that a kill finds each of their moments.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from textgen.__main__ import start
from textgen.system import files
from textgen.system.process import prepare_process

PIECES, PIECE_S = 20, 0.005  # a file takes a tenth of a second to be written …
RENAME_S = 0.02  # … and each step of putting it in its place some more
write_atomically = files.write_atomically


def slow_write(path, data):
    size = -(-len(data) // PIECES)
    with open(path, "xb", buffering=0) as file:
        for begin in range(0, len(data), size):
            file.write(data[begin : begin + size])
            time.sleep(PIECE_S)
        os.fsync(file.fileno())


def slowly(function):
    def slow(*arguments):
        time.sleep(RENAME_S)
        function(*arguments)

    return slow


def announced(*arguments, **options):
    os.write(pipe, b"(")
    write_atomically(*arguments, **options)
    os.write(pipe, b")")


prepare_process()  # before NumPy: otherwise products are rounded in another way
pipe = int(sys.argv[1])
os.replace, os.link = slowly(os.replace), slowly(os.link)
files._write, files.write_atomically = slow_write, announced
# Whoever uses that function imports it from here on.
from textgen.training import checkpoint

checkpoint.INTERVAL_S, checkpoint.MOST_SHARE = 0.2, 1.0
start("train", sys.argv[2:], "train.py")
