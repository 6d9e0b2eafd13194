"""The notebook docs/tour.ipynb: it runs, and shows what such a run gives."""

from pathlib import Path

import nbformat
import pytest

TOUR = Path(__file__).parents[1] / "docs" / "tour.ipynb"
MOST_BYTES = 150_000
PARAMETERS = "ITERATIONS = 1\nSTEPS = 2"
SMALLER = {
    'STEPS, output=folder / "dinos.h5"': 'STEPS, output=folder / "dinos.h5", units=8',
    '"units": 128, "seq_length": 64': '"units": 8, "seq_length": 8',
    '"sonnet", first': '"couplet", first',  # sonnets are those of the documents' tests
}


@pytest.fixture(scope="module")
def tour():
    return nbformat.read(TOUR, as_version=4)


def code_cells(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def test_its_outputs_are_there_and_small(tour):
    cells = code_cells(tour)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [each for cell in cells for each in cell.outputs if is_noise(each)]
    assert TOUR.stat().st_size < MOST_BYTES
    assert "/" not in tour.metadata.kernelspec.display_name


def is_noise(output):
    """Tell an error, or what libraries say on standard error."""
    return output.output_type == "error" or output.get("name") == "stderr"


@pytest.mark.slow
def test_each_cell_runs_and_shows_what_it_showed(tour):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("pronouncing")
    before = [shown(cell) for cell in code_cells(tour)]
    code_cells(tour)[0].source = PARAMETERS
    for long, short in SMALLER.items():
        (cell,) = (cell for cell in code_cells(tour) if long in cell.source)
        cell.source = cell.source.replace(long, short)
    client = nbclient.NotebookClient(
        tour, timeout=120, resources={"metadata": {"path": str(TOUR.parent)}}
    )
    client.execute()
    assert [shown(cell) for cell in code_cells(tour)] == before


def shown(cell):
    """Return the kinds of what a cell shows, as a page or a picture or text."""
    return {kind for each in cell.outputs for kind in each.get("data", {"text": ""})}
