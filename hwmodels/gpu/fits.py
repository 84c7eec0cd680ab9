"""Find what is known of kernels on a device: its own fits, the packaged ones, or a relative's.

Packaged fits lie in `catalog/calibrated/gpu/DEVICE/FAMILY.DTYPE.toml`, a file each, and are read
when a kernel needs them. What a device was not measured in is taken over from its nearest relative
that was: of the same architecture, then the same maker, then the same kind of memory (stacked as in
data centres, or not), then the nearer year, then like peaks. Where none is of its architecture, and
several were fitted together, the numbers that these have in common (`COMMON`) stand for the nearest
one's: they are wrong by less, and never by as much. Of what a form leaves over on the nearest
device, half is taken over too (`in_common`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hwmodels.device_file import FindSpec, read_family_fit
from hwmodels.spec import FamilyFit, Spec

HALVES = ("float16", "bfloat16")
"""Dtypes that matrix units multiply equally fast: of both counts what was measured nearer."""


class SetKey(NamedTuple):
    """Identify a set of kernels: a device of the catalog, a family, a dtype."""

    device: str
    family: str
    dtype: str


COMMON = "common"
"""Stands for a device in the names of files with the numbers that several have in common."""


def fits_file(key: SetKey, folder: Path) -> Path:
    """Return the file of a set's fit below a folder of fits."""
    return folder / key.device / f"{key.family}.{key.dtype}.toml"


FOREIGN = "model.foreign_spread"
"""Field with the spread of what is taken over from a device of another maker."""
PREFILL = "model.borrowed_prefill_spread"
"""The same of attention of many queries, from another architecture of the same maker."""
KEPT = 0.5
"""Share of a correction that another architecture takes over: part of it is the device's own."""
PACKAGED = Path(__file__).parent.parent / "catalog" / "calibrated" / "gpu"


