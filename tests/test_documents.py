"""What the documents show, works: blocks of code, commands, examples and notebooks.

A document may say in a comment before a block what is special about it:
`<!-- skip: reason -->` leaves the block out, `<!-- exit: 3 -->` says how its commands end.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [p for p in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if p.is_file()]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
TIMEOUT_S = 300

_FENCE = re.compile(
    r"^(?:<!-- *(?P<note>skip|exit): *(?P<said>[^>]*?) *-->\s*\n)?"
    r"^```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```\s*$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document: its code, where it starts, and what is said about it."""

    language: str
    code: str
    line: int
    exit_code: int = 0


def _blocks(text: str, languages: set[str]) -> Iterator[Block]:
    for match in _FENCE.finditer(text):
        note, said = match["note"], match["said"]
        if note == "skip":
            assert said, "a skipped block gives its reason"
        elif match["language"] in languages:
            line = text.count("\n", 0, match.start("code")) + 1
            code = int(said) if note == "exit" else 0
            yield Block(match["language"], match["code"], line, code)


def _script(text: str) -> str:
    """Join a document's Python, each line where it stands, so that a traceback names its line."""
    lines = [""] * (text.count("\n") + 1)
    for block in _blocks(text, {"python"}):
        code = block.code.splitlines()
        lines[block.line - 1 : block.line - 1 + len(code)] = code
    return "\n".join(lines)


def _commands(block: Block) -> list[str]:
    """Return the lines of a shell block that call this project's command."""
    prompt = "$ " if block.language == "console" else ""
    lines = block.code.replace("\\\n", " ").splitlines()
    return [line.removeprefix(prompt) for line in lines if line.startswith(f"{prompt}scalemodel ")]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """Work in an empty folder, where the packages and the command are those of this checkout."""
    command = tmp_path / "bin" / "scalemodel"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m scalemodel "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("SCALEMODEL_HOME", str(tmp_path / "home"))
    # What is printed depends on neither the terminal nor the size of its window.
    for name, value in {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def _run(command: list[str], cwd: Path, exit_code: int = 0) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == exit_code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_in_a_document_runs_as_one_program(document, elsewhere):
    program = elsewhere.parent / document.with_suffix(".py").name
    program.write_text(_script(document.read_text("utf-8")), encoding="utf-8")
    _run([sys.executable, str(program)], elsewhere)


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_a_document_end_as_it_says(document, elsewhere):
    for block in _blocks(document.read_text("utf-8"), {"bash", "console", "sh"}):
        for command in _commands(block):
            _run(["bash", "-c", command], elsewhere, block.exit_code)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_its_output_file_says(example, elsewhere, golden):
    # An example that measures this machine repeats a recorded measurement when it is asked to.
    replay = ["--replay"] if "--replay" in example.read_text("utf-8") else []
    golden(example.with_suffix(".out"), _run([sys.executable, str(example), *replay], elsewhere))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the notebook machinery, not of this project
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(notebook, elsewhere):
    nbformat = pytest.importorskip("nbformat", reason="the notebook extra is not installed")
    nbclient = pytest.importorskip("nbclient", reason="the notebook extra is not installed")
    cells = nbformat.read(notebook, as_version=4)
    resources = {"metadata": {"path": str(elsewhere)}}
    client = nbclient.NotebookClient(cells, timeout=TIMEOUT_S, resources=resources)
    client.execute()  # raises CellExecutionError, which shows the cell


# --- the reading of documents is itself right --------------------------------------------------

SAMPLE = """\
Text.

```python
x = 1
```

<!-- skip: takes minutes -->
```python
x = "left out"
```

<!-- exit: 3 -->
```console
$ scalemodel predict mlp \\
    --assert 'time_s<0'
some output
```

```python
assert x == 1
```
"""


def test_python_blocks_keep_their_line_numbers_and_share_their_names():
    lines = _script(SAMPLE).splitlines()
    assert lines[3] == "x = 1"
    assert lines[19] == "assert x == 1"
    assert "left out" not in _script(SAMPLE)
    exec(compile("\n".join(lines), "sample", "exec"), {})


def test_commands_are_joined_over_lines_and_say_how_they_end():
    (block,) = _blocks(SAMPLE, {"console"})
    assert block.exit_code == 3
    assert _commands(block) == ["scalemodel predict mlp      --assert 'time_s<0'"]


def test_a_skipped_block_without_a_reason_is_refused():
    with pytest.raises(AssertionError, match="reason"):
        list(_blocks("<!-- skip: -->\n```python\nx = 1\n```\n", {"python"}))


def test_every_example_has_its_output_file():
    assert [path.name for path in EXAMPLES if not path.with_suffix(".out").is_file()] == []
