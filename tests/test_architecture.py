"""The shape of the code: what may import what, sizes, docstrings, tests."""

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "textgen"
TESTS = ROOT / "tests"

# A module imports only from those before it. From `model` on they may import
# TensorFlow, which takes seconds; before it nothing does.
ORDER = (
    "errors",
    "checks",
    "config",
    "process",
    "processor",
    "terminal",
    "config_options",
    "quiet_import",
    "vocabulary",
    "text_file",
    "corpus",
    "permutation",
    "line_bounds",
    "window_batch",
    "windows",
    "metrics",
    "sampling",
    "network",
    "activations",
    "recurrence",
    "aligned",
    "lstm_stack",
    "mixed_stack",
    "stepper",
    "blas_threads",
    "contents",
    "user_block",
    "hdf5_contents",
    "reader_child",
    "reader_process",
    "keras_settings",
    "keras_config",
    "keras_weights",
    "keras_layers",
    "keras_file",
    "trained_model",
    "atomic_file",
    "model_file",
    "find_model",
    "generation",
    "lanes",
    "batch",
    "batch_generation",
    "printing",
    "interactive",
    "evaluation",
    "held_out",
    "schedule",
    "sizing",
    "interrupt",
    "checkpoint",
    "output",
    "recipe",
    "lock",
    "autosave",
    "resume",
    "preparation",
    "model",
    "record",
    "elementwise",
    "dropout",
    "recurrent",
    "output_layer",
    "forward",
    "optimizer",
    "memory",
    "train_step",
    "training",
    "progress",
    "start",
    "pipeline",
)
ALONE = "numpy_rnn"  # the graded baseline: imports nothing of the package, nor is it
SLOW_IMPORTS = {"tensorflow", "keras", "rich", "torch"}
# Only to save a model, and whoever has one to save has imported Keras.
KERAS_SAVER = "keras.src.legacy.saving.legacy_h5_format"
MAX_LINES = 320
LONGER = {"numpy_rnn": "one exercise, whose functions and names are given"}
TESTED_ELSEWHERE = {
    "config_options": "test_config.py",
    "batch": "test_generation.py",
    "batch_generation": "test_generation.py",
    "checks": "test_config.py",
    "errors": "test_terminal.py",
    "activations": "test_keras_file.py",
    "contents": "test_model_file.py",
    "hdf5_contents": "test_hostile_files.py",
    "keras_config": "test_keras_file.py",
    "keras_layers": "test_keras_file.py",
    "keras_settings": "test_keras_file.py",
    "keras_weights": "test_keras_file.py",
    "lstm_stack": "test_stepper.py",
    "mixed_stack": "test_keras_file.py",
    "network": "test_stepper.py",
    "reader_child": "test_reader_process.py",
    "recurrence": "test_stepper.py",
    "trained_model": "test_keras_file.py",
    "user_block": "test_model_file.py",
    "printing": "test_generate_cli.py",
    "preparation": "test_pipeline.py",
    "record": "test_pipeline.py",
    "start": "test_pipeline.py",
}
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def tree_of(name: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{name}.py").read_text())


def imported(tree: ast.AST) -> set[str]:
    """Return the dotted names of all modules imported anywhere in a tree."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute, so that they can be read"
            if node.module == "textgen":
                names |= {f"textgen.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    return names


def imported_modules(name: str) -> set[str]:
    """Return the modules of the package that a module of it imports."""
    names = [dotted.split(".") for dotted in imported(tree_of(name))]
    return {parts[1] for parts in names if parts[0] == "textgen" and len(parts) > 1}


def test_the_order_names_every_module_once():
    assert sorted((*ORDER, ALONE)) == MODULES, "give a new module its place in ORDER"


@pytest.mark.parametrize("name", ORDER)
def test_imports_go_one_way(name):
    above = set(ORDER[: ORDER.index(name)])
    assert imported_modules(name) <= above


@pytest.mark.parametrize("name", ORDER[: ORDER.index("model")])
def test_nothing_slow_is_imported_before_the_model(name):
    names = imported(tree_of(name))
    if name == "model_file":
        names -= {KERAS_SAVER}
    assert not {dotted.split(".")[0] for dotted in names} & SLOW_IMPORTS


def test_the_baseline_stands_alone():
    packages = {dotted.split(".")[0] for dotted in imported(tree_of(ALONE))}
    assert packages - set(sys.stdlib_module_names) == {"numpy"}
    others = [*MODULES, "__init__"]
    assert not [name for name in others if ALONE in imported_modules(name)]
    for script in ("train.py", "generate.py"):
        assert ALONE not in (ROOT / script).read_text()


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_short_enough_to_read(name):
    if name not in LONGER:
        assert len((PACKAGE / f"{name}.py").read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("script", ["train.py", "generate.py"])
def test_scripts_only_parse_call_and_report(script):
    assert len((ROOT / script).read_text().splitlines()) < 100


def public_parts(body: list[ast.stmt], prefix: str = "") -> list[tuple[str, ast.AST]]:
    """Return functions, classes and methods whose names begin with a letter."""
    parts = []
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_"):
                continue
            parts.append((prefix + node.name, node))
            if isinstance(node, ast.ClassDef):
                parts += public_parts(node.body, f"{prefix}{node.name}.")
    return parts


@pytest.mark.parametrize("name", [*MODULES, "__init__"])
def test_everything_public_has_a_docstring(name):
    tree = tree_of(name)
    assert ast.get_docstring(tree)
    parts = public_parts(tree.body)
    assert not [part for part, node in parts if not ast.get_docstring(node)]


WITH_EXAMPLES = [x for x in MODULES if ">>>" in (PACKAGE / f"{x}.py").read_text()]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings_are_true(name):
    module = importlib.import_module(f"textgen.{name}")
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_its_tests(name):
    own = TESTS / f"test_{name}.py"
    elsewhere = TESTS / TESTED_ELSEWHERE.get(name, own.name)
    assert own.exists() != (name in TESTED_ELSEWHERE), "one place or the other"
    assert "def test_" in elsewhere.read_text()


def modules_after(statement: str) -> set[str]:
    """Return what is imported once a fresh interpreter has run a statement."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_the_package_itself_imports_nothing_of_its_own():
    loaded = modules_after("import textgen; dir(textgen)")
    assert {name for name in loaded if name.startswith("textgen")} == {"textgen"}


def test_completing_needs_no_tensorflow():
    loaded = modules_after(
        "import textgen, textgen.generation\n"
        "textgen.generate_output, textgen.stream_output, textgen.load_model"
    )
    assert "textgen.generation" in loaded
    assert not loaded & SLOW_IMPORTS
    assert "textgen.pipeline" not in loaded


def test_the_exports_are_what_they_say():
    import textgen
    from textgen import generation, model_file, pipeline

    assert textgen.generate_output is generation.generate_output
    assert textgen.stream_output is generation.stream_output
    assert textgen.load_model is model_file.load_model
    assert textgen.train is pipeline.train
    assert set(textgen.__all__) <= set(dir(textgen))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = textgen.trian
