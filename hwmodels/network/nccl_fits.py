"""Find what is known of NCCL on a device: the user's fits, the packaged ones, or a relative's.

Fits lie in `nccl/DEVICE/KIND.DTYPE.toml` below the user's folder and in `catalog/calibrated`.
A device that was not measured takes over those of the nearest one of its architecture, else the
middle of all that are linked alike (by own links, or over the host), else of all: no other
difference tells which of them it resembles. Shares stand for its own wire, latencies for cycles of
its own clock; one that is linked otherwise lends them as far as NCCL's own figures say how the two
ways differ.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hwmodels.device_file import OTHER_VERSION, FindSpec, read_family_fit
from hwmodels.gpu.family import Parts
from hwmodels.gpu.fits import SetKey, distance, fits_file
from hwmodels.home import home
from hwmodels.network.nccl import FitKey, family, fit_key, parts_of
from hwmodels.network.nccl_nodes import Fabric, between_nodes
from hwmodels.network.nccl_plan import PROTOCOLS, Calls, Nodes, Wires, tuning, wires_of
from hwmodels.spec import FamilyFit, Spec
from simulator.errors import FileError, InputError
from simulator.ops import FloatArray

PACKAGED = Path(__file__).parent.parent / "catalog" / "calibrated" / "nccl"
SPREADS = PACKAGED / "spreads.toml"


def own_folder() -> Path:
    """Return where the user's fits of NCCL lie."""
    return home() / "nccl"


@dataclass(frozen=True, slots=True)
class Spread:
    """Say how a group is spread over nodes.

    Parameters
    ----------
    nodes : 2 or more, with equally many ranks each
    nic_bytes_per_s : of all network cards of a node, one direction
    fabric : between the nodes
    """

    nodes: int
    nic_bytes_per_s: float
    fabric: Fabric


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nccl:
    """Be NCCL between equal devices.

    Parameters
    ----------
    spec : of the devices
    find : gives the spec of a device by its name
    folders : of fits, the first that has one counts
    switched : whether own links lead to switches also where those of such devices may form a mesh

    >>> from hwmodels.devices import find_spec
    >>> nccl = Nccl(spec=find_spec("nvidia-h100-sxm-80gb"), find=find_spec)
    >>> fixed_s, bulk_s = nccl.parts_s("all_reduce", np.array([2.0**30]), 8)
    >>> bool(fixed_s[0] < 1e-4), bool(3e-3 < bulk_s[0] < 5e-3)
    (True, True)
    """

    spec: Spec
    find: FindSpec
    folders: tuple[Path, ...] = ()
    switched: bool = False
    _known: dict[FitKey, FamilyFit] = field(default_factory=dict, init=False, repr=False)

    @property
    def wires(self) -> Wires:
        """Return the wires of each device."""
        return replace(wires_of(self.spec), switched=self.switched)

    def parts_s(
        self, kind: str, nbytes: FloatArray, ranks: int, dtype: str = "float32",
        spread: Spread | None = None,
    ) -> tuple[FloatArray, FloatArray]:  # fmt: skip
        """Return what collectives take regardless of bandwidth, and moving data (n,), seconds.

        Parameters
        ----------
        kind : of all collectives, or "send_recv"
        nbytes : each as NCCL's tests count it (n,): all_gather what a rank holds at the end,
            reduce_scatter and all_to_all what it holds at the beginning
        ranks : in the group
        dtype : of what is reduced
        spread : over nodes; None: all are in one

        Raises
        ------
        InputError : an unknown kind, a group of less than 2, negative bytes, ranks that do not fill
            the nodes evenly
        """
        sizes = np.asarray(nbytes, float)
        if ranks < 2:
            raise InputError(f"{kind} needs a group of at least 2 ranks; got {ranks}")
        if not (np.isfinite(sizes) & (sizes >= 0)).all():
            raise InputError(f"{kind} of {sizes.min():g} bytes; bytes must be finite, at least 0")
        calls = Calls(kind, dtype, self.wires, sizes, np.full(len(sizes), float(ranks)))
        fit = self.fit(kind, dtype)
        parts = parts_of(calls, fit) if spread is None else _spread_parts(calls, spread, fit)
        return parts.overhead_s, parts.memory_s

    def fit(self, kind: str, dtype: str = "float32") -> FamilyFit:
        """Return the numbers that time a kind of collective; the interval of a relative's is wider.

        They are looked up once.

        Raises
        ------
        InputError : NCCL has no such collective
        """
        known = fit_key(kind, dtype)
        if known not in self._known:
            self._known[known] = self._found(SetKey(self.spec.name, *known))
        return self._known[known]

    def _found(self, key: SetKey) -> FamilyFit:
        folders = self.folders or (own_folder(), PACKAGED)
        for folder in folders:
            if fits_file(key, folder).is_file():
                return _read(key, (folder,), self.spec)
        stored = {one.device: one for folder in reversed(folders) for one in _stored(folder)
                  if one[1:] == key[1:]}  # fmt: skip
        near = relatives(self.spec, [self.find(name) for name in stored])
        if not near:
            start = family(key.family, wires_of(self.spec)).start
            return FamilyFit(numbers=start, data="assumed", device="")
        return middle([lent(_read(stored[one.name], folders, one), one, self.spec)
                       for one in near])  # fmt: skip