class Fits(Mapping[tuple[str, str], FamilyFit]):
    """Be the fits that a device uses, by (family, dtype).

    Parameters
    ----------
    spec : of the device, with estimates; the families of its calibration go first
    find : gives the spec of a device by its name
    folder : of packaged fits
    origin : the device before fields were changed, whose relatives it keeps; None: itself
    """

    def __init__(
        self, spec: Spec, find: FindSpec, folder: Path = PACKAGED, origin: Spec | None = None
    ) -> None:
        self.spec, self.find, self.folder = spec, find, folder
        self.origin = origin or spec
        self._own = {} if spec.calibration is None else dict(spec.calibration.families)
        self._used: dict[tuple[str, str], FamilyFit] = {}
        self._nearest: dict[tuple[str, str], tuple[FamilyFit, str]] = {}
        self._specs: dict[str, Spec] = {}

    def of_changed(self, spec: Spec) -> Fits:
        """Return the fits of the device with other fields: what they were borrowed from stays."""
        changed = Fits(spec, self.find, self.folder, self.origin)
        changed._nearest, changed._specs = self._nearest, self._specs
        return changed

    def __getitem__(self, key: tuple[str, str]) -> FamilyFit:
        if key not in self._used:
            self._used[key] = self._found(key)
        return self._used[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(dict.fromkeys((*self._own, *_packaged(self.folder))))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __reduce__(self) -> tuple[object, ...]:
        return (Fits, (self.spec, self.find, self.folder, self.origin))

    @property
    def used(self) -> Mapping[tuple[str, str], FamilyFit]:
        """Return the fits that were asked for so far."""
        return dict(self._used)

    def foreign(self, key: tuple[str, str]) -> bool:
        """Say whether the fit that is used is taken over from a device of another maker."""
        return key not in self._own and self._nearest[key][1] == FOREIGN

    def _found(self, key: tuple[str, str]) -> FamilyFit:
        if key in self._own:
            return self._own[key]
        if key not in self._nearest:
            self._nearest[key] = self._read(key)
        fit, spread = self._nearest[key]
        return fit.widened(self.spec.known(spread)) if spread else fit

    def _read(self, key: tuple[str, str]) -> tuple[FamilyFit, str]:
        """Return the fit of the nearest device, and which spread its errors have here ("": own)."""
        origin, stored = self.origin, _stored(key, self.folder)
        if not stored:
            raise KeyError(key)
        nearest = [one for one in stored if one.device == origin.name] or stored
        found = min(nearest, key=lambda one: (
            distance(origin, self._spec(one.device)), one.dtype != key[1]))  # fmt: skip
        fit = read_family_fit(fits_file(found, self.folder))
        if found.device == origin.name:
            return fit, ""
        near = self._spec(found.device)
        common = fits_file(found._replace(device=COMMON), self.folder)
        if near.architecture != origin.architecture and common.exists():
            fit = replace(in_common(read_family_fit(common), fit), device=near.name)
        return fit, spread_key(origin, near, key[0])

    def _spec(self, name: str) -> Spec:
        if name not in self._specs:
            self._specs[name] = self.find(name)
        return self._specs[name]


def _stored(key: tuple[str, str], folder: Path) -> list[SetKey]:
    """Return the packaged fits that may stand for a (family, dtype)."""
    family, dtype = key
    dtypes = HALVES if dtype in HALVES else (dtype,)
    packaged = _packaged(folder)
    return [SetKey(device, family, alike) for alike in dtypes
            for device in packaged.get((family, alike), ())]  # fmt: skip


@functools.cache
def _packaged(folder: Path) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Return the devices that have a packaged fit of each (family, dtype); reads no file."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(folder.glob("*/*.toml")):
        if path.parent.name == COMMON:
            continue
        family, _, dtype = path.stem.rpartition(".")
        found.setdefault((family, dtype), []).append(path.parent.name)
    return {key: tuple(devices) for key, devices in found.items()}


def in_common(common: FamilyFit, nearest: FamilyFit) -> FamilyFit:
    """Return what a device of another architecture takes over: numbers that several have in common.

    A correction they have none in common: it takes over a share (`KEPT`) of the nearest one's.
    """
    correction = tuple(KEPT * one for one in nearest.correction)
    return replace(common, correction=correction)


def spread_key(spec: Spec, other: Spec, family: str) -> str:
    """Return the field with the spread of what an accelerator takes over of a family from another.

    >>> from hwmodels.devices import find_spec
    >>> spread_key(find_spec("amd-mi210"), find_spec("nvidia-a100-sxm-80gb"), "gemm")
    'model.foreign_spread'
    """
    if _maker(spec) != _maker(other):
        return FOREIGN
    if spec.architecture == other.architecture:
        return "model.sibling_spread"
    return PREFILL if family.startswith("prefill") else "model.borrowed_spread"


def measured_families(device: str, folder: Path = PACKAGED) -> list[tuple[str, str]]:
    """Return the (family, dtype) of the packaged fits of a device; reads no file.

    >>> ("gemm", "bfloat16") in measured_families("nvidia-a100-sxm-80gb")
    True
    """
    return [key for key, devices in _packaged(folder).items() if device in devices]


def distance(spec: Spec, other: Spec) -> tuple[float, ...]:
    """Return how far two accelerators are apart, the most important difference first.

    >>> from hwmodels.devices import find_spec
    >>> h200, h100, a100 = (find_spec(name) for name in (
    ...     "nvidia-h200-sxm-141gb", "nvidia-h100-sxm-80gb", "nvidia-a100-sxm-80gb"))
    >>> distance(h200, h100) < distance(h200, a100)
    True
    """
    return (
        float(spec.name != other.name),
        float(spec.architecture != other.architecture),
        float(_maker(spec) != _maker(other)),
        float(_stacked(spec) != _stacked(other)),
        abs((spec.number("year") or 0.0) - (other.number("year") or 0.0)),
        sum(abs(math.log(spec.known(key) / other.known(key))) for key in _PEAKS),
    )


_PEAKS = ("vector.float32_flop_per_s", "memory.bandwidth_bytes_per_s")


def _maker(spec: Spec) -> str:
    return spec.title.partition(" ")[0]


def _stacked(spec: Spec) -> bool:
    return str(spec.values.get("memory.type", "")).startswith("HBM")
