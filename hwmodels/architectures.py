"""Know which core a CPU is made of, and which cores are alike.

The data is `catalog/architectures.toml`. Two architectures are nearer when they have the same
instruction set, then the same vector features, then the same designer, then the nearer year.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

FEATURES: Mapping[str, tuple[str, ...]] = {
    "x86-64": ("avx", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile"),
    "aarch64": ("asimd", "asimddp", "sve", "sve2"),
    "armv7l": ("neon",),
}
"""Vector features that tell generations apart, as Linux names them, the oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Describe a core.

    Parameters
    ----------
    name : "zen3"
    designer : "AMD"
    isa : "x86-64", "aarch64", or "armv7l" (32 bits)
    year : of the first product
    top : the furthest of `FEATURES` that it has
    models : "family/model" (x86) or "implementer/part" (ARM) that the system reports
    device : the device of the catalog that stands for it
    """

    name: str
    designer: str
    isa: str
    year: int
    top: str
    models: tuple[str, ...]
    device: str


@functools.cache
def architectures() -> Mapping[str, Architecture]:
    """Return all architectures by name.

    >>> architectures()["zen3"].designer
    'AMD'
    """
    with (Path(__file__).parent / "catalog" / "architectures.toml").open("rb") as file:
        tables = tomllib.load(file)
    return {
        name: Architecture(name=name, **{**table, "models": tuple(table["models"])})
        for name, table in tables.items()
    }


def top_feature(isa: str, flags: Collection[str]) -> str:
    """Return the furthest vector feature among the flags of a CPU, "" where there is none.

    >>> top_feature("x86-64", {"sse2", "avx", "avx2"})
    'avx2'
    """
    return next((name for name in reversed(FEATURES.get(isa, ())) if name in flags), "")


def recognise(isa: str, model: str, flags: Collection[str], designer: str = "") -> Architecture:
    """Return the architecture of a CPU, or the one most like it.

    A virtual machine may report a model older than its features; features decide.

    Parameters
    ----------
    isa : "x86-64" or "aarch64"; of another set nothing is alike, and the oldest is returned
    model : as in `Architecture.models`
    flags : features as Linux lists them
    designer : "Intel", "AMD", "ARM", "Apple", or "" where unknown

    >>> recognise("x86-64", "6/79", ["avx", "avx2"], "Intel").name
    'broadwell'
    """
    top = top_feature(isa, flags)
    exact = [one for one in architectures().values() if model in one.models and one.isa == isa]
    fitting = [one for one in exact if one.top == top]
    if fitting:
        return fitting[-1]
    newest = max((one.year for one in architectures().values()), default=0)
    year = exact[-1].year if exact and not top else newest
    return _nearest(isa, top, designer, year, architectures().values())


def nearest_architecture(name: str, among: Iterable[str]) -> str | None:
    """Return the architecture among some that is most like the named one; None of none.

    >>> nearest_architecture("zen2", ["zen5", "zen3", "cascade-lake"])
    'zen3'
    """
    known = architectures()
    candidates = [known[other] for other in among if other in known]
    if name in (other.name for other in candidates):
        return name
    if not candidates:
        return None
    one = known.get(name)
    if one is None:
        return _nearest("", "", "", 0, candidates).name
    return _nearest(one.isa, one.top, one.designer, one.year, candidates).name


def _nearest(
    isa: str, top: str, designer: str, year: int, among: Iterable[Architecture]
) -> Architecture:
    def distance(one: Architecture) -> tuple[bool, int, bool, int]:
        features = FEATURES.get(one.isa, ())
        place = features.index(top) if top in features else -1
        steps = abs(features.index(one.top) - place)
        return one.isa != isa, steps, one.designer != designer, abs(one.year - year)

    return min(among, key=distance)
