"""A notebook is made from its example's script, and nothing else."""

import importlib.util
import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))

SCRIPT = '''\
"""Why is the sky blue?

It is not.
"""

# %%
import math

# %% [markdown]
# ## A title
#
# Text.

# %% [script]
steps = int(input())

# %% [notebook]
# steps = 3
# %matplotlib inline

# %%
for _ in range(steps):
    print(math.pi)
'''


@pytest.fixture(scope="module")
def notebook_of():
    spec = importlib.util.spec_from_file_location("make_notebook", EXAMPLES / "make_notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.notebook_of


def _cells(text):
    return [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_is_what_its_script_gives(notebook, notebook_of, golden):
    golden(notebook, notebook_of(notebook.with_suffix(".py").read_text("utf-8")))


def test_there_is_a_notebook_of_the_first_example():
    assert "01_amdahl" in [notebook.stem for notebook in NOTEBOOKS]


def test_cells_are_text_code_of_both_or_code_of_one(notebook_of):
    assert _cells(notebook_of(SCRIPT)) == [
        ("markdown", "# Why is the sky blue?\n\nIt is not."),
        ("code", "import math"),
        ("markdown", "## A title\n\nText."),
        ("code", "steps = 3\n%matplotlib inline"),
        ("code", "for _ in range(steps):\n    print(math.pi)"),
    ]


def test_a_notebook_is_valid_and_holds_no_outputs(notebook_of):
    nbformat = pytest.importorskip("nbformat", reason="the notebook extra is not installed")
    read = nbformat.reads(notebook_of(SCRIPT), as_version=4)
    nbformat.validate(read)
    assert all(not cell.get("outputs") for cell in read.cells)
    assert len({cell["id"] for cell in read.cells}) == len(read.cells)
