"""Model an accelerator: the time of each op, alone on the device, by arrays.

Every op is one kernel, or a few, of a *family* (`hwmodels.gpu.families`). Kernels run one after the
other; while one runs, a host thread launches the next. `hwmodels.open_device` does the same by
events, where streams compete.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hwmodels.device_file import FindSpec
from hwmodels.gpu.chip import Chip, chip_of, dies_of
from hwmodels.gpu.engines import communication_of, paces_of, profile_of, with_copies
from hwmodels.gpu.families import Error, Timed, costs_of
from hwmodels.gpu.family import Parts
from hwmodels.gpu.fits import Fits
from hwmodels.gpu.power import power_of
from hwmodels.gpu.run_error import drawn_error, run_spreads
from hwmodels.gpu.sustained import sustained_sources
from hwmodels.open_device import OpenDevice, Phases
from hwmodels.profile import Profile, Used, slower
from hwmodels.spec import NINETY_PERCENT, FamilyFit, Spec
from simulator.energy import Energy
from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray, Graph
from simulator.protocols import Clock, Device
from simulator.source import Source

RESOURCES = ("arithmetic", "memory.bandwidth", "overhead", "link.pcie")
"""What can bind a graph on an accelerator; no two of them speed up the same thing."""


def gpu_of(spec: Spec, find: FindSpec, before: Device | None = None) -> Gpu:
    """Return the model of an accelerator of which this is known.

    Parameters
    ----------
    spec : with estimates for what its file does not say
    find : gives the spec of a device by its name, of a relative that was measured
    before : the accelerator whose fields were changed, which goes on to borrow from the same
        relatives; None: none were

    >>> from hwmodels.devices import find_spec
    >>> gpu_of(find_spec("nvidia-h100-sxm-80gb"), find_spec).max_threads
    1
    """
    fits = before.fits.of_changed(spec) if isinstance(before, Gpu) else Fits(spec, find)
    return Gpu(spec=spec, chip=chip_of(spec), fits=fits, power_ratio=power_of(spec).error_ratio)


@dataclass(frozen=True, kw_only=True, eq=False)
class Gpu:
    """Be an accelerator; `gpu_of` makes one.

    Parameters
    ----------
    spec : fields with sources, and the calibration where there is one
    chip : what kernels depend on
    fits : what is known of families of kernels, by (family, dtype)
    seed : of a calibration that is drawn from its spreads; None: as fitted
    quicker : how many times as fast launches and floors are
    power_ratio : 5 % and 95 % quantiles of measured over predicted power; None where not known
    board_pace : pace on a clock, where the other devices of its board compute too, over alone
    max_threads : 1, for a rank has the device for itself
    """

    spec: Spec
    chip: Chip
    fits: Fits
    seed: int | None = None
    quicker: float = 1.0
    power_ratio: tuple[float, float] | None = None
    board_pace: float = 1.0
    max_threads: int = field(default=1, init=False)
    _parts: WeakKeyDictionary[Graph, Parts] = field(
        default_factory=WeakKeyDictionary, repr=False, init=False
    )
    _profiles: WeakKeyDictionary[Graph, Profile] = field(
        default_factory=WeakKeyDictionary, repr=False, init=False
    )
    _timed: WeakKeyDictionary[Graph, list[Timed]] = field(
        default_factory=WeakKeyDictionary, repr=False, init=False
    )
    _ratios: WeakKeyDictionary[Graph, float] = field(
        default_factory=WeakKeyDictionary, repr=False, init=False
    )

    def __reduce__(self) -> tuple[object, ...]:
        return (
            _again,
            (
                self.spec,
                self.chip,
                self.fits,
                self.seed,
                self.quicker,
                self.power_ratio,
                self.board_pace,
            ),
        )

    @property
    def name(self) -> str:
        """Return the name in the catalog."""
        return self.spec.name

    @property
    def memory_bytes(self) -> float | None:
        """Return the memory that a job may fill, bytes: without context and margin."""
        size = self.spec.known("memory.size_bytes") / dies_of(self.spec)
        free = size - self.spec.known("model.context_bytes")
        return max(free, 0.0) * (1.0 - self.spec.known("model.memory_margin"))

    @property
    def resources(self) -> tuple[str, ...]:
        """Return what can bind a run; the link to the host where there is one."""
        return RESOURCES if self.chip.link_bytes_per_s is not None else RESOURCES[:-1]

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return where the numbers come from, each once."""
        fits = (
            Source(
                f"{fit.data} ({', '.join(key)})", kind="calibrated", note=_borrowed(fit, key, self)
            )
            for key, fit in self.fits.used.items()
        )
        fields = self.spec.sources.values()
        power = (*power_of(self.spec).sources, *sustained_sources(self.spec))
        return tuple(dict.fromkeys((*fits, *fields, *power)))

    def error_ratio(self, graph: Graph) -> tuple[float, float] | None:
        """Return the 5 % and 95 % quantiles of measured over predicted time of runs of a graph.

        They are the wider, the more of the time goes to kernels that were measured on relatives
        only (`hwmodels.gpu.run_error`).
        """
        if graph not in self._ratios:
            judge(self, graph)
        wide = max(self._ratios[one] for one in graph.parts or (graph,))
        return 1 / wide, wide

    def scaled(self, resource: str, factor: float) -> Gpu:
        """Return the accelerator with so many times of a resource.

        Raises
        ------
        InputError : no such resource, or a factor that is not positive
        """
        if resource not in RESOURCES:
            raise UnknownNameError("resource", resource, RESOURCES, f"device '{self.name}'")
        if not 0 < factor < math.inf:
            raise InputError(f"{resource} of '{self.name}': expected a positive factor, "
                             f"got {factor}")  # fmt: skip
        if resource == "overhead":
            return replace(self, quicker=self.quicker * factor)
        return replace(self, chip=self.chip.scaled(resource, factor))

    def drawn(self, seed: int) -> Gpu:
        """Return the accelerator with an error drawn for each family, as is left of it in runs."""
        return replace(self, seed=seed)

    def times_s(self, graph: Graph, threads: int = 1) -> FloatArray:
        """Return the time of each op (n,) when the graph runs alone, seconds.

        Parameters
        ----------
        graph : the ops
        threads : 1

        Raises
        ------
        InputError : more threads, or an op in a dtype that the device does not compute on
        """
        _check(self, threads)
        return parts_of(self, graph).time_s

    def breakdown_s(self, graph: Graph, threads: int = 1) -> Mapping[str, FloatArray]:
        """Return what each op's time (n,) is spent on, seconds; what hides counts nothing."""
        _check(self, threads)
        parts = parts_of(self, graph)
        own = parts.compute_s >= parts.memory_s
        return {
            "compute": np.where(own, parts.compute_s, 0.0),
            "memory": np.where(own, 0.0, parts.memory_s),
            "overhead": parts.overhead_s,
        }

    def profile(self, graph: Graph, threads: int = 1) -> Profile:
        """Return how the graph runs alone on the device, at the pace that its board leaves."""
        _check(self, threads)
        if graph not in self._profiles:
            alone = profile_of(parts_of(self, graph), graph, self.chip)
            paced = alone if self.board_pace == 1.0 else slower(alone, 1 / self.board_pace)
            self._profiles[graph] = paced
        return self._profiles[graph]

    def paces(self, phases: Phases) -> tuple[float, ...]:
        """Return how fast each of the phases that run at the same time goes, over alone."""
        return paces_of(phases, self.chip)

    def power_w(self, threads: int = 1) -> float | None:
        """Return the power while the device does all it can, watts; None where unknown."""
        _check(self, threads)
        power, limit_w = power_of(self.spec), self.spec.number("power.limit_w")
        drawn = [power.power_w(limit_w, units) for units in (False, True)]
        known = [watts for watts in drawn if watts is not None]
        return max(known) if len(known) == len(drawn) else None

    def energy(self, time_s: float, used: Used) -> Energy:
        """Return what is drawn in some time, by component; None where unknown.

        While it waits for its host the device is ready, and kernels draw more by the units that
        they run on. What a byte takes is part of that: no measurement tells it apart.

        Parameters
        ----------
        time_s : that passed, seconds
        used : time of kernels in it
        """
        limit_w = self.spec.number("power.limit_w")
        return Energy(power_of(self.spec).energy_j(time_s, used.core_s, used.matrix_s, limit_w))

    def open(self, clock: Clock) -> OpenDevice:
        """Return the device in use on a clock."""
        return OpenDevice(self, clock, communication=partial(communication_of, self.chip))


