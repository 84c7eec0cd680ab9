"""What suites of collectives share: sets, fits with numbers that timings do not tell, baselines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwmodels.gpu.fits import SetKey
from hwmodels.network.nccl import family
from hwmodels.network.nccl_plan import wires_of
from hwmodels.spec import FamilyFit
from validation.cases import Case
from validation.collective_baselines import RULES, ring_steps
from validation.collective_suite import (
    CollectiveSet,
    fit_set,
    fit_sets,
    key_of,
    predict_by,
    sets_of,
    transfer_remarks,
)
from validation.fit_gpu import Timings
from validation.kernel_suite import spec_of
from validation.suite import Prediction, Skip

H100 = "nvidia-h100-sxm-80gb"
SIZES = np.exp2(np.tile(np.arange(9.0, 30.0), 2))
RANKS = np.repeat([2.0, 8.0], 21)
WIRES = wires_of(spec_of(H100))
TRUE = {**family("all_gather", WIRES).start, "launch_s": 8e-6, "simple_share": 0.7}


def case(**changes: str | float) -> Case:
    settings: dict[str, str | float] = {
        "workload": "all_gather", "workload.bytes": 1024.0, "workload.dtype": "float16",
        "on": "h100_sxm", "on.devices": 8.0, "plan": "nccl",
    }  # fmt: skip
    return Case(suite="nccl", group="", settings={**settings, **changes}, metric="time_s",
                measured=1e-5, unit="s", source="", licence="")  # fmt: skip


def made(kind: str = "all_gather", device: str = H100, dtype: str = "any") -> CollectiveSet:
    """Return a set whose times are those of the form with numbers known here."""
    timings = Timings(sizes={"bytes": SIZES, "ranks": RANKS}, time_s=np.ones(len(SIZES)))
    one = CollectiveSet(SetKey(device, kind, dtype), tuple(range(len(SIZES))), timings)
    start = family(kind, wires_of(spec_of(device))).start
    numbers = {**start, **{name: TRUE[name] for name in start if name in TRUE}}
    return replace(one, timings=replace(timings, time_s=one.times_s(FamilyFit(numbers=numbers))))


def test_dtypes_share_a_set_where_nothing_is_reduced():
    sets, skipped = sets_of([case(), case(**{"workload.dtype": "int8"}),
                             case(workload="all_reduce")])  # fmt: skip
    assert [(one.key, one.places) for one in sets] == [
        (SetKey(H100, "all_gather", "any"), (0, 1)),
        (SetKey(H100, "all_reduce", "float16"), (2,)),
    ]
    assert not skipped


@pytest.mark.parametrize(("changes", "reason"), [
    ({"on": "h100_sx"}, "unknown device 'h100_sx'"),
    ({"workload": "gather"}, "NCCL has no collective 'gather'"),
    ({"on": "xeon-8380"}, "neither link.scaleup_bytes_per_s nor link.pcie_bytes_per_s is known"),
    ({"on.devices": 1.0}, "at least 2 devices"),
])  # fmt: skip
def test_what_cannot_be_predicted_is_skipped_with_the_reason(changes, reason):
    found = key_of(case(**changes))
    assert isinstance(found, Skip)
    assert reason in found.reason


def test_a_fit_finds_the_numbers_that_made_its_timings():
    one = made()
    fit = fit_set(one, "made up")
    assert fit.numbers["launch_s"] == pytest.approx(8e-6, rel=0.05)
    assert np.abs(one.ratios(fit) - 1).max() < 0.03
    assert (fit.device, fit.data) == (H100, "42 collectives: made up")


def test_numbers_that_no_timing_tells_are_those_of_the_other_dtype():
    one, other = made("all_reduce", dtype="float16"), {"ll128_share": 0.61, "ll128_step_s": 2e-6}
    only_two = one.timings.at(np.flatnonzero(RANKS == 2))
    alike = FamilyFit(numbers={**family("all_reduce", WIRES).start, **other})
    fit = fit_set(replace(one, timings=only_two, places=()), "", alike)
    assert {name: fit.numbers[name] for name in other} == other


def test_predictions_have_the_interval_of_their_fit():
    fit = FamilyFit(numbers=TRUE, error_ratio=(0.5, 2.0))
    answer, skipped = predict_by([case(), case(workload="gather")], lambda key: fit)
    assert isinstance(answer, Prediction)
    assert (answer.low, answer.high) == (answer.value / 2, answer.value * 2)
    assert isinstance(skipped, Skip)


def test_a_device_is_judged_as_if_it_had_not_been_measured():
    sets = [made(), made(device="nvidia-h200-sxm-141gb")]
    remarks = list(transfer_remarks(sets, fit_sets(sets, "")))
    assert len(remarks) == 2
    assert remarks[0].startswith(f"{H100}, as if known by its datasheet only (numbers of "
                                 "nvidia-h200-sxm-141gb): MAPE 0.")  # fmt: skip


# --- baselines -----------------------------------------------------------------------------------


def test_a_ring_has_a_step_less_than_ranks_and_twice_as_many_to_sum_up():
    ranks = np.array([2.0, 8.0])
    assert ring_steps("all_gather", ranks).tolist() == [1, 7]
    assert ring_steps("all_reduce", ranks).tolist() == [2, 14]


def test_alpha_beta_finds_the_line_that_made_its_timings():
    steps = RANKS - 1
    line = 1e-5 + steps * 1e-6 + steps * SIZES / RANKS / 2e11
    one = made()
    one = replace(one, timings=replace(one.timings, time_s=line))
    assert RULES["alpha-beta fit"](one, one) == pytest.approx(line)
    assert RULES["alpha-beta fit"](one, None) is None


def test_the_datasheet_ring_moves_parts_at_the_rate_of_the_wire():
    times = RULES["ring on the datasheet"](made(), None)
    assert times is not None
    assert times[-1] == pytest.approx(7 / 8 * 2.0**29 / 450e9)


def test_another_simulator_is_asked_about_its_own_system_only():
    times = RULES["ASTRA-sim's HGX-H100"](made(), None)
    assert times is not None
    assert times[-1] == pytest.approx(7 * (936.25e-9 + 2.0**29 / 8 / 400e9))
    assert RULES["ASTRA-sim's HGX-H100"](made(device="nvidia-b200-sxm"), None) is None
