"""A small interpreter of its own in which the HDF5 library reads files of others.

`textgen.saving.sandbox` starts it as

    python -I -S sandbox_worker.py FOLDER…      where textgen, NumPy and h5py are

It reads paths from standard input, one a line, in hexadecimal. For each it writes to
standard output one line of JSON and then what that line announces, bytes after bytes:

    {"error": …}                              one line for people, and nothing more
    {"limited": …, "hashed": …, "keras_version": …, "texts": [bytes of the description,
     bytes of the metadata, if any], "layers": [[name, [shape, …]], …]}

the two texts in UTF-8, and the arrays as little-endian float32. Before it opens a file
it limits its own address space and processor time; the wall clock is watched by the
parent. A file that makes HDF5 crash, hang or swell ends this process and nothing else.
"""

from __future__ import annotations

import json
import os
import sys

CPU_S = 10
MEMORY_BYTES = 512 << 20  # of address space, and so many times the file's size:
MEMORY_PER_BYTE = 6

_TOO_LARGE = (
    "expected a model that can be read in the memory of its file's size, but it needs "
    "more: use another file"
)


def main(folders: list[str]) -> None:
    """Answer each line of standard input.

    Args:
        folders: where to import from, and nowhere else but the standard library.
    """
    sys.path[:0] = folders
    # Now, while nothing is limited and nothing of others has been read.
    from textgen.errors import ModelFileError
    from textgen.saving.container import checked_hdf5
    from textgen.saving.hdf5 import read_contents

    for line in sys.stdin.buffer:
        try:
            with open(bytes.fromhex(line.decode("ascii")), "rb") as file:
                limited = _limit(os.fstat(file.fileno()).st_size)
                data = file.read()
            hdf5 = checked_hdf5(data)
            parts = _announced(read_contents(hdf5), limited, len(hdf5) < len(data))
        except ModelFileError as error:
            parts = [_json_line({"error": str(error)})]
        except MemoryError:
            parts = [_json_line({"error": _TOO_LARGE})]
        sys.stdout.buffer.writelines(parts)
        sys.stdout.buffer.flush()


def _limit(file_bytes: int) -> bool:
    """Limit memory and processor time; return False where that can't be had."""
    try:
        import resource
    except ImportError:
        return False
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = int(usage.ru_utime + usage.ru_stime) + CPU_S
    memory = MEMORY_BYTES + MEMORY_PER_BYTE * file_bytes
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
    }
    try:
        for limit, most in limits.items():
            _, hardest = resource.getrlimit(limit)
            if hardest != resource.RLIM_INFINITY:
                most = min(most, hardest)
            resource.setrlimit(limit, (most, hardest))
    except (ValueError, OSError):
        return False
    return True


def _announced(contents, limited: bool, hashed: bool) -> list:
    """Return the line that says what follows, and what follows."""
    texts = [contents.config.encode()]
    if contents.metadata is not None:
        texts.append(contents.metadata.encode())
    layers = [
        [name, [array.shape for array in arrays]]
        for name, arrays in contents.weights.items()
    ]
    header = {
        "limited": limited,
        "hashed": hashed,
        "keras_version": contents.keras_version,
        "texts": [len(text) for text in texts],
        "layers": layers,
    }
    arrays = [array for arrays in contents.weights.values() for array in arrays]
    return [_json_line(header), *texts, *(array.data.cast("B") for array in arrays)]


def _json_line(value) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"


if __name__ == "__main__":
    main(sys.argv[1:])
