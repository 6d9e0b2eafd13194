"""What XLA compiles is element-wise, all of it."""

import re
from pathlib import Path

import tensorflow as tf

from textgen.modeling import lstm as recurrent
from textgen.modeling import ops as elementwise
from textgen.modeling import ops as output_layer

PACKAGE = Path(elementwise.__file__).parent

# What XLA leaves to libraries, in which it has crashed (docs/experiments.md).
NOT_ELEMENT_WISE = re.compile(r" (reduce|reduce-window|dot|convolution|sort|while)\(")


def compiled_functions():
    """The compiled functions of all modules that have any, with arguments for them."""
    x = tf.ones([4, 3])
    bits, gates = tf.zeros([4, 3], tf.uint16), tf.ones([4, 12])
    wide, ids, row = tf.cast(gates, tf.bfloat16), tf.zeros([4], tf.int32), tf.ones([4])
    h = wide[:, :3]
    return {
        recurrent: {
            "_cell": (wide, wide, tf.ones([12]), x),
            "_cell_gradient": (gates, x, x, h, h, x),
        },
        output_layer: {
            "_powers": (x, x[:, :1]),
            "_logits_gradient": (x, x[:, :1], ids, row),
            "_mask": (x, bits, 0.5),
        },
    }


def compiled_in(code):
    """The names of a module's compiled functions, of which none is made otherwise."""
    names = re.findall(r"^@elementwise\ndef (\w+)", code, re.M)
    uses = re.findall(r"^(?!from |import |elementwise = ).*\belementwise\b", code, re.M)
    assert len(uses) == len(names)
    return set(names)


def test_neither_sums_nor_products_are_compiled():
    functions = compiled_functions()
    found = {path.stem: compiled_in(path.read_text()) for path in PACKAGE.glob("*.py")}
    assert {stem: names for stem, names in found.items() if names} == {
        module.__name__.removeprefix("textgen.modeling."): set(names)
        for module, names in functions.items()
    }
    for module, names in functions.items():
        for name, arguments in names.items():
            lowered = getattr(module, name).experimental_get_compiler_ir(*arguments)
            hlo = lowered(stage="hlo")
            assert "multiply(" in hlo or "exponential(" in hlo
            assert not NOT_ELEMENT_WISE.search(hlo), name


def test_nothing_is_compiled_in_another_way():
    using = [x.name for x in PACKAGE.glob("*.py") if "jit_compile" in x.read_text()]
    assert using == ["ops.py"]
