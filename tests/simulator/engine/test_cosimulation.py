"""Co-simulation carries real values in the order that the simulated clock dictates."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.actions import Group
from simulator.engine.cosimulation import part
from simulator.engine.execute import execute
from simulator.errors import BufferRaceError
from simulator.ideal import ideal_machine
from simulator.workload import Buffer
from tests.simulator.plans import By, DataParallel, LocalSGD, ParameterServer, job, work

GRAD, PARAMS, X = Buffer("grad", 48.0), Buffer("params", 48.0), Buffer("x", 48.0)


class Arrays:
    """Hold numpy arrays by name; works are functions of them."""

    def __init__(self, works=None, **arrays):
        self.works, self.arrays = works or {}, {n: np.array(a, float) for n, a in arrays.items()}

    def compute(self, work, reached=None):
        self.works[work.name](self.arrays)

    def read(self, buffer):
        return self.arrays[buffer].copy()

    def write(self, buffer, payload):
        self.arrays[buffer][:] = payload

    def reduce(self, payloads, op):
        total = payloads[0].copy()
        for payload in payloads[1:]:
            total = np.maximum(total, payload) if op == "max" else total + payload
        return total / len(payloads) if op == "mean" else total


def run(program, values, plan=None, the_job=None):
    devices = ideal_machine(len(values))
    return execute(the_job or job(), devices, plan or By(program), values=values)


BEFORE = np.arange(18.0).reshape(3, 6) ** 2
GATHERED = np.concatenate([BEFORE[i, 2 * i : 2 * i + 2] for i in range(3)])


@pytest.mark.parametrize(
    ("call", "after"),
    [
        (lambda r: r.all_reduce(X), [BEFORE.sum(0)] * 3),
        (lambda r: r.all_reduce(X, op="mean"), [BEFORE.mean(0)] * 3),
        (lambda r: r.all_reduce(X, op="max"), [BEFORE.max(0)] * 3),
        (lambda r: r.reduce(X, root=1), [BEFORE[0], BEFORE.sum(0), BEFORE[2]]),
        (lambda r: r.broadcast(X, root=2), [BEFORE[2]] * 3),
        (lambda r: r.all_gather(X), [GATHERED] * 3),
        (lambda r: r.barrier(), list(BEFORE)),
    ],
)  # fmt: skip
def test_collectives_leave_what_their_names_say(call, after):
    def program(rank, _):
        yield call(rank)

    values = [Arrays(x=row) for row in BEFORE]
    run(program, values)
    for holder, expected in zip(values, after, strict=True):
        assert holder.arrays["x"] == pytest.approx(expected)


def test_reduce_scatter_leaves_one_part_of_the_sum_at_each_rank():
    def program(rank, _):
        yield rank.reduce_scatter(X)

    values = [Arrays(x=row) for row in BEFORE]
    run(program, values)
    for index, holder in enumerate(values):
        own = part(6, index, 3)
        assert holder.arrays["x"][own] == pytest.approx(BEFORE.sum(0)[own])


def test_all_to_all_sends_part_j_to_rank_j():
    def program(rank, _):
        yield rank.all_to_all(X)

    values = [Arrays(x=row) for row in BEFORE]
    run(program, values)
    parts = BEFORE.reshape(3, 3, 2)
    for index, holder in enumerate(values):
        assert holder.arrays["x"] == pytest.approx(parts[:, index].ravel())


def test_a_group_is_reduced_in_the_order_of_its_ranks():
    def program(rank, _):
        yield rank.sleep(float(rank.id))
        yield rank.all_reduce(X, Group.of([2, 0, 1]))

    order = []

    class Ordered(Arrays):
        def reduce(self, payloads, op):
            order.append([float(payload[0]) for payload in payloads])
            return super().reduce(payloads, op)

    run(program, [Ordered(x=[float(i)]) for i in range(3)])
    assert order == [[2.0, 0.0, 1.0]]


def test_a_message_carries_what_the_buffer_held_when_it_was_sent():
    def program(rank, job):
        if rank.id == 0:
            yield rank.send(X, to=1)
            yield rank.compute(job.double)
            yield rank.send(X, to=1)
        else:
            yield rank.recv(X, source=0)
            yield rank.compute(job.note)
            yield rank.recv(X, source=0)
            yield rank.compute(job.note)

    seen = []
    works = {
        "double": lambda arrays: arrays["x"].__imul__(2),
        "note": lambda arrays: seen.append(arrays["x"].tolist()),
    }
    values = [Arrays(works, x=[1.0, 2.0]), Arrays(works, x=[0.0, 0.0])]
    run(program, values, the_job=job([work("double", 1e-9), work("note", 0.0)]))
    assert seen == [[1.0, 2.0], [2.0, 4.0]]


def quadratic(rate, target):
    """Return works of gradient descent on |params - target|^2 / 2."""
    return {
        "gradient": lambda a: a["grad"].__setitem__(slice(None), a["params"] - target),
        "apply": lambda a: a["params"].__isub__(rate * a["grad"]),
        "local_step": lambda a: a["params"].__isub__(rate * (a["params"] - target)),
    }


def test_local_sgd_on_a_quadratic_follows_its_closed_form():
    targets = [np.full(3, float(i)) for i in range(4)]
    values = [Arrays(quadratic(0.1, t), params=np.zeros(3), grad=np.zeros(3)) for t in targets]
    the_job = job([work("local_step", 1e-3)], [PARAMS], steps=6)
    run(None, values, LocalSGD(3), the_job)
    # After each step the distance to a target shrinks by 0.9; the mean of the ranks likewise.
    expected = 1.5 * (1 - 0.9**6)
    for holder in values:
        assert holder.arrays["params"] == pytest.approx(np.full(3, expected))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_asynchronous_gradients_of_n_equal_workers_are_n_minus_1_updates_old(workers):
    """See the server count its updates, and each gradient carry the count it was computed from."""
    ages = []

    def apply(arrays):
        ages.append(arrays["params"][0] - arrays["grad"][0])
        arrays["params"] += 1.0

    works = {"gradient": lambda a: a["grad"].__setitem__(slice(None), a["params"]), "apply": apply}
    values = [Arrays(works, params=np.zeros(1), grad=np.zeros(1)) for _ in range(workers + 1)]
    the_job = job([work("gradient", 1e-2), work("apply", 1e-5)], [GRAD, PARAMS], steps=6)
    run(None, values, ParameterServer(), the_job)
    assert ages[workers:] == [workers - 1] * (workers * 5)


def test_values_are_never_folded():
    values = [Arrays(quadratic(0.1, 0.0), params=np.ones(2)) for _ in range(3)]
    the_job = job([work("local_step", 1e-3)], [PARAMS], steps=2)
    outcome = run(None, values, LocalSGD(1), the_job)
    assert outcome.folding == "all 3 ranks simulated: they hold values"


def test_values_change_no_time():
    works = [work("forward", 1e-3), work("backward", 2e-3, marks=(("grad", 0),), writes=("grad",)),
             work("update", 1e-4, reads=("grad",))]  # fmt: skip
    the_job = job(works, [GRAD], steps=3, buckets=(GRAD,))
    nothing = dict.fromkeys(("forward", "backward", "update"), lambda arrays: None)
    values = [Arrays(nothing, grad=np.ones(4)) for _ in range(3)]
    with_values = run(None, values, DataParallel(), the_job)
    without = execute(the_job, ideal_machine(3), DataParallel())
    assert (with_values.time_s, with_values.step_ends_s) == (without.time_s, without.step_ends_s)


def test_races_are_found_with_values_too():
    def program(rank, _):
        yield rank.start(rank.all_reduce(X))
        yield rank.recv(X)

    with pytest.raises(BufferRaceError):
        run(program, [Arrays(x=row) for row in BEFORE])


@pytest.mark.parametrize(("length", "parts"), [(10, 3), (2, 5), (0, 2), (8, 1)])
def test_parts_cover_an_array_once(length, parts):
    covered = [i for index in range(parts) for i in range(length)[part(length, index, parts)]]
    assert covered == list(range(length))


def test_parts_of_a_buffer_are_sent_and_what_comes_is_reduced_into_them():
    def ring(rank, job):
        p, right, left = rank.size, (rank.id + 1) % rank.size, (rank.id - 1) % rank.size
        for step in range(2 * (p - 1)):
            yield rank.send(X.part((rank.id - step) % p, p), to=right)
            op = "sum" if step < p - 1 else None
            yield rank.recv(X.part((rank.id - step - 1) % p, p), source=left, op=op)

    values = [Arrays(x=row) for row in BEFORE]
    run(ring, values)
    assert all(np.array_equal(one.arrays["x"], BEFORE.sum(0)) for one in values)


def test_a_collective_over_a_part_leaves_the_rest_alone():
    def program(rank, job):
        yield rank.all_reduce(X.part(1, 3), op="max")

    values = [Arrays(x=row) for row in BEFORE]
    run(program, values)
    for one, row in zip(values, BEFORE, strict=True):
        assert np.array_equal(one.arrays["x"][2:4], BEFORE[:, 2:4].max(0))
        assert np.array_equal(one.arrays["x"][[0, 1, 4, 5]], row[[0, 1, 4, 5]])


def test_what_comes_may_be_reduced_into_a_whole_buffer():
    def program(rank, job):
        if rank.id == 0:
            yield rank.recv(X, source=1, op="max")
        else:
            yield rank.send(X, to=0)

    values = [Arrays(x=[1.0, 5.0]), Arrays(x=[4.0, 2.0])]
    run(program, values)
    assert values[0].arrays["x"].tolist() == [4.0, 5.0]
