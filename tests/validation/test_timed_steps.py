"""Steps of given times: as the simulator sees them, and between real processes."""

from __future__ import annotations

import os

import pytest

from simulator.errors import InputError
from simulator.workload import Job
from validation.cluster_table import Sampling
from validation.timed_steps import SLEEPER, Stepped, measure_steps, timed
from workloads.plans import DataParallel, LocalSGD, ParameterServer, Single

PASSES_S = {"forward_s": 0.01, "backward_s": 0.02}
ONCE = Sampling(most=1, least=1)


def stepped(plan, *, by_torch=False, bucket_bytes=4e3):
    job = Job.of(timed(1.6e4, layers=4, **PASSES_S), bucket_bytes=bucket_bytes)
    return Stepped(name="a step", job=job, plan=plan, virtual=SLEEPER, by_torch=by_torch)


def test_each_layer_has_its_share_of_the_backward_pass_and_of_the_gradients():
    job = stepped(DataParallel()).job
    assert SLEEPER.times_s(job.backward.graph, 1).tolist() == pytest.approx([0.005] * 4)
    assert [bucket.nbytes for bucket in job.buckets] == [4e3] * 4
    assert SLEEPER.times_s(job.update.graph, 1).sum() == 0.0


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"layers": 0}, "layers"),
        ({"forward_s": -1.0}, "forward_s"),
        ({"weight_bytes": 0}, "weight"),
    ],
)
def test_what_no_step_has_is_refused(wrong, what):
    with pytest.raises(InputError, match=what):
        timed(**{"weight_bytes": 8.0, **wrong})


def test_plans_of_different_ranks_are_not_timed_together():
    with pytest.raises(InputError, match="same ranks"):
        measure_steps([stepped(DataParallel()), stepped(Single())], 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="ranks are forked")
def test_plans_and_torch_itself_take_at_least_as_long_as_their_passes_between_processes():
    pytest.importorskip("torch")
    told: list[str] = []
    plans = [stepped(DataParallel()), stepped(DataParallel(bucket_bytes=4e3), by_torch=True),
             stepped(LocalSGD(every=2)), stepped(ParameterServer())]  # fmt: skip
    times_s = measure_steps(plans, 2, sampling=ONCE, tell=told.append)
    assert len(told) == len(plans)
    for time_s, least_s in zip(times_s, (0.03, 0.03, 0.06, 0.03), strict=True):
        assert time_s >= least_s


@pytest.mark.skipif(not hasattr(os, "fork"), reason="ranks are forked")
def test_torch_itself_does_data_parallel_steps_only():
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="plan LocalSGD"):
        measure_steps([stepped(LocalSGD(), by_torch=True)], 2, sampling=ONCE)
