"""How fast the engine is, as ratios against bare SimPy timeouts in the same run."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import simpy

from simulator.actions import Group
from simulator.engine.execute import execute
from simulator.ideal import ideal_machine
from simulator.workload import Buffer
from tests.simulator.plans import By, job, work

pytestmark = pytest.mark.benchmark

RANKS = 8
ROUNDS = 6000
"""Of each rank; a bare process does as many timeouts."""
WORK = work("work", 1.0)
OUT, IN = Buffer("out", 1e6), Buffer("in", 1e6)


def bare(ranks=RANKS, rounds=ROUNDS):
    """Do nothing but timeouts."""

    def process(environment):
        for _ in range(rounds):
            yield environment.timeout(1.0)

    environment = simpy.Environment()
    for _ in range(ranks):
        environment.process(process(environment))
    environment.run()


def sleeps(rank, _):
    for _ in range(ROUNDS):
        yield rank.sleep(1.0)


def computes(rank, _):
    for _ in range(ROUNDS):
        yield rank.compute(WORK)


def messages(rank, _):
    right, left = (rank.id + 1) % rank.size, (rank.id - 1) % rank.size
    for _ in range(ROUNDS // 2):
        yield rank.send(OUT, right)
        yield rank.recv(IN, left)


def collectives(rank, _):
    for _ in range(ROUNDS):
        yield rank.all_reduce(OUT)


def overlapped(rank, _):
    """Yield eight actions a round, two of them inside the starts."""
    for _ in range(ROUNDS // 8):
        yield rank.compute(WORK)
        behind = yield rank.start(rank.compute(WORK))
        reduced = yield rank.start(rank.all_reduce(OUT))
        yield rank.wait(behind, reduced)
        yield rank.compute(WORK)
        yield rank.sleep(1.0)


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("program", [sleeps, computes, messages, collectives, overlapped])
def test_actions_against_bare_timeouts(program, record, cpu_s, report):
    machine, plan, nothing = ideal_machine(RANKS), By(program), job()
    actions_s = cpu_s(functools.partial(execute, nothing, machine, plan, record=record))
    timeouts_s = cpu_s(bare)
    kept = "recorded" if record else "not recorded"
    name = f"engine: actions/s over bare timeouts/s, {program.__name__}, {kept}"
    report(name, timeouts_s / actions_s, ">= 0.4" if record else ">= 0.6")


STAGES, MICROBATCHES, LAYERS = 8, 64, 96


def pipeline(forward, backward):
    """Return a program of forward and backward passes, each a list of works, over the stages."""

    def program(rank, _):
        first, last = rank.id == 0, rank.id == rank.size - 1
        for _ in range(MICROBATCHES):
            if not first:
                yield rank.recv(IN, rank.id - 1)
            for layer in forward:
                yield rank.compute(layer)
            if not last:
                yield rank.send(OUT, rank.id + 1)
        for _ in range(MICROBATCHES):
            if not last:
                yield rank.recv(IN, rank.id + 1)
            for layer in backward:
                yield rank.compute(layer)
            if not first:
                yield rank.send(OUT, rank.id - 1)

    return program


@pytest.mark.parametrize(("works", "target"), [(1, "<= 20 ms"), (LAYERS // STAGES, "")])
def test_a_pipelined_step_of_96_layers(works, target, cpu_s, report):
    layers = [1e-3] * (LAYERS // STAGES // works)
    forward = [work(f"forward{i}", *layers) for i in range(works)]
    backward = [work(f"backward{i}", *layers, *layers) for i in range(works)]
    plan = By(pipeline(forward, backward))
    run = functools.partial(execute, job(), ideal_machine(STAGES), plan, record=False)
    report(
        f"engine: 96 layers x 64 micro-batches x 8 stages, {works} works a pass and stage, ms",
        1e3 * cpu_s(run), target,
    )  # fmt: skip


@pytest.mark.parametrize(("fold", "target"), [(True, "<= 25 ms"), (False, "")])
def test_a_pipeline_on_1024_ranks(fold, target, cpu_s, report):
    width = 1024 // STAGES

    def program(rank, _):
        stage = rank.id // width
        for _ in range(MICROBATCHES):
            if stage:
                yield rank.recv(IN, rank.id - width)
            yield rank.compute(WORK)
            if stage < STAGES - 1:
                yield rank.send(OUT, rank.id + width)
        yield rank.all_reduce(OUT, Group.of(range(stage * width, (stage + 1) * width)))

    plan = By(program, np.arange(1024).reshape(STAGES, width))
    run = functools.partial(execute, job(), ideal_machine(1024), plan, record=False, fold=fold)
    how = "8 of 1,024 ranks simulated" if fold else "all 1,024 ranks simulated"
    report(f"engine: {how}, ms", 1e3 * cpu_s(run, 5 if fold else 1), target)


def test_a_program_of_one_action(cpu_s, report):
    def program(rank, _):
        yield rank.compute(WORK)

    machine, plan, nothing = ideal_machine(1), By(program), job()

    def many():
        for _ in range(1000):
            execute(nothing, machine, plan, record=False)

    report("engine: a run of one action, µs", 1e3 * cpu_s(many), "<= 30 µs")
