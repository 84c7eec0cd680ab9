"""NOTICE names every licence under which somebody published a figure that is carried here."""

from __future__ import annotations

import csv
import re
import textwrap
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTICE = ROOT / "NOTICE"
LAST_WORDS = "and the sources under it.\n"


def _named() -> Iterator[tuple[str, str]]:
    """(licence, source) of every figure in the catalog, the measured cases and the examples."""
    for folder in (ROOT / "hwmodels/catalog", ROOT / "workloads/plans/fleets",
                   ROOT / "validation/suites"):  # fmt: skip
        for path in sorted(folder.rglob("*.toml")):
            yield from _in_tables(tomllib.loads(path.read_text("utf-8")))
    tables = ("validation/suites/*/*.csv", "examples/data/*.csv")
    for path in sorted(path for pattern in tables for path in ROOT.glob(pattern)):
        with path.open(encoding="utf-8", newline="") as table:
            yield from {(row["licence"], row["source"]) for row in csv.DictReader(table)}


def _in_tables(node: object) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if "licence" in node:
            yield node["licence"], node.get("text") or node.get("source") or ""
        for value in node.values():
            yield from _in_tables(value)
    elif isinstance(node, list):
        for value in node:
            yield from _in_tables(value)


def _short(source: str) -> str:
    """Return the project or site of a source.

    >>> _short("szilard/GBM-perf@0e9d8ad905:analysis/multicore/results/res.csv")
    'szilard/GBM-perf'
    """
    return re.split(r"[@,:;( ]", source.strip(), maxsplit=1)[0]


def _table() -> str:
    sources = defaultdict(set)
    for licence, source in _named():
        sources[licence].add(_short(source))
    return "".join(
        f"\n{licence or 'none named'}\n{_indented(sorted(names))}\n"
        for licence, names in sorted(sources.items())
    )


def _indented(names: list[str]) -> str:
    lines = textwrap.wrap(", ".join(names), width=96, break_on_hyphens=False)
    return textwrap.indent("\n".join(lines), "    ")


def test_notice_lists_every_licence_that_a_figure_names(golden):
    """`--refresh-golden` writes the list anew; what stands above it is kept."""
    words, _, _ = NOTICE.read_text("utf-8").partition(LAST_WORDS)
    golden(NOTICE, words + LAST_WORDS + _table())
