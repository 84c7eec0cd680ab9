"""The shape of the code, as ARCHITECTURE.md and CONTRIBUTING.md promise it."""

from __future__ import annotations

import ast
import graphlib
import io
import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("simulator", "hwmodels", "workloads", "validation", "scalemodel")
# Slow to import: with them at module top the command's cold start would be five times as long.
HEAVY = {"torch", "pandas", "networkx", "scipy", "matplotlib"}
FORBIDDEN_CLASS = re.compile(r"Manager|Handler|Helper|^_?Base")
FORBIDDEN_MODULES = {"utils", "util", "common", "core", "helper", "helpers", "base", "manager"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.ENCODING,
}


@dataclass(frozen=True)
class Module:
    """One source file, parsed."""

    path: Path

    @cached_property
    def source(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def where(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def name(self) -> str:
        return self.where.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def code_lines(self) -> frozenset[int]:
        """Line numbers that carry code: no blank, no comment, no docstring."""
        tokens = tokenize.generate_tokens(io.StringIO(self.source).readline)
        lines = {
            line
            for token in tokens
            if token.type not in NOT_CODE
            for line in range(token.start[0], token.end[0] + 1)
        }
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Module | Definition) and ast.get_docstring(node):
                lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        return frozenset(lines)

    @cached_property
    def definitions(self) -> list[tuple[str, bool, Definition]]:
        """(place, public, node) of every class and function that stands in no function."""
        return [
            (f"{self.where}:{node.lineno} {name}", public, node)
            for name, public, node in _definitions(self.tree.body)
        ]

    def body_lines(self, node: Definition) -> int:
        """Lines of code in a function's body."""
        return sum(
            line in self.code_lines
            for line in range(node.body[0].lineno, (node.end_lineno or 0) + 1)
        )

    @property
    def imports_when_loaded(self) -> set[str]:
        """Dotted names that importing this module imports: 'a.b', and 'a.b.c' of `from a.b`."""
        return set(_imports(self.tree.body))


def _definitions(
    body: list[ast.stmt], owner: str = "", public: bool = True
) -> Iterator[tuple[str, bool, Definition]]:
    for node in body:
        if isinstance(node, Definition):
            shown = public and not node.name.startswith("_")
            yield owner + node.name, shown, node
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body, f"{owner}{node.name}.", shown)
        else:
            for part in _parts(node):
                yield from _definitions(part, owner, public)


def _parts(node: ast.stmt) -> list[list[ast.stmt]]:
    """Return the statement lists inside an if, try or with."""
    handlers = [handler.body for handler in getattr(node, "handlers", [])]
    return [getattr(node, name, []) for name in ("body", "orelse", "finalbody")] + handlers


def _imports(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _imports(node.orelse)
        elif not isinstance(node, FUNCTIONS):
            for part in _parts(node):
                yield from _imports(part)


def _read(*folders: str) -> list[Module]:
    return [Module(p) for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))]


MODULES = _read(*PACKAGES)
BY_NAME = {module.name: module for module in MODULES}
DEFINED = [(module, *entry) for module in MODULES for entry in module.definitions]
IN_FUNCTIONS = [(m, where, node) for m, where, _, node in DEFINED if isinstance(node, FUNCTIONS)]
IN_CLASSES = [(where, node) for _, where, _, node in DEFINED if isinstance(node, ast.ClassDef)]


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [argument for argument in every if argument.arg not in ("self", "cls")]


def _quantile(values: list[int], share: float) -> int:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _over(sizes: dict[str, int], limit: int) -> dict[str, int]:
    return {where: size for where, size in sizes.items() if size > limit}


# --- budgets ---------------------------------------------------------------------------------


def test_modules_have_at_most_700_lines_and_half_of_them_at_most_170():
    sizes = {m.where: len(m.source.splitlines()) for m in MODULES if m.code_lines}
    assert _over(sizes, 700) == {}
    assert median(sizes.values()) <= 170


