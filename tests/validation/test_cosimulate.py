"""Co-simulated training learns what the same training on real machines learns."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from scalemodel import capture
from simulator.check_plan import training_step
from simulator.engine.execute import execute
from simulator.errors import InputError, UnknownNameError
from simulator.ideal import IdealDevice, ideal_machine
from simulator.ops import FloatArray
from simulator.protocols import Machine
from simulator.simulate import job_of, simulate
from tests.simulator.plans import By
from tests.validation.learning_tasks import learning
from validation.cosimulate import FINENESS, Cosimulation, InterruptedLearning, cosimulate
from validation.ranks import run_ranks
from validation.torch_learning import Lesson
from workloads.datasets import Dataset, blobs, digits
from workloads.plans import (
    DataParallel,
    Federated,
    Gossip,
    Hogwild,
    LocalSGD,
    ParameterServer,
    Single,
)
from workloads.plans.compression import METHODS
from workloads.plans.disturbed import Stragglers
from workloads.registry import find_workload

CLOUDS = blobs(samples=500, features=6, classes=3)
RATE = 0.05


def step(batch=8, **parameters):
    return find_workload("mlp", batch=batch, inputs=6, width=7, depth=1, classes=3, training=True,
                         **parameters)  # fmt: skip


def trained(plan, ranks, steps=12, data=CLOUDS, rate=RATE, **given) -> Cosimulation:
    model = given.pop("model", None) or step()
    return cosimulate(model, data, plan, ideal_machine(ranks), steps=steps, learning_rate=rate,
                      **given)  # fmt: skip


def by_hand(ranks, steps, model=None, data=CLOUDS, rate=RATE) -> FloatArray:
    """Train in a plain loop: gradients of the ranks' batches, averaged in rank order."""
    job = job_of(model or step(), DataParallel(), steps, 0)
    lesson = Lesson(job, data, ranks)
    dealt = [data.batches(rank, ranks, lesson.batch) for rank in range(ranks)]
    params = lesson.initial.clone()
    for _ in range(steps):
        lesson.look_at(params)
        total = torch.zeros_like(params)
        for batches in dealt:
            loss = lesson.loss_of(next(batches))
            parts = torch.autograd.grad(loss, lesson.held)
            total += torch.cat([one.flatten() for one in parts])
        params.add_(total / ranks, alpha=-rate)
    return params.numpy()


def near(one, other, relative):
    return np.abs(one - other).max() <= relative * np.abs(other).max()


# --- in step ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_data_parallel_is_the_mean_of_gradients_in_rank_order_bit_for_bit(ranks):
    assert (trained(DataParallel(), ranks).parameters == by_hand(ranks, 12)).all()


@pytest.mark.parametrize(
    "plan",
    [ParameterServer(), ParameterServer(servers=2), ParameterServer(overlap=True, servers=2)],
    ids=str,
)
def test_a_synchronous_parameter_server_learns_what_data_parallel_learns_bit_for_bit(plan):
    found = trained(plan, 3 + plan.servers)
    assert (found.parameters == by_hand(3, 12)).all()


def test_workers_in_groups_learn_what_data_parallel_learns():
    found = trained(ParameterServer(group=2, servers=2, overlap=True), 6)
    assert near(found.parameters, by_hand(4, 12), 1e-5)


def test_buckets_change_nothing():
    small = trained(DataParallel(bucket_bytes=40.0), 3)
    assert (small.parameters == trained(DataParallel(), 3).parameters).all()


def test_data_parallel_is_one_big_batch():
    ranks, steps = 4, 6
    model = step(batch=8, dtype="float64")
    small = trained(DataParallel(), ranks, steps, model=model)
    lesson = Lesson(job_of(model, DataParallel(), steps, 0), CLOUDS, ranks)
    dealt = [CLOUDS.batches(rank, ranks, 8) for rank in range(ranks)]
    params = lesson.initial.clone()
    for _ in range(steps):
        lesson.look_at(params)
        loss = lesson.loss_of(np.concatenate([next(batches) for batches in dealt]))
        parts = torch.autograd.grad(loss, lesson.held)
        params = params - RATE * torch.cat([one.flatten() for one in parts])
    assert near(small.parameters, params.numpy(), 1e-6)


