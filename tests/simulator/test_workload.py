"""A job names the works and buffers of a workload, cut by phase."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError, UnknownNameError
from simulator.ops import Graph, Op
from simulator.workload import Buffer, Gradient, Job, Workload


def op(phase, flops=1.0):
    return Op(kind="elementwise", dims=(1,), phase=phase, flops=flops)


def training(sizes=(10.0, 20.0, 30.0), loss_late=False):
    forward = [op("forward")] * 2
    graph = Graph.of([*forward, *[op("backward", 2.0)] * len(sizes), op("update", 4.0)])
    gradients = tuple(Gradient(f"w{i}", s, 2 + i) for i, s in enumerate(sizes))
    return Workload(name="toy", parameters={}, graph=graph, samples=4, weight_bytes=sum(sizes),
                    gradients=gradients)  # fmt: skip


def test_a_training_step_is_cut_into_its_phases():
    job = Job.of(training())
    assert [len(job.works[n].graph) for n in ("forward", "backward", "update")] == [2, 3, 1]
    assert job.gradient.graph.flops.sum() == 8.0
    assert job.local_step.graph.flops.sum() == job.step.graph.flops.sum() == 12.0
    assert job.apply is job.update
    assert (job.params.nbytes, job.grad.nbytes) == (60.0, 60.0)


def test_inference_has_one_work():
    workload = Workload(name="toy", parameters={}, graph=Graph.of([op("forward")]), samples=1)
    assert list(Job.of(workload).works) == ["step"]
    assert not workload.training


@given(st.lists(st.floats(1, 100), min_size=1, max_size=20), st.floats(1, 200))
def test_buckets_hold_every_gradient_once_and_close_when_full(sizes, bucket_bytes):
    job = Job.of(training(tuple(sizes)), bucket_bytes=bucket_bytes)
    assert sum(bucket.nbytes for bucket in job.buckets) == pytest.approx(sum(sizes))
    assert all(bucket.nbytes >= bucket_bytes for bucket in job.buckets[:-1])
    marks = [op for _, op in job.backward.marks]
    assert marks == sorted(marks)
    assert marks[-1] == len(sizes) - 1
    assert [name for name, _ in job.backward.marks] == [bucket.name for bucket in job.buckets]


def test_a_bucket_is_ready_when_its_last_gradient_is():
    job = Job.of(training((10.0, 20.0, 30.0)), bucket_bytes=25.0)
    assert job.backward.marks == (("bucket0", 1), ("bucket1", 2))


def test_an_unknown_work_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'forwards' in a job of 'toy'; did you mean 'for"):
        _ = Job.of(training()).forwards


def test_impossible_sizes_are_refused():
    with pytest.raises(InputError, match="steps: expected a whole number of at least 1, got 0"):
        Job.of(training(), steps=0)
    with pytest.raises(InputError, match="bucket_bytes must be positive"):
        Job.of(training(), bucket_bytes=0)
    for nbytes in (-1.0, float("nan"), float("inf"), True, "4", None):
        with pytest.raises(InputError, match="nbytes must be finite and not negative"):
            Buffer("b", nbytes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="buffer: name must be a text; got None"):
        Buffer(None, 8.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="samples per step must be positive"):
        Workload(name="toy", parameters={}, graph=Graph.of([op("forward")]), samples=0)


def test_parts_of_a_buffer_add_up_to_it_and_have_names_of_their_own():
    whole = Buffer("grad", 10.0)
    parts = [whole.part(index, 4) for index in range(4)]
    assert sum(part.nbytes for part in parts) == whole.nbytes
    assert len({part.name for part in parts}) == 4
    assert all(part.whole is whole for part in parts)


@pytest.mark.parametrize(("index", "parts"), [(4, 4), (-1, 4), (0, 0), (0, 1.5)])
def test_a_part_that_there_is_not_is_bad_input(index, parts):
    with pytest.raises(InputError, match="part"):
        Buffer("grad", 8.0).part(index, parts)


def test_a_part_has_no_parts():
    with pytest.raises(InputError, match="has no part"):
        Buffer("grad", 8.0).part(0, 2).part(0, 2)
