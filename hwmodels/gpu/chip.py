"""Hold what the time of a kernel depends on of a datasheet.

Numbers of a family that is calibrated on one chip are shares of its peaks, and cycles: on another
chip they stand for the same shares of other peaks, and for cycles of another clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hwmodels.gpu.sustained import sustained_share
from hwmodels.spec import Spec
from simulator.errors import InputError
from simulator.ops import DTYPE_BYTES

SPARSE = "sparse "
"""Goes before a dtype in `Chip.peaks`: where 2 of 4 weights are zero."""
_FALL_BACK = {"tfloat32": "float32"}
"""Modes that a chip without units for them runs in another one; what it then computes is exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """Hold datasheet numbers of an accelerator.

    Parameters
    ----------
    name : of the device
    sms : multiprocessors, or as many as other cores are taken for
    clock_hz : at which the peaks of matrix units hold, hertz
    vector_clock_hz : at which those of ordinary units hold, hertz
    bandwidth_bytes_per_s : of the memory
    l2_bytes : of the cache that all multiprocessors share
    peaks : best rate by dtype, by matrix units where the chip has them, FLOP/s
    matrix_dtypes : that matrix units multiply
    vector_flop_per_s : of the ordinary units on float32
    sustained_share : share of the float32 peak that its power sustains and its schedulers feed
    link_bytes_per_s : of copies from the host; None: unknown, or there is no such link
    power_w : that it may draw, W; infinite where unknown
    """

    name: str
    sms: int
    clock_hz: float
    vector_clock_hz: float
    bandwidth_bytes_per_s: float
    l2_bytes: float
    peaks: Mapping[str, float]
    vector_flop_per_s: float
    sustained_share: float = 1.0
    link_bytes_per_s: float | None = None
    matrix_dtypes: frozenset[str] = frozenset()
    power_w: float = math.inf

    def peak_flop_per_s(self, dtype: str) -> float:
        """Return the peak on a dtype, FLOP/s.

        Raises
        ------
        InputError : the chip does not compute on it
        """
        found = self.peaks.get(self.computed_as(dtype))
        if found is None:
            known = ", ".join(sorted(set(self.peaks) & set(DTYPE_BYTES)))
            raise InputError(f"device '{self.name}' does not compute on {dtype}; it has {known}")
        return found

    def computed_as(self, dtype: str) -> str:
        """Return the dtype that the chip computes one in: float32 for a tfloat32 that it lacks."""
        return dtype if dtype in self.peaks else _FALL_BACK.get(dtype, dtype)

    def computing_on(self, dtype: str) -> Chip:
        """Return the chip at the clock of the units that compute on a dtype."""
        if dtype in self.matrix_dtypes or self.clock_hz == self.vector_clock_hz:
            return self
        return replace(self, clock_hz=self.vector_clock_hz)

    def with_sparse(self, dtype: str) -> Chip:
        """Return the chip as it multiplies weights of which 2 of 4 are zero; the same if it cannot.

        A sparse peak counts the zeros as if they were computed.
        """
        sparse = self.peaks.get(SPARSE + dtype)
        return self if sparse is None else replace(self, peaks={**self.peaks, dtype: sparse})

    def scaled(self, resource: str, factor: float) -> Chip:
        """Return the chip with so many times of "arithmetic", "memory.bandwidth" or "link.pcie"."""
        if resource == "link.pcie":
            link = self.link_bytes_per_s
            return replace(self, link_bytes_per_s=None if link is None else link * factor)
        if resource == "arithmetic":
            more = {dtype: peak * factor for dtype, peak in self.peaks.items()}
            return replace(self, peaks=more, power_w=self.power_w * factor,
                           vector_flop_per_s=self.vector_flop_per_s * factor)  # fmt: skip
        return replace(self, bandwidth_bytes_per_s=self.bandwidth_bytes_per_s * factor)


def chip_of(spec: Spec) -> Chip:
    """Return what kernels depend on of a device; of one of its dies, where it has several.

    >>> from hwmodels.devices import find_spec
    >>> chip = chip_of(find_spec("nvidia-h100-sxm-80gb"))
    >>> chip.sms, round(chip.peak_flop_per_s("bfloat16") / 1e12, 1)
    (132, 989.4)
    """
    dies = dies_of(spec)
    return Chip(
        name=spec.name,
        sms=int((spec.number("model.sms") or spec.known("sms")) / dies),
        clock_hz=spec.number("clock.peak_hz") or spec.known("clock.boost_hz"),
        vector_clock_hz=spec.known("clock.boost_hz"),
        bandwidth_bytes_per_s=spec.known("memory.bandwidth_bytes_per_s") / dies,
        l2_bytes=spec.known("cache.l2_bytes") / dies,
        peaks={name: peak / dies for name, peak in _peaks(spec).items()},
        vector_flop_per_s=spec.known("vector.float32_flop_per_s") / dies,
        sustained_share=sustained_share(spec) * (spec.number("vector.issue_share") or 1.0),
        link_bytes_per_s=_link_bytes_per_s(spec),
        power_w=(spec.number("power.tdp_w") or math.inf) / dies,
        matrix_dtypes=frozenset(
            dtype for dtype in DTYPE_BYTES if spec.number(f"tensor.{dtype}_flop_per_s")
        ),
    )


def dies_of(spec: Spec) -> float:
    """Return the number of parts of a device that programs see as a device each.

    >>> from hwmodels.devices import find_spec
    >>> dies_of(find_spec("amd-mi250")), dies_of(find_spec("nvidia-h100-sxm-80gb"))
    (2.0, 1.0)
    """
    return spec.number("dies") or 1.0


def _link_bytes_per_s(spec: Spec) -> float | None:
    link, share = spec.number("link.pcie_bytes_per_s"), spec.number("model.link_share")
    return None if link is None or share is None else link * share


def _peaks(spec: Spec) -> dict[str, float]:
    """Return the best peak of each dtype; float32 means float32, not a shorter mantissa."""
    peaks: dict[str, float] = {}
    for table, prefix in (("vector", ""), ("tensor", ""), ("sparse", SPARSE)):
        for dtype in DTYPE_BYTES:
            found = spec.number(f"{table}.{dtype}_flop_per_s")
            if found is not None:
                peaks[prefix + dtype] = found
    return peaks