def test_local_sgd_of_one_step_is_data_parallel():
    one = trained(LocalSGD(every=1), 4).parameters
    assert near(one, trained(DataParallel(), 4).parameters, 1e-5)


def test_accumulated_batches_are_as_many_ranks():
    data = CLOUDS.distributed("replicated")
    lesson = Lesson(job_of(step(), Single(), 1, 0), data, 1)
    batches = data.batches(0, 1, 8)
    loss = lesson.loss_of(np.concatenate([next(batches), next(batches)]))
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, lesson.held)])
    found = trained(DataParallel(accumulation=2), 1, steps=1, data=data).parameters
    assert near(found, (lesson.initial - RATE * gradient).numpy(), 1e-6)


# --- stale -----------------------------------------------------------------------------------


def test_stale_synchronous_with_bound_0_is_synchronous_after_equal_samples():
    """Each gradient is an update of its own, so that it weighs 1/n at 1/n of the rate."""
    plan = ParameterServer(mode="stale-synchronous", staleness=0)
    stale = trained(plan, 5, rate=RATE / 4)
    assert near(stale.parameters, trained(ParameterServer(), 5).parameters, 1e-5)


class Bowl(nn.Module):
    """Be half the square of one number: a quadratic of curvature 1."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, given):
        return 0.5 * (self.x * self.x).sum() + 0.0 * (given @ given).sum()


QUADRATIC = capture(Bowl(), (torch.zeros(1, 1, dtype=torch.float64),), training=True,
                    optimizer="sgd")  # fmt: skip
NOTHING = Dataset(name="nothing", inputs=np.zeros((64, 1)), labels=np.zeros(64),
                  test_inputs=np.zeros((1, 1)), test_labels=np.zeros(1),
                  distribution="replicated")  # fmt: skip


def limit(delay: int) -> float:
    """Return the rate up to which x' = x - rate x[delay ago] is stable."""
    return 2 * math.sin(math.pi / (2 * (2 * delay + 1)))


class Number:
    """Be a rank that learns the same quadratic by plain arithmetic, and notes each of its models.

    Parameters
    ----------
    rate : of each update
    memory : of the buffers; ranks may have some in common
    """

    def __init__(self, rate: float, memory: Mapping[str, FloatArray]) -> None:
        self.rate, self.memory = rate, dict(memory)
        self.models: list[float] = []

    def compute(self, work, reached=None):
        params, grad = self.memory["params"], self.memory["grad"]
        if work.name == "gradient":
            grad[:] = params
        else:
            params -= self.rate * grad
            self.models.append(float(params[0]))

    def read(self, buffer):
        return self.memory[buffer].copy()

    def write(self, buffer, payload):
        self.memory[buffer][:] = payload

    def reduce(self, payloads, op):
        return sum(payloads)


def grows(models: Sequence[float]) -> bool:
    """Say whether the last quarter of the models is farther from 0 than the second."""
    quarter = len(models) // 4
    sizes = np.abs(models)
    return bool(sizes[-quarter:].max() > sizes[quarter : 2 * quarter].max())


@pytest.mark.parametrize("workers", range(1, 17))
def test_asynchronous_sgd_on_a_quadratic_is_stable_up_to_the_limit_of_its_delay(workers):
    """Equal workers see parameters n - 1 updates old: x' = x - lr x[n - 1 ago]."""
    steps, machine = 3000 // workers, ideal_machine(workers + 1)
    plan = ParameterServer(mode="asynchronous")

    def models(rate):
        ranks = [Number(rate, {"params": np.ones(1), "grad": np.zeros(1)})
                 for _ in range(workers + 1)]  # fmt: skip
        execute(job_of(QUADRATIC, plan, steps, 0), machine, plan, values=ranks)
        return ranks[-1].models

    assert not grows(models(0.97 * limit(workers - 1)))
    assert grows(models(1.03 * limit(workers - 1)))


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "steps"), [(1, 200), (2, 300), (4, 500)])
def test_learners_are_stable_up_to_the_same_limit(workers, steps):
    def left(rate):
        plan = ParameterServer(mode="asynchronous")
        found = trained(plan, workers + 1, steps, NOTHING, rate, model=QUADRATIC, judgements=1)
        return abs(float(found.parameters[0]))

    assert left(0.97 * limit(workers - 1)) < 1e-1
    assert left(1.03 * limit(workers - 1)) > 1e1


