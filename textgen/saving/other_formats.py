"""Files that hold a model and can't be read here: what they are, and what to do."""

from __future__ import annotations

from textgen.errors import ModelFileError

SAVE_WHOLE = "save it whole by model.save('model.keras')"
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
# The number that PyTorch began its pickles with, before it wrote zip files.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
HEAD_BYTES = 4096
ZIP_SIGNATURE = b"PK\x03\x04"


def _refusal(what: str, advice: str) -> ModelFileError:
    problem = f"expected a whole Keras model (.keras or .h5), but received {what}"
    return ModelFileError(problem, advice)


def other_format(head: bytes) -> ModelFileError | None:
    """Return the error for a file that begins so, if it is known to be no model."""
    name_bytes = int.from_bytes(head[26:28], "little")
    first_entry = head[30 : 30 + name_bytes] if head.startswith(ZIP_SIGNATURE) else b""
    torch_entries = (b"data.pkl", b"/.format_version", b"/byteorder", b"/version")
    if head.startswith(_OLD_TORCH) or first_entry.endswith(torch_entries):
        advice = "copy its weights into a Keras model of the same layers, and "
        return _refusal("a file of PyTorch", advice + SAVE_WHOLE)
    if head.startswith(_PICKLES):
        advice = "where you trust it, load it with the program that wrote it, and "
        what = "a Python pickle, which can run any program when it is opened"
        return _refusal(what, advice + SAVE_WHOLE)
    if head.startswith(b"\x93NUMPY") or first_entry.endswith(b".npy"):
        return _refusal(
            "arrays of NumPy", f"set a Keras model's weights, and {SAVE_WHOLE}"
        )
    return None


def weights_alone() -> ModelFileError:
    """Return the error for weights that no description says anything of."""
    advice = "build the model as its program does, call model.load_weights, and "
    return _refusal("weights alone (.weights.h5)", advice + SAVE_WHOLE)


def saved_model() -> ModelFileError:
    """Return the error for a folder that TensorFlow wrote."""
    advice = "load it with the Keras that wrote it, keras.models.load_model, and "
    return _refusal("a SavedModel folder", advice + SAVE_WHOLE)