def test_functions_have_at_most_50_lines_of_code_and_half_of_them_at_most_5():
    sizes = {where: module.body_lines(node) for module, where, node in IN_FUNCTIONS}
    assert _over(sizes, 50) == {}
    assert median(sizes.values()) <= 5
    assert _quantile([*sizes.values()], 0.9) <= 20


def test_functions_take_at_most_8_arguments_and_nine_in_ten_at_most_3():
    sizes = {where: len(_arguments(node)) for _, where, node in IN_FUNCTIONS}
    assert _over(sizes, 8) == {}
    assert _quantile([*sizes.values()], 0.9) <= 3


def test_classes_have_at_most_15_methods_and_200_lines():
    methods = {where: sum(isinstance(n, FUNCTIONS) for n in c.body) for where, c in IN_CLASSES}
    lines = {where: (node.end_lineno or 0) - node.lineno + 1 for where, node in IN_CLASSES}
    assert _over(methods, 15) == {}
    assert _over(lines, 200) == {}


def test_lines_have_at_most_100_characters():
    long = {
        f"{module.where}:{number}": len(line)
        for module in [*MODULES, *_read("tests", "examples")]
        for number, line in enumerate(module.source.splitlines(), start=1)
    }
    assert _over(long, 100) == {}


def test_every_module_and_every_public_name_has_a_docstring():
    silent = [m.where for m in MODULES if m.code_lines and not ast.get_docstring(m.tree)]
    silent += [
        where for _, where, public, node in DEFINED if public and not ast.get_docstring(node)
    ]
    assert silent == []


def test_every_function_says_the_types_of_its_arguments_and_of_its_result():
    untyped = [
        where
        for _, where, node in IN_FUNCTIONS
        if node.returns is None or any(a.annotation is None for a in _arguments(node))
    ]
    assert untyped == []


def test_a_package_shows_at_most_20_names_but_for_the_front_door():
    shown = {
        module.where: len(_bound_names(module.tree))
        for module in MODULES
        if module.path.name == "__init__.py" and module.name != "scalemodel"
    }
    assert _over(shown, 20) == {}


def _bound_names(tree: ast.Module) -> set[str]:
    names = {node.name for node in tree.body if isinstance(node, Definition)}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_") and name != "annotations"}


def test_the_ratio_of_tests_to_code_is_reported(report_figure):
    code = sum(len(module.code_lines) for module in MODULES)
    tests = sum(len(module.code_lines) for module in _read("tests"))
    assert code
    report_figure(f"lines of code: packages {code:,}, tests {tests:,}, ratio {tests / code:.2f}")


# --- names -----------------------------------------------------------------------------------


def test_no_class_or_module_is_named_for_being_a_place_to_put_things():
    vague = [where for where, node in IN_CLASSES if FORBIDDEN_CLASS.search(node.name)]
    vague += [module.where for module in MODULES if FORBIDDEN_MODULES & {*module.name.split(".")}]
    assert vague == []


def test_no_module_takes_a_private_name_of_another():
    taken = [
        f"{module.where}: {target}"
        for module in MODULES
        for target in module.imports_when_loaded
        if target.split(".")[0] in PACKAGES and re.search(r"\._(?!_)", target)
    ]
    assert taken == []


# --- imports ---------------------------------------------------------------------------------


def test_no_module_imports_itself_by_a_round_trip():
    graph = {
        module.name: {t for t in module.imports_when_loaded if t in BY_NAME} - {module.name}
        for module in MODULES
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def _may_import_torch(module: Module) -> bool:
    name = module.name
    return name == "workloads.capture" or name.startswith("validation.torch_")


def test_slow_packages_are_imported_where_they_are_used_and_not_at_module_top():
    eager = {
        (module.where, target.split(".")[0])
        for module in MODULES
        for target in module.imports_when_loaded
        if target.split(".")[0] in HEAVY
        and not (target.split(".")[0] == "torch" and _may_import_torch(module))
    }
    assert eager == set()


def test_modules_that_import_torch_are_imported_only_inside_functions_or_by_each_other():
    torch_modules = {name for name, module in BY_NAME.items() if _may_import_torch(module)}
    eager = {
        (module.where, target)
        for module in MODULES
        for target in module.imports_when_loaded & torch_modules
        if not _may_import_torch(module)
    }
    assert eager == set()


def _loaded_after(program: str) -> set[str]:
    """Return the top-level names in `sys.modules` of a fresh process that ran the program."""
    report = "\nimport json, sys\nsys.stderr.write('\\n' + json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", program + report]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def test_importing_all_five_packages_imports_nothing_slow():
    loaded = _loaded_after(f"import {', '.join(PACKAGES)}")
    assert set(PACKAGES) <= loaded
    assert loaded & HEAVY == set()


