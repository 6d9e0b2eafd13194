"""Complete the beginning of a text; `python generate.py --help` lists the options.

Where the package is installed, this is `textgen generate`.
"""

import sys

from textgen.__main__ import start

if __name__ == "__main__":
    start("generate", sys.argv[1:], prog="generate.py")