def _spread_parts(calls: Calls, spread: Spread, fit: FamilyFit) -> Parts:
    count = np.full(len(calls.nbytes), float(spread.nodes))
    nodes = Nodes(count, np.full(len(count), spread.nic_bytes_per_s))
    return between_nodes(calls, nodes, fit, spread.fabric)


@functools.cache
def _stored(folder: Path) -> tuple[SetKey, ...]:
    """Return what fits a folder has; reads no file."""
    return tuple(SetKey(path.parent.name, *path.stem.rpartition(".")[::2])
                 for path in sorted(folder.glob("*/*.toml")))  # fmt: skip


def _read(key: SetKey, folders: Iterable[Path], spec: Spec) -> FamilyFit:
    """Return the fit of a device that the first of the folders has."""
    files = (fits_file(key, folder) for folder in folders)
    path = next(file for file in files if file.is_file())
    fit = read_family_fit(path)
    if wrong := family(key.family, wires_of(spec)).misfits(fit):
        raise FileError(path, OTHER_VERSION.format(", ".join(wrong)))
    return fit


def relatives(spec: Spec, others: Sequence[Spec]) -> list[Spec]:
    """Return the devices whose numbers another one takes over."""
    own = wires_of(spec).own_links
    alike = [one for one in others if wires_of(one).own_links == own]
    siblings = [one for one in alike if one.architecture == spec.architecture]
    if siblings:
        return [min(siblings, key=lambda one: distance(spec, one))]
    return alike or list(others)


def middle(fits: Sequence[FamilyFit]) -> FamilyFit:
    """Return the middle of fits of one kind: of logarithms of numbers, and of corrections.

    A number that only some have, as only some have a switch that reduces, is the middle of theirs.
    """
    if len(fits) == 1:
        return fits[0]
    logs: dict[str, list[float]] = {}
    for fit in fits:
        for name, value in fit.numbers.items():
            logs.setdefault(name, []).append(math.log(value))
    corrections = [fit.correction for fit in fits if fit.correction]
    ratios = [fit.error_ratio for fit in fits if fit.error_ratio is not None]
    return FamilyFit(
        numbers={name: math.exp(float(np.mean(some))) for name, some in logs.items()},
        correction=tuple(np.mean(corrections, axis=0).tolist()) if corrections else (),
        error_ratio=(min(ratios)[0], max(high for _, high in ratios)) if ratios else None,
        data="; ".join(dict.fromkeys(fit.data for fit in fits)),
        device=", ".join(fit.device for fit in fits),
    )


def lent(fit: FamilyFit, near: Spec, spec: Spec) -> FamilyFit:
    """Return the fit of a relative as another device takes it over, its interval wider.

    Latencies are those of code on the device: on another architecture they go with its clock.
    """
    known = spreads()
    if near.architecture == spec.architecture:
        return fit.widened(known["sibling"])
    slower = _clock_hz(near) / _clock_hz(spec)
    numbers = {name: value * (slower if name.endswith("_s") else 1.0)
               for name, value in fit.numbers.items()}  # fmt: skip
    fit = replace(fit, numbers=numbers)
    here, there = wires_of(spec), wires_of(near)
    if here.own_links == there.own_links:
        return fit.widened(known["borrowed"])
    return converted(fit, there, here).widened(known["relinked"])


def _clock_hz(spec: Spec) -> float:
    return spec.number("clock.boost_hz") or spec.known("clock.peak_hz")


@functools.cache
def spreads() -> dict[str, float]:
    """Return how far collectives lie from what is taken over, by name: of logarithms."""
    tables = tomllib.loads(SPREADS.read_text(encoding="utf-8"))
    return {name: float(value) for name, value in tables["spread"].items()}


def converted(fit: FamilyFit, there: Wires, here: Wires) -> FamilyFit:
    """Return the fit of a device that is linked otherwise, moved as NCCL's own figures say.

    Steps get longer as its latencies of PCIe and NVLink differ, shares of the wire as its own do,
    and groups share the way over the host. The correction belongs to the other wire.
    """
    link, other = ("nvlink", "pcie") if here.own_links else ("pcie", "nvlink")
    figures = tuning()
    share = figures["wire_share"][link] / figures["wire_share"][other]
    ratios = np.divide(figures["step_us"][link]["ring"], figures["step_us"][other]["ring"])
    steps = dict(zip(PROTOCOLS, ratios.tolist(), strict=True))
    power = 1e-3 if here.own_links else figures["wire_share"]["pcie_group_power"]
    numbers = dict(fit.numbers)
    for name in numbers:
        if name.endswith("_share"):
            numbers[name] *= share
        elif name.endswith("_step_s"):
            numbers[name] *= steps[name.partition("_")[0]]
        elif name.endswith("group_power"):
            numbers[name] = power
    return replace(fit, numbers=numbers, correction=())