# --- on common memory -------------------------------------------------------------------------


def cores(count: int) -> Machine:
    return ideal_machine(1, device=IdealDevice(max_threads=count))


STEP_S = simulate(training_step(), cores(1), Hogwild(1)).step_time_s


class InTurn(Hogwild):
    """Let processes begin one after the other, evenly over a step."""

    def program(self, rank, job):
        yield rank.sleep(STEP_S * rank.id / rank.size)
        yield from super().program(rank, job)


@pytest.mark.parametrize("processes", [1, 2, 3, 8, 16])
def test_hogwild_in_turn_is_stable_up_to_the_limit_of_its_delay(processes):
    """Between a gradient and its update each of the others updates once."""
    job = job_of(training_step(), Hogwild(), 3000 // processes, 0)
    plan = InTurn(processes)

    def models(rate):
        params = np.ones(1)
        ranks = [Number(rate, {"params": params, "grad": np.zeros(1)}) for _ in range(processes)]
        execute(job, cores(processes), plan, values=ranks)
        return ranks[0].models

    assert not grows(models(0.97 * limit(processes - 1)))
    assert grows(models(1.03 * limit(processes - 1)))


def test_hogwild_in_step_is_one_process_at_so_many_times_the_rate():
    """All take the gradient of the same parameters, and all update them."""

    def left(processes, rate):
        return cosimulate(QUADRATIC, NOTHING, Hogwild(processes), cores(processes), steps=20,
                          learning_rate=rate).parameters[0]  # fmt: skip

    assert left(3, 0.1) == pytest.approx(left(1, 0.3), rel=1e-12)


def test_hogwild_learns_one_model_and_depends_on_the_seed_only():
    plan = Stragglers(Hogwild(4), delay=1.0)
    once, again, other = (
        cosimulate(step(), CLOUDS, plan, cores(4), steps=120, seed=seed, learning_rate=RATE)
        for seed in (0, 0, 1)
    )
    assert (once.parameters == again.parameters).all()
    assert (once.parameters != other.parameters).any()
    assert once.accuracy[-1] > 0.85
    assert once.samples[-1] == 4 * 120 * 8
    assert once.sent_bytes[-1] == 0


# --- compressed -------------------------------------------------------------------------------


def test_top_k_of_all_numbers_is_plain_data_parallel_bit_for_bit():
    plan = DataParallel(compression="top-k", share=1.0, bucket_bytes=100.0)
    assert (trained(plan, 3).parameters == trained(DataParallel(), 3).parameters).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_compressed_gradients_teach_a_small_network_nearly_as_well(method):
    model = find_workload("small-cnn", batch=16, image=8, channels=1, training=True)
    given = {"steps": 120, "data": digits(), "rate": 0.1, "model": model, "judgements": 1}
    found = trained(DataParallel(compression=method, share=0.05), 4, **given)
    assert found.accuracy[-1] > trained(DataParallel(), 4, **given).accuracy[-1] - 0.05


# --- apart -----------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["ring", "exponential"])
def test_gossip_forgets_differences_at_the_second_eigenvalue_of_its_mixing_matrix(topology):
    """Without gradients the parameters of all ranks approach their mean, step by step."""
    ranks, steps, plan = 8, 12, Gossip(topology)
    matrix = plan.mixing_matrix(ranks)
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    if topology == "exponential":  # not symmetric: compare with the matrix itself
        begin = np.arange(ranks, dtype=float)
    else:
        begin = vectors[:, np.argsort(-np.abs(values))[1]]
    job = job_of(QUADRATIC, plan, steps, 0)
    lesson = Lesson(job, NOTHING, ranks, learning_rate=0.0)
    learners = [lesson.learner(rank) for rank in range(ranks)]
    for learner, value in zip(learners, begin, strict=True):
        learner.params.fill_(value)
    execute(job, ideal_machine(ranks), plan, values=learners)
    left = np.array([float(learner.params[0]) for learner in learners])
    wanted = np.linalg.matrix_power(matrix, steps) @ begin
    assert np.allclose(left, wanted, rtol=1e-9, atol=1e-12)
    if topology == "ring":
        second = np.sort(np.abs(values))[-2]
        assert np.linalg.norm(left) == pytest.approx(second**steps, rel=1e-9)


@pytest.mark.parametrize("edges", [0, 2])
def test_federated_averaging_of_all_clients_is_local_sgd(edges):
    plan = Federated(wanted=4, local_steps=3, edges=edges)
    found = trained(plan, 5 + edges, steps=4)
    assert near(found.parameters, trained(LocalSGD(every=3), 4, steps=4).parameters, 1e-5)


def test_ranks_that_see_few_classes_need_more_rounds():
    data = blobs(samples=1000, features=6, classes=6)
    model = find_workload("mlp", batch=8, inputs=6, width=16, depth=1, classes=6, training=True)
    rounds = {}
    for how in ("shuffled", "by-label"):
        found = trained(LocalSGD(every=20), 6, 30, data.distributed(how), 0.1, model=model,
                        judgements=30)  # fmt: skip
        rounds[how] = found.to_accuracy(0.8, "steps") or math.inf
    assert rounds["by-label"] > rounds["shuffled"]


# --- whatever the plan -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan",
    [DataParallel(), LocalSGD(every=3),
     *(DataParallel(compression=how) for how in ("float16", "sign", "low-rank"))],
    ids=str,
)  # fmt: skip
def test_real_processes_learn_the_same_bit_for_bit(plan):
    if not hasattr(os, "fork"):
        pytest.skip("ranks are forked, which this system cannot")
    left = run_ranks(learning(plan, 6, RATE), 2).of_ranks
    found = trained(plan, 2, steps=6).parameters
    assert (left[0] == found).all()
    assert (left[1] == found).all()