@pytest.mark.skipif(
    not (ROOT / "scalemodel/__main__.py").is_file(), reason="this checkout has no command line"
)
@pytest.mark.parametrize("output", ["table", "json"])
def test_a_prediction_on_the_command_line_imports_nothing_slow(output):
    device = min(path.stem for path in (ROOT / "hwmodels/catalog").glob("cpu/*.toml"))
    arguments = ["scalemodel", "predict", "resnet50", "--on", device, "-o", output]
    loaded = _loaded_after(
        f"import sys\nsys.argv = {arguments!r}\n"
        "from scalemodel.__main__ import main\n"
        "try:\n    code = main()\n"
        "except SystemExit as end:\n    code = end.code\n"
        "assert not code, code"
    )
    assert loaded & HEAVY == set()


def test_every_module_can_be_imported():
    # Doctests of a module that cannot be imported are skipped, so somebody must notice.
    modules = sorted(BY_NAME)
    program = f"import importlib\nfor name in {modules!r}:\n    importlib.import_module(name)"
    try:
        import torch  # noqa: F401
    except ImportError:
        pytest.skip("torch is not installed")
    _loaded_after(program)


# --- the map -----------------------------------------------------------------------------------


def test_the_map_names_only_what_there_is_and_every_part_of_engine_and_hardware():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = {name.rsplit("/", 1)[-1] for name in re.findall(r"`([\w/]+\.py)`", text)}
    assert named <= {module.path.name for module in MODULES}
    whole = [m for m in MODULES if m.where.startswith(("simulator/engine/", "hwmodels/"))]
    parts = {m.path.name for m in whole if m.path.name != "__init__.py"}
    assert parts - named <= {"home.py"}


# --- what stands in the files ------------------------------------------------------------------


def _texts() -> Iterator[tuple[str, str]]:
    folders = [ROOT / name for name in (*PACKAGES, "tests", "examples", "docs", ".ci")]
    paths = [p for p in ROOT.iterdir() if p.is_file()] + [p for f in folders for p in f.rglob("*")]
    kinds = {".py", ".md", ".toml", ".csv", ".txt", ".ipynb", ".out", ""}
    for path in paths:
        if path.is_file() and path.suffix in kinds and path != Path(__file__).resolve():
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8", errors="replace")


def _places(pattern: str, suffixes: tuple[str, ...] = ("",)) -> list[str]:
    return [
        f"{where}: {match[0]}"
        for where, text in _texts()
        if where.endswith(suffixes)
        for match in re.finditer(pattern, text)
    ]


def test_no_file_names_a_folder_of_one_machine():
    assert _places(r"(?<![\w./:~-])/(?:work|home|root|Users)/\w+") == []
    assert _places(r"(?<![\w./:~-])/tmp/\w+", (".md",)) == []


def test_no_file_names_a_host_that_packages_come_from():
    hosts = r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.org|deb\.debian\.org"
    assert _places(hosts) == []
    assert _places(r"--(?:extra-)?index-url|--find-links|\[\[?tool\.uv\.index") == []


def test_package_versions_are_stated_once():
    from simulator.version import VERSION

    stated = _places(re.escape(f'"{VERSION}"'), (".py", "pyproject.toml"))
    assert stated == [f'simulator/version.py: "{VERSION}"']
