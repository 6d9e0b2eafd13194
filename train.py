"""Train a text generator; `python train.py --help` lists the options.

Where the package is installed, this is `textgen train`.
"""

import sys

from textgen.__main__ import start

if __name__ == "__main__":
    start("train", sys.argv[1:], prog="train.py")