SEEDED = """
from tests.validation.test_cosimulate import *
plan = Stragglers(ParameterServer(mode="asynchronous"), delay=0.5)
print(trained(plan, 4, seed=3).parameters.tobytes().hex())
"""


def test_equal_seeds_give_equal_results_in_any_process():
    plan = Stragglers(ParameterServer(mode="asynchronous"), delay=0.5)
    here = trained(plan, 4, seed=3).parameters.tobytes().hex()
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    there = subprocess.run([sys.executable, "-c", SEEDED], capture_output=True, text=True,
                           check=True, env=environment)  # fmt: skip
    assert there.stdout.strip() == here
    assert trained(plan, 4, seed=4).parameters.tobytes().hex() != here


def test_time_is_that_of_the_run_and_axes_only_grow():
    plan = LocalSGD(every=2)
    found = trained(plan, 4, judgements=5)
    assert found.time_s[-1] == found.run.time_s
    assert found.run.time_s == simulate(step(), ideal_machine(4), plan, steps=12).time_s
    for name in ("time_s", "steps", "samples", "sent_bytes"):
        assert (np.diff(getattr(found, name)) > 0).all()
    assert found.samples[-1] == 4 * 12 * 2 * 8
    assert list(found.table()["accuracy"]) == list(found.accuracy)
    assert "LocalSGD" in str(found)
    assert found.to_accuracy(2.0) is None


# --- how long ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "ranks"),
    [(DataParallel(), 4), (DataParallel(accumulation=2), 2), (LocalSGD(every=5), 4),
     (ParameterServer(mode="asynchronous"), 5), (Federated(wanted=4), 5)],
    ids=str,
)  # fmt: skip
def test_epochs_are_as_many_samples_as_there_are(plan, ranks):
    found = trained(plan, ranks, None, epochs=3)
    samples = found.run.steps * found.run.samples_per_step
    assert 0 <= samples - 3 * len(CLOUDS.labels) < found.run.samples_per_step