def on_full_board(device: Device) -> Device:
    """Return a device as it is while the other devices of its board compute too.

    >>> from hwmodels.devices import find_device
    >>> on_full_board(find_device("nvidia-v100-sxm2-16gb")).board_pace
    1.0
    """
    pace = device.spec.number("board.pace") if isinstance(device, Gpu) else None
    return device if pace is None else replace(device, board_pace=pace)  # type: ignore[type-var]


def _slowdown(spec: Spec, matrix: FloatArray) -> FloatArray:
    """Return the time of kernels (n,) under the power limit that is set, over that as sold.

    Parameters
    ----------
    spec : of the device
    matrix : share of the time of each (n,) on matrix units
    """
    limit_w = spec.number("power.limit_w")
    if limit_w is None:
        return np.ones_like(matrix)
    power = power_of(spec)
    ordinary, on_matrix = (power.slowdown(limit_w, units) or 1.0 for units in (False, True))
    slower: FloatArray = ordinary + (on_matrix - ordinary) * matrix
    return slower


def judge(gpu: Gpu, graph: Graph) -> None:
    """Find the error ratio of a graph, or of each that is joined in it, at the cost of one."""
    steps, op_s = _steps(graph), parts_of(gpu, graph).time_s
    run = np.repeat(np.arange(len(steps)), [part.stop - part.start for part in steps])
    time_s = np.array([op_s[part].sum() for part in steps])
    timed = gpu._timed[graph]
    spreads = run_spreads(timed, run, time_s, gpu.spec, _foreign(gpu))
    for one, spread in zip(graph.parts or (graph,), spreads.tolist(), strict=True):
        gpu._ratios[one] = math.exp(NINETY_PERCENT * spread)


