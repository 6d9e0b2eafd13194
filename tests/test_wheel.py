"""The wheel: installed elsewhere, its command completes a prompt."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Return the folder into which a wheel of the program was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    build = [*pip, "wheel", *offline, "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "installed"
    subprocess.run([*pip, "install", *offline, "--target", target, wheel], check=True)
    return target


def run_installed(installed, *command) -> str:
    """Run a command elsewhere, with the installed package before all others."""
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=installed.parent,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        encoding="utf-8",
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_its_command_completes_a_prompt(installed):
    import textgen

    command = (installed / "bin" / "textgen", "generate", "--length", 20)
    command = (*command, "--prompt", "Shall I ")
    assert re.fullmatch("(?s)Shall I .{20}\n", run_installed(installed, *command))
    names = run_installed(installed, *command[:2], "--corpus", "dinos", "--count", "3")
    assert len(set(names.splitlines())) == 3
    version = run_installed(installed, *command[:1], "--version")
    assert version == f"textgen {textgen.__version__}\n"


def test_what_pages_are_made_of_comes_with_it(installed):
    (installed.parent / "text.txt").write_text("Shall I compare thee?\n")
    command = (installed / "bin" / "textgen", "evaluate", "sonnets", "text.txt")
    written = run_installed(installed, *command, "--surprise", "--html", "page.html")
    page = (installed.parent / written.strip()).read_text(encoding="utf-8")
    assert "Shall I compare thee?" in page


def test_the_servers_page_comes_with_it(installed):
    code = (
        "from textgen.web.page import FILES, static_file\n"
        "print(all(static_file(name).content for name in FILES))"
    )
    assert run_installed(installed, "-c", code) == "True\n"


def test_it_holds_the_package_and_its_assets_and_nothing_else(installed):
    code = "import textgen; print(textgen.__file__); textgen.load_corpus('shakespeare')"
    found = run_installed(installed, "-c", code)
    assert Path(found.strip()) == installed / "textgen" / "__init__.py"
    assert (installed / "textgen" / "py.typed").exists()
    top = {path.name for path in installed.iterdir()}
    assert {name for name in top if "dist-info" not in name} == {"bin", "textgen"}
