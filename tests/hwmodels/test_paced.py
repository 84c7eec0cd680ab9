"""A step that was timed on one device stands for what the model says of it."""

from __future__ import annotations

import pytest

import scalemodel as sm
from simulator.errors import InputError
from simulator.explain import explain

STEP = sm.find_workload("small-cnn", batch=64, training=True)


@pytest.mark.parametrize("name", ["nvidia-v100-sxm2-16gb", "raspberry-pi-4"])
def test_a_step_takes_what_was_timed(name: str) -> None:
    alone = sm.Machine(name, [sm.device(name)])
    known = sm.with_step_time(alone, STEP, 0.25)
    plan = sm.Threads(alone.devices[0].max_threads)
    assert sm.simulate(STEP, known, plan).step_time_s == pytest.approx(0.25)


def compute_s(machine: sm.Machine) -> list[float]:
    run = sm.simulate(STEP, machine, sm.DataParallel(bucket_bytes=1e9), record=True)
    assert run.timeline is not None
    return [one.end_s - one.start_s for one in run.timeline if one.kind == "compute"]


def test_parts_of_a_step_keep_their_shares() -> None:
    machine = sm.cluster("dgx-1", devices=2)
    before, after = compute_s(machine), compute_s(sm.with_step_time(machine, STEP, 1.0))
    ratios = [slow / quick for slow, quick in zip(after, before, strict=True)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))


def test_the_network_keeps_its_pace() -> None:
    machine = sm.cluster("gigabit-ethernet", devices=4, device="nvidia-t4")
    step = sm.resnet50(batch=64, training=True)
    long, longer = (
        sm.simulate(step, sm.with_step_time(machine, step, s), sm.DataParallel(bucket_bytes=1e9))
        for s in (1.0, 2.0)
    )
    assert longer.step_time_s - long.step_time_s == pytest.approx(1.0, rel=0.01)


def test_a_timed_machine_is_explained_with_its_source() -> None:
    known = sm.with_step_time(sm.cluster("dgx-1", devices=2), STEP, 1.0)
    run = sm.simulate(STEP, known, sm.DataParallel())
    assert "timed on one device" in " ".join(str(one) for one in run.sources)
    assert 0 < explain(run).resources[0].elasticity <= 1.01


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_makes_no_sense_is_refused(seconds: float) -> None:
    with pytest.raises(sm.InputError, match="known step time"):
        sm.with_step_time(sm.cluster("dgx-1", devices=2), STEP, seconds)


def test_devices_of_a_full_board_slow_each_other_and_one_alone_is_not_slowed() -> None:
    alone, two = (sm.cluster("aws-p2.8xlarge", devices=count).devices[0] for count in (1, 2))
    pace = sm.device("nvidia-k80").spec.number("board.pace")
    quick, slow = (sm.simulate(STEP, sm.Machine("one", [one]), sm.Threads(1)).step_time_s
                   for one in (alone, two))  # fmt: skip
    assert quick == pytest.approx(pace * slow)


def test_a_step_that_was_timed_on_one_device_is_slower_where_its_board_is_full() -> None:
    machine = sm.with_step_time(sm.cluster("aws-p2.8xlarge", devices=2), STEP, 0.25)
    pace = sm.device("nvidia-k80").spec.number("board.pace")
    one = sm.Machine("one", [machine.devices[0]])
    assert sm.simulate(STEP, one, sm.Threads(1)).step_time_s == pytest.approx(0.25 / pace)


def test_what_computes_nothing_has_no_step_that_was_timed() -> None:
    with pytest.raises(InputError, match="'all-reduce' computes nothing"):
        sm.with_step_time(sm.cluster("edge-wifi", devices=2), sm.find_workload("all-reduce"), 0.25)
