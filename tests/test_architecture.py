"""The shape of the code: which package may import which; examples in docstrings."""

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "textgen"

# A module imports only from its own package and from those before it. The top-level
# modules `errors` and `config` stand in this order as packages do.
ORDER = ("errors", "system", "config", "data", "inference", "saving", "generation",
         "evaluation", "modeling", "training", "web", "cli")  # fmt: skip
BEFORE_TENSORFLOW = ORDER[: ORDER.index("modeling")]
ALONE = "numpy_rnn"  # the graded baseline: imports nothing of the package, nor is it
SLOW_IMPORTS = {"tensorflow", "keras", "rich", "torch"}


# The trees of all modules by their names below `textgen`: ``data.windows``, say.
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(
        path.read_text()
    )
    for path in sorted(PACKAGE.rglob("*.py"))
    if "assets" not in path.parts
}
ROOMS = [name for name in MODULES if name.split(".")[0] in ORDER]


def imported(tree: ast.AST) -> set[str]:
    """Return the dotted names of all modules imported anywhere in a tree."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute, so that they can be read"
            if node.module.split(".")[0] == "textgen":
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            names.add(node.module)
    return names


def imported_modules(name: str) -> set[str]:
    """Return the package's modules that one of them imports, without `textgen.`."""
    ours = {dotted.removeprefix("textgen.") for dotted in imported(MODULES[name])}
    return ours & set(MODULES) - {name}


def test_the_top_is_a_short_list():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages <= set(ORDER)
    assert len(packages) <= 10
    assert len(list(PACKAGE.glob("*.py"))) <= 6, "five modules and __main__"


@pytest.mark.parametrize("name", ROOMS)
def test_imports_follow_the_order_of_packages(name):
    here = ORDER.index(name.split(".")[0])
    for other in imported_modules(name):
        assert ORDER.index(other.split(".")[0]) <= here, f"{name} imports {other}"


def test_no_imports_close_a_circle():
    left = {name: imported_modules(name) for name in MODULES}
    while left:
        free = {name for name, needed in left.items() if not needed & set(left)}
        assert free, f"these import each other in a circle: {sorted(left)}"
        left = {name: needed for name, needed in left.items() if name not in free}


@pytest.mark.parametrize(
    "name", [name for name in ROOMS if name.split(".")[0] in BEFORE_TENSORFLOW]
)
def test_nothing_slow_is_imported_before_modeling(name):
    body = [
        node for node in MODULES[name].body if not isinstance(node, ast.FunctionDef)
    ]
    names = imported(ast.Module(body, []))
    assert not {dotted.split(".")[0] for dotted in names} & SLOW_IMPORTS


@pytest.mark.parametrize("package", [x for x in ORDER if (PACKAGE / x).is_dir()])
def test_a_package_imports_nothing(package):
    tree = MODULES[f"{package}.__init__"]
    assert not imported(tree), "NumPy must not come before the threads are settled"


def test_the_baseline_stands_alone():
    packages = {dotted.split(".")[0] for dotted in imported(MODULES[ALONE])}
    assert packages - set(sys.stdlib_module_names) == {"numpy"}
    assert not [name for name in MODULES if ALONE in imported_modules(name)]


WITH_EXAMPLES = [
    name
    for name in MODULES
    if ">>>" in (PACKAGE / name.replace(".", "/")).with_suffix(".py").read_text()
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings_are_true(name):
    result = doctest.testmod(importlib.import_module(f"textgen.{name}"))
    assert result.attempted > result.failed == 0


def modules_after(statement: str) -> set[str]:
    """Return what is imported once a fresh interpreter has run a statement."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_a_name_of_the_package_is_imported_when_it_is_used():
    loaded = modules_after("import textgen; dir(textgen)")
    assert {name for name in loaded if name.startswith("textgen")} == {"textgen"}
    loaded = modules_after(
        "from textgen import generate_many, generate_output, load_model, load_corpus"
    )
    assert "textgen.generation.streaming" in loaded
    assert not loaded & SLOW_IMPORTS
    assert not [name for name in loaded if name.startswith("textgen.training")]


def test_the_names_of_the_package_are_all_there_and_editors_see_them():
    import textgen

    assert dir(textgen) == sorted(textgen.__all__)
    for name in textgen.__all__:
        assert getattr(textgen, name) is not None
    seen = {
        alias.asname: node.module
        for node in ast.walk(MODULES["__init__"])
        if isinstance(node, ast.ImportFrom) and node.module.startswith("textgen.")
        for alias in node.names
    }
    assert seen == textgen._HOMES
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = textgen.trian
