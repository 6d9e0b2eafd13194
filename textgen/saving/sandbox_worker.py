"""A small interpreter of its own, in which the HDF5 library reads a stranger's file.

`textgen.saving.sandbox` starts it as

    python -I -S sandbox_worker.py FOLDER…      where textgen, NumPy and h5py are

When it has imported what it needs it writes one byte. Then it reads the file's path,
which is all of standard input, limits its own memory and processor time, opens the
file, and answers with

    8 bytes      the length of the header, most significant byte first
    the header   JSON: {"error": [problem, advice]}, or
                 {"config": …, "keras_version": …, "metadata": …, "hashed": …,
                  "layers": [[name, [shape, …]], …], "unlimited": [what isn't, …]}
    the rest     the arrays one after the other, as float32, little-endian

The parent watches the wall clock. A file that makes HDF5 crash, loop or take all
memory ends this process and nothing else.
"""

from __future__ import annotations

import json
import sys

CPU_S = 10
# Of address space: the libraries, and the largest model (`textgen.saving.hdf5`).
MEMORY_BYTES = 800 << 20
TOO_LARGE = "expected a model that can be read in 1 GB of memory, but it needs more"


def main(folders: list[str]) -> None:
    """Import from ``folders``, read the file that standard input names, and answer."""
    sys.path[:0] = folders
    # Now, while nothing is limited and nothing of a stranger has been read.
    from textgen.errors import ModelFileError
    from textgen.saving.contents import read_contents

    out = sys.stdout.buffer
    out.write(b"\n")
    out.flush()
    path = sys.stdin.buffer.read()
    if not path:  # the parent doesn't need us any more
        return
    arrays = []
    try:
        with open(path, "rb") as file:
            unlimited = limit_resources()
            contents = read_contents(file)
        layers = contents.weights
        arrays = [array for name in layers for array in layers[name]]
        answer = {
            "config": contents.config,
            "keras_version": contents.keras_version,
            "metadata": contents.metadata,
            "hashed": contents.hashed,
            "layers": [[name, [x.shape for x in layers[name]]] for name in layers],
            "unlimited": unlimited,
        }
    except ModelFileError as error:
        answer = {"error": [error.problem, error.advice]}
    except MemoryError:
        answer = {"error": [TOO_LARGE, "use another file"]}
    header = json.dumps(answer).encode()
    out.write(len(header).to_bytes(8) + header)
    for array in arrays:
        out.write(array.data)


def limit_resources() -> list[str]:
    """Limit what this process may take; return what can't be limited."""
    try:
        import resource
    except ImportError:  # Windows
        return ["memory", "processor time"]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limits = {
        "memory": ("RLIMIT_AS", MEMORY_BYTES),
        "processor time": ("RLIMIT_CPU", int(usage.ru_utime + usage.ru_stime) + CPU_S),
        "core dumps": ("RLIMIT_CORE", 0),
        "written files": ("RLIMIT_FSIZE", 0),
    }
    unlimited = []
    for what, (name, most) in limits.items():
        try:
            limit = getattr(resource, name)
            _, hardest = resource.getrlimit(limit)
            if hardest != resource.RLIM_INFINITY:
                most = min(most, hardest)
            resource.setrlimit(limit, (most, hardest))
        except (AttributeError, ValueError, OSError):  # macOS refuses some
            unlimited.append(what)
    return unlimited


if __name__ == "__main__":
    main(sys.argv[1:])