@pytest.mark.parametrize("plan", [DataParallel(), ParameterServer(mode="asynchronous")], ids=str)
def test_training_stops_at_its_target_and_is_what_it_would_have_been_so_far(plan):
    found, whole = (trained(plan, 4, 200, target=wanted) for wanted in (0.8, None))
    assert found.accuracy[-1] >= 0.8 > found.accuracy[:-1].max()
    assert found.run.steps == found.steps[-1] < whole.run.steps
    assert found.to_accuracy(0.8) == found.time_s[-1] <= whole.to_accuracy(0.8)
    again = trained(plan, 4, 200, target=0.8)
    assert (again.parameters == found.parameters).all()


def test_the_time_to_a_target_is_late_by_a_twentieth_at_most():
    steps = trained(DataParallel(), 2, 300, target=1.0, rate=1e-6).steps
    assert (np.diff(steps) <= 1 + FINENESS * steps[:-1]).all()


def test_a_target_that_is_reached_at_once_takes_no_step():
    found = trained(DataParallel(), 2, target=0.0)
    assert found.steps.tolist() == [0]
    assert found.to_accuracy(0.0) == 0.0


def test_what_was_found_before_an_interrupt_is_kept():
    def interrupt(done, of):
        assert of == 50
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedLearning) as caught:
        trained(DataParallel(), 2, 50, judgements=10, progress=interrupt)
    found, whole = caught.value.found, trained(DataParallel(), 2, 50, judgements=10)
    assert found.run.steps == 20
    assert (found.accuracy[:-1] == whole.accuracy[: len(found.accuracy) - 1]).all()
    assert found.steps[-2:].tolist() == [15, 20]
    assert found.time_s[-1] == found.run.time_s


def test_what_cannot_be_learned_is_said():
    with pytest.raises(InputError, match="steps or epochs, not both"):
        trained(Single(), 1, 3, epochs=1)
    with pytest.raises(InputError, match="epochs: expected"):
        trained(Single(), 1, None, epochs=0)
    with pytest.raises(InputError, match="target: expected"):
        trained(Single(), 1, target=90)
    with pytest.raises(UnknownNameError, match="did you mean 'judgements'"):
        trained(Single(), 1, judgments=3)
    for rate in ([0.1], True, -1, math.nan):
        with pytest.raises(InputError, match="learning_rate: expected"):
            trained(Single(), 1, rate=rate)
    with pytest.raises(InputError, match=r"has 4 classes; 'mlp' knows 2 \(workload.classes\)"):
        trained(Single(), 1, data=blobs(samples=50),
                model=find_workload("mlp", inputs=16, classes=2, training=True))  # fmt: skip
    with pytest.raises(InputError, match="bfloat16; co-simulation learns in"):
        trained(Single(), 1, data=blobs(samples=50),
                model=find_workload("mlp", inputs=16, dtype="bfloat16", training=True))  # fmt: skip
    with pytest.raises(InputError, match="does not train"):
        trained(Single(), 1, model=find_workload("mlp", inputs=6))
    with pytest.raises(InputError, match="samples of 16 numbers"):
        trained(Single(), 1, data=blobs(samples=50))
    with pytest.raises(InputError, match="too few for 600 ranks"):
        trained(DataParallel(), 600)
    with pytest.raises(UnknownNameError, match="distribution"):
        CLOUDS.distributed("sorted")
    with pytest.raises(InputError, match="batches of other sizes"):
        trained(DataParallel(global_batch=7), 2)


def test_a_seed_may_have_more_bits_than_torch_takes():
    assert trained(Single(), 1, 3, seed=10**30).steps[-1] == 3


def test_a_rate_that_is_far_too_high_diverges_and_leaves_a_finite_time():
    found = trained(Single(), 1, 3, rate=10**30)
    assert math.isfinite(found.time_s[-1])
    assert not found.loss[-1] < found.loss[0]


def test_ranks_that_exchange_nothing_are_not_taken_for_one_model() -> None:
    def alone(rank, job):
        yield rank.compute(job.local_step)

    with pytest.raises(InputError, match="exchange nothing"):
        trained(By(alone), 2)
