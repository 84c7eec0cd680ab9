r"""Make the notebook of an example: `python make_notebook.py 01_amdahl.py` writes 01_amdahl.ipynb.

A line `# %%` begins a cell, `# %% [markdown]` one of text, `# %% [notebook]` one whose code the
script has as a comment, `# %% [script]` one that the notebook leaves out.
"""

import json
import re
import sys
from pathlib import Path

_MARKER = re.compile(r"^# %%(?: \[(markdown|notebook|script)\])?\n", re.MULTILINE)


def notebook_of(source: str) -> str:
    """Return the notebook of a script, as JSON (nbformat 4.5); its docstring is the first cell."""
    opening, *rest = _MARKER.split(source)
    cells = [("markdown", _from_docstring(opening))]
    for kind, body in zip(rest[::2], rest[1::2], strict=True):
        if kind == "markdown":
            cells.append(("markdown", _from_comment(body)))
        elif kind != "script":
            cells.append(("code", _from_comment(body) if kind else body.strip("\n")))
    document = {
        "cells": [_cell(number, *cell) for number, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _from_docstring(opening: str) -> str:
    title, _, body = opening.strip().strip('"').partition("\n")
    return f"# {title}\n{body}".strip("\n")


def _from_comment(body: str) -> str:
    return "\n".join(re.sub("^# ?", "", line) for line in body.strip("\n").splitlines())


def _cell(number: int, kind: str, text: str) -> dict[str, object]:
    ran = {"execution_count": None, "outputs": []} if kind == "code" else {}
    lines = text.splitlines(keepends=True)
    return {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, **ran, "source": lines}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        script = Path(name)
        notebook = script.with_suffix(".ipynb")
        notebook.write_text(notebook_of(script.read_text("utf-8")), encoding="utf-8")
        print(notebook)
