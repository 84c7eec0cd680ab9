"""Timing kernels on a GPU that is not there: draws, repeats, and a clock that tells the form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from hwmodels.devices import find_spec
from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.families import FAMILIES
from hwmodels.relatives import completed
from hwmodels.spec import FamilyFit
from validation.calibrate_gpu import known_before
from validation.cuda_clock import (
    DRAWS,
    LONGEST_S,
    Bench,
    UntimeableError,
    Wanted,
    kernel_s,
    timed_families,
    timed_set,
)

SPEC = completed(find_spec("nvidia-a100-sxm-80gb"), find_spec)


@dataclass(frozen=True, eq=False)
class FakeRun:
    """Be a kernel that knows what it takes."""

    time_s: float

    def __call__(self):
        raise AssertionError("nothing runs here")


@dataclass
class FakeClock:
    """Be a clock that says what a fake kernel takes, disturbed now and then."""

    asked: int = 0

    def prepared(self, run):
        if run.time_s < 0:
            raise UntimeableError
        return run

    def elapsed_s(self, run):
        self.asked += 1
        return run.time_s * (10.0 if self.asked % 4 == 0 else 1.0)


def make(numbers=None, refused=lambda sizes: False):
    def made(family, dtype, sizes):
        fit = FamilyFit(numbers=numbers or family.start)
        one = {name: np.array([float(size)]) for name, size in sizes.items()}
        time_s = family.parts(chip_of(SPEC), dtype, fit, one).time_s[0]
        return FakeRun(-1.0 if refused(sizes) else time_s)

    return made


def bench(**changes):
    values = {"clock": FakeClock(), "make": make(), "spec": SPEC,
              "known": lambda family, dtype: known_before(SPEC, family, dtype)}  # fmt: skip
    return Bench(**{**values, **changes})


def test_a_kernel_takes_the_median_of_its_repeats():
    clock = FakeClock()
    assert kernel_s(clock, FakeRun(2e-6), repeats=9) == 2e-6
    assert clock.asked == 9


@pytest.mark.parametrize("name", DRAWS)
def test_drawn_kernels_fit_the_device_and_are_soon_done_and_all_different(name):
    family = FAMILIES[name]
    timed = timed_set(bench(), Wanted(family, "float16", 30))
    sizes = np.stack(list(timed.timings.sizes.values()), axis=1)
    assert len(np.unique(sizes, axis=0)) == 30
    _, nbytes = family.amounts("float16", timed.timings.sizes)
    assert (nbytes <= 0.1 * SPEC.known("memory.size_bytes")).all()
    known = known_before(SPEC, family, "float16")
    times = family.parts(chip_of(SPEC), "float16", known, timed.timings.sizes).time_s
    assert (times <= LONGEST_S).all()
    assert np.ptp(np.log10(times)) > 0.5


def test_equal_seeds_draw_equal_kernels():
    one, same, other = (timed_set(bench(), Wanted(FAMILIES["gemm"], "float16", 5, seed))
                        for seed in (1, 1, 2))  # fmt: skip
    assert one.timings.sizes["m"].tolist() == same.timings.sizes["m"].tolist()
    assert one.timings.sizes["m"].tolist() != other.timings.sizes["m"].tolist()


def test_kernels_that_cannot_be_run_are_replaced_by_others():
    odd = make(refused=lambda sizes: sizes["m"] % 2)
    timed = timed_set(bench(make=odd), Wanted(FAMILIES["gemm"], "float16", 10))
    assert len(timed) == 10
    assert not (timed.timings.sizes["m"] % 2).any()


def test_where_nothing_can_be_run_nothing_was_timed():
    none = make(refused=lambda sizes: True)
    assert len(timed_set(bench(make=none), Wanted(FAMILIES["gemm"], "float16", 3))) == 0


def test_every_family_that_is_drawn_can_be_timed():
    assert {family.name for family in timed_families()} == set(DRAWS)