def _foreign(gpu: Gpu) -> set[tuple[str, str]]:
    """Return families, and devices of other makers, from which they are taken over so far."""
    return {(family, fit.device) for (family, dtype), fit in gpu.fits.used.items()
            if gpu.fits.foreign((family, dtype))}  # fmt: skip


def _drawn_error(gpu: Gpu, seed: int) -> Error:
    """Return what draws the error of a family in a run, as it is judged."""

    def error(family: str, fit: FamilyFit) -> float:
        foreign = (family, fit.device) in _foreign(gpu)
        share = 1.0 if foreign else gpu.spec.known("model.run_share")
        return drawn_error(family, fit, seed, share)

    return error


def parts_of(gpu: Gpu, graph: Graph) -> Parts:
    """Return what each op (n,) spends time on when the graph runs alone; computed once.

    Overhead has the time that the device waits for the host to launch the op.

    Raises
    ------
    InputError : an op in a dtype that the device does not compute on
    """
    found = gpu._parts.get(graph)
    if found is None:
        start_s = gpu.spec.known("model.start_s")
        timed = gpu._timed[graph] = []
        error = None if gpu.seed is None else _drawn_error(gpu, gpu.seed)
        cost = costs_of(graph, gpu.chip, gpu.fits, error, start_s, timed)
        cost = with_copies(cost, graph, gpu.chip)
        launched = np.full(len(graph), gpu.spec.known("model.launch_s") / gpu.quicker)
        slower = cost.times(_slowdown(gpu.spec, cost.matrix_share))
        cost = slower._replace(overhead_s=cost.overhead_s / gpu.quicker)
        waits = np.concatenate([
            waiting_s(cost.time_s[part], launched[part]) for part in _steps(graph)
        ])  # fmt: skip
        found = cost._replace(overhead_s=cost.overhead_s + waits)
        gpu._parts[graph] = found
    return found


def _check(gpu: Gpu, threads: int) -> None:
    if threads != 1:
        raise InputError(f"'{gpu.name}' runs 1 thread a rank; got {threads}")


def waiting_s(kernel_s: FloatArray, launch_s: FloatArray) -> FloatArray:
    """Return how long the device waits before each of n kernels for the host to launch it, seconds.

    The host launches one after the other, the device runs one after the other, and each not before
    it was launched: end_i = max(end_(i-1), launched_i) + kernel_i. In closed form the ends are
    running maxima (Kleinrock, Queueing Systems I, 1975, Lindley's recursion).

    Parameters
    ----------
    kernel_s : time of each kernel (n,)
    launch_s : time of the host for each kernel (n,)

    >>> waiting_s(np.array([1.0, 5.0, 1.0]), np.array([2.0, 2.0, 2.0]))
    array([2., 1., 0.])
    """
    done = np.cumsum(kernel_s)
    launched = np.cumsum(launch_s)
    late = np.maximum.accumulate(launched - (done - kernel_s))
    waits: FloatArray = np.diff(late, prepend=0.0)
    return waits


def _steps(graph: Graph) -> list[slice]:
    """Return where the ops of each step lie: of the one graph, or of each of joined graphs."""
    ends = list(itertools.accumulate(len(part) for part in graph.parts or (graph,)))
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _again(*values: Any) -> Gpu:
    """Return the accelerator that was pickled as these fields."""
    names = ("spec", "chip", "fits", "seed", "quicker", "power_ratio", "board_pace")
    return Gpu(**dict(zip(names, values, strict=True)))


def _borrowed(fit: FamilyFit, key: tuple[str, str], gpu: Gpu) -> str:
    if fit.device == gpu.name:
        return ""
    judged = "; no measured run judges this maker's devices" if gpu.fits.foreign(key) else ""
    return f"taken over from {fit.device}, scaled by the datasheets{judged}"
