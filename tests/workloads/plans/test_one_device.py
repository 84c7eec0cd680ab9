"""Plans for one machine: what they yield, in which order, and what they refuse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.actions import Compute, Handle, Rank, Start, Wait
from simulator.errors import InputError, UnknownNameError
from simulator.ops import Graph, Op
from simulator.protocols import Machine, Plan
from simulator.workload import Job, Workload
from workloads.plans import PLANS, find_plan
from workloads.plans.one_device import Prefetch, Single, Threads, chains_of


@dataclass(frozen=True)
class FakeDevice:
    """A device that has threads and nothing else."""

    name: str = "fake"
    max_threads: int = 4
    memory_bytes: float | None = None

    def times_s(self, graph, threads):
        return np.ones(len(graph))

    def open(self, clock):
        raise AssertionError("plans never open a device")


def job_of(deps, steps=1):
    ops = [Op(kind="copy", dims=(1,), name=f"op{at}") for at in range(len(deps))]
    return Job.of(Workload(name="w", parameters={}, graph=Graph.of(ops, deps), samples=1), steps)


def played(plan, job):
    """Play a program on a clock of one tick an op; return (name, start, end) of each op."""
    program = plan.program(Rank(0, 1), job)
    spans: list[tuple[str, int, int]] = []
    running: dict[Handle, int] = {}
    now, answer = 0, None
    while True:
        try:
            action = program.send(answer)
        except StopIteration:
            return spans
        if isinstance(action, Compute):
            ends = now + len(action.work.graph)
            spans += [(op.name, now + at, now + at + 1) for at, op in enumerate(action.work.graph)]
            now, answer = ends, None
        elif isinstance(action, Start):
            assert isinstance(action.action, Compute)
            handle = Handle(action.action)
            graph = action.action.work.graph
            spans += [(op.name, now + at, now + at + 1) for at, op in enumerate(graph)]
            running[handle] = now + len(graph)
            answer = handle
        else:
            assert isinstance(action, Wait)
            assert action.first
            answer = min(action.handles, key=running.__getitem__)
            now = max(now, running.pop(answer))


graphs = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.sets(st.integers(0, at - 1)) if at else st.just(set())
                          for at in range(n)])
)  # fmt: skip


def test_plans_meet_the_protocol():
    assert all(isinstance(find_plan(name), Plan) for name in PLANS)


def test_a_single_thread_does_the_step_as_often_as_asked():
    actions = list(Single().program(Rank(0, 1), job := job_of([[], [0]], steps=3)))
    assert actions == [Compute(job.step)] * 3


def test_threads_within_ops_change_the_placement_not_the_program():
    job = job_of([[], [0]])
    assert list(Threads(4).program(Rank(0, 1), job)) == list(Single().program(Rank(0, 1), job))
    assert Threads(4).place(Machine("m", (FakeDevice(),))).threads == (4,)
    assert Single().place(Machine("m", (FakeDevice(),))).threads == (1,)


def test_more_threads_than_the_device_allows_are_refused_with_its_name():
    with pytest.raises(InputError, match="5 threads on 'fake', which allows 1 to 4"):
        Threads(5).place(Machine("m", (FakeDevice(),)))


def test_independent_ops_overlap_in_two_lanes():
    played_spans = played(Threads(inter_op=2), job_of([[], [0], [0], [1, 2]]))
    spans = {name: (start, end) for name, start, end in played_spans}
    assert spans == {"op0": (0, 1), "op1": (1, 2), "op2": (1, 2), "op3": (2, 3)}


@given(graphs, st.integers(2, 4))
def test_lanes_do_every_op_once_after_what_it_waits_for_and_never_more_at_a_time(deps, lanes):
    spans = {name: (start, end) for name, start, end in
             played(Threads(inter_op=lanes), job_of(deps))}  # fmt: skip
    assert len(spans) == len(deps)
    for at, before in enumerate(deps):
        assert all(spans[f"op{earlier}"][1] <= spans[f"op{at}"][0] for earlier in before)
    for tick in range(len(deps)):
        assert sum(start <= tick < end for start, end in spans.values()) <= lanes


@given(graphs, st.integers(2, 4))
def test_list_scheduling_stays_within_grahams_bound(deps, lanes):
    """T <= W / lanes + (1 - 1 / lanes) C  (Graham, Bell System Technical Journal 45, 1966)."""
    depth: list[int] = []
    for before in deps:
        depth.append(1 + max((depth[earlier] for earlier in before), default=0))
    end = max(end for _, _, end in played(Threads(inter_op=lanes), job_of(deps)))
    assert end >= max(*depth, len(deps) / lanes)
    assert end <= len(deps) / lanes + (1 - 1 / lanes) * max(depth) + 1e-9


@given(graphs)
def test_chains_cover_all_ops_and_wait_only_inside_or_before(deps):
    ops = [Op(kind="copy", dims=(1,)) for _ in deps]
    graph = Graph.of(ops, deps)
    chains = chains_of(graph)
    for work in chains.works:
        assert [work.graph.deps_of(at).tolist() for at in range(len(work.graph))] == [
            [at - 1] if at else [] for at in range(len(work.graph))
        ]
    assert sum(len(work.graph) for work in chains.works) == len(deps)
    assert all(later > at for at, found in enumerate(chains.before) for later in found)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "4"])
def test_threads_must_be_a_whole_number_of_at_least_one(value):
    with pytest.raises(InputError, match="whole number of at least 1"):
        Threads(value)


def test_unknown_plans_and_parameters_tell_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'threads'"):
        find_plan("thread")
    with pytest.raises(UnknownNameError, match="did you mean 'inter_op'"):
        find_plan("threads", interop=2)


# --- input from a host


def test_the_next_input_is_copied_while_a_step_computes():
    ops = [Op(kind="sort", dims=(1, 1))] * 3
    workload = Workload(name="w", parameters={}, graph=Graph.of(ops), samples=1, input_bytes=8.0)
    job = Job.of(workload, 2)
    program = Prefetch().program(Rank(0, 1), job)
    for _ in range(job.steps):
        started = next(program)
        assert isinstance(started, Start)
        assert started.action == Compute(job.works["input"])
        handle = Handle(started.action)
        assert program.send(handle) == Compute(job.works["step"])
        assert program.send(None) == Wait((handle,))
    assert next(program, None) is None


def test_without_input_there_is_nothing_to_copy():
    assert played(Prefetch(), job_of([[], [0]])) == played(Single(), job_of([[], [0]]))
