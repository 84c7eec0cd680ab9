"""Measure training that is done in torch, and predict it by this machine's model and by events.

Two facts: the rate of links below which compressed gradients make a step quicker, and the
throughput of two processes that train on parameters in common memory. Each rank has one thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Plan, Program
from validation.cases import Case, scenario_of
from validation.suite import Answer, Prediction, Skip

if TYPE_CHECKING:
    from simulator.actions import Rank
    from simulator.workload import Job, Workload
    from validation.timed_steps import Stepped

Settings = Mapping[str, str | float]
PAYS, HOGWILD = "rate_bit_per_s", "throughput"
"""Metrics: below which rate compression pays; samples a second of all processes."""
UNITS = {PAYS: "bit/s", HOGWILD: "samples/s"}
GROUPS = {PAYS: "rate below which compression pays", HOGWILD: "throughput of hogwild"}
DEVICES = 2
RATES_BIT_PER_S = tuple(1e9 * 2 ** (half / 2) for half in range(-2, 6))
"""At which plain and compressed steps are timed: from 0.5 to 5.7 Gbit/s."""
WIDE_MLP: Settings = {"workload": "mlp", "workload.batch": 32.0, "workload.width": 1024.0,
                      "workload.depth": 3.0, "workload.training": "true"}  # fmt: skip
SMALL_CNN: Settings = {"workload": "small-cnn", "workload.batch": 32.0,
                       "workload.training": "true"}  # fmt: skip
COMPRESSED: tuple[Settings, ...] = (
    {"plan.compression": "top-k", "plan.share": 0.01},
    {"plan.compression": "top-k", "plan.share": 0.1},
    {"plan.compression": "low-rank", "plan.factor_rank": 256.0},
)
"""Whose encoding takes so long that links of the rates above are as quick."""
STEPS = 20
"""Of processes in common memory, timed together."""
FINENESS = 1.001
"""Between the rates that a predicted crossing lies between."""
LOWEST, HIGHEST = 1e6, 1e13
"""Rates between which crossings are looked for, bit/s."""


@dataclass(frozen=True, slots=True)
class OnOneThread:
    """Be a plan whose ranks have a thread each, as those that share this machine's cores."""

    plan: Plan

    def place(self, machine: Machine) -> Placement:
        """Return where the plan puts its ranks, with a thread each."""
        found = self.plan.place(machine)
        return Placement(found.devices, [1] * found.size)

    def copies(self, ranks: int) -> IntArray | None:
        """Return which ranks of the plan are alike."""
        return self.plan.copies(ranks)

    def program(self, rank: Rank, job: Job) -> Program:
        """Return the plan's program."""
        return self.plan.program(rank, job)


def asked() -> Iterator[tuple[Settings, str]]:
    """Return the settings and the metric of each case."""
    here: Settings = {"on": "this-machine"}
    for compressed in COMPRESSED:
        yield {**WIDE_MLP, **here, "plan": "data-parallel", **compressed}, PAYS
    for workload in (WIDE_MLP, SMALL_CNN):
        yield {**workload, **here, "plan": "hogwild", "plan.processes": float(DEVICES)}, HOGWILD


def measure(
    make: Callable[[Settings, str], Case], say: Callable[[str], None]
) -> Iterator[Case]:  # fmt: skip
    """Measure all cases; one whose crossing lies outside of the rates is told and left out.

    Parameters
    ----------
    make : from settings and a metric to a case without its measured value
    say : is told of the progress
    """
    cases = [make(*one) for one in asked()]
    pays = [case for case in cases if case.metric == PAYS]
    for case, crossing in zip(pays, _measured_crossings(pays, say), strict=True):
        if crossing is None:
            say(f"{_told(case)}: no crossing between the rates that are measured")
        else:
            yield replace(case, measured=crossing)
    for case in cases:
        if case.metric == HOGWILD:
            yield replace(case, measured=_measured_throughput(case, say))


def _measured_crossings(
    cases: Sequence[Case], say: Callable[[str], None]
) -> list[float | None]:  # fmt: skip
    from validation.timed_steps import measure_steps

    steps = [_stepped(cases[0], plain=True), *map(_stepped, cases)]
    ratios: list[list[float]] = [[] for _ in cases]
    for rate in RATES_BIT_PER_S:
        say(f"links of {rate / 1e9:.2f} Gbit/s")
        plain_s, *compressed_s = measure_steps(steps, DEVICES, rate, tell=say)
        for known, time_s in zip(ratios, compressed_s, strict=True):
            known.append(plain_s / time_s)
    return [crossing_of(RATES_BIT_PER_S, known) for known in ratios]


def crossing_of(rates: Sequence[float], ratios: Sequence[float]) -> float | None:
    """Return the rate at which a ratio of times falls to 1, None where it does not.

    Between two rates the logarithm of the ratio is taken for a straight line over that of the rate.

    >>> crossing_of([1.0, 4.0, 16.0], [4.0, 2.0, 0.5])
    8.0
    """
    logs = [math.log(ratio) for ratio in ratios]
    for place in range(len(logs) - 1):
        high, low = logs[place], logs[place + 1]
        if high >= 0 > low:
            begin, end = math.log(rates[place]), math.log(rates[place + 1])
            return round(math.exp(begin + (end - begin) * high / (high - low)), 9)
    return None


def _measured_throughput(case: Case, say: Callable[[str], None]) -> float:
    from validation.timed_steps import measure_steps

    stepped = _stepped(case)
    [time_s] = measure_steps([stepped], 1, tell=say)
    return _samples(stepped.job) / time_s


def _samples(job: Job) -> float:
    return DEVICES * job.steps * job.workload.samples


def _stepped(case: Case, plain: bool = False) -> Stepped:
    from validation.timed_steps import Stepped

    plan = _plan(case, plain)
    return Stepped(name=_told(case) if not plain else "plain gradients", job=_job(case), plan=plan)


def _told(case: Case) -> str:
    parameters = [f"{name.removeprefix('plan.')} {case.text(name)}" for name in case.settings
                  if name.startswith("plan.")]  # fmt: skip
    return f"{case.text('plan')} of {case.text('workload')}, {', '.join(parameters)}"


def _workload(case: Case) -> Workload:
    from workloads.registry import find_workload

    given: dict[str, Any] = scenario_of(case).under("workload")
    return find_workload(case.text("workload"), **given)


def _job(case: Case) -> Job:
    from simulator.workload import Job

    return Job.of(_workload(case), steps=STEPS if case.metric == HOGWILD else 1)


def _plan(case: Case, plain: bool = False) -> Plan:
    from workloads.plans import find_plan

    given = {} if plain else scenario_of(case).under("plan")
    plan = find_plan(case.text("plan"), **given)
    return plan if case.metric == HOGWILD else OnOneThread(plan)


def predict(case: Case, star: Callable[[int, float], Machine]) -> Answer:
    """Predict a case by the model of this machine.

    Parameters
    ----------
    case : of one of the metrics above
    star : from a number of devices and a rate (bit/s) to a machine with gloo's network
    """
    from hwmodels.this_machine import this_machine
    from simulator.engine.execute import execute

    if case.text("on") != "this-machine":
        return Skip(f"machine {case.text('on')} is not the one at hand")
    device, job = this_machine(), _job(case)
    if case.metric == HOGWILD:
        machine = Machine(device.name, [device])
        time_s = execute(job, machine, _plan(case), record=False).time_s
        return Prediction(_samples(job) / time_s)

    def time_s_at(rate: float, plain: bool) -> float:
        machine = replace(star(DEVICES, rate), devices=[device] * DEVICES)
        return execute(job, machine, _plan(case, plain), record=False).time_s

    def pays(rate: float) -> bool:
        return time_s_at(rate, plain=False) < time_s_at(rate, plain=True)

    return _highest(pays)


def _highest(holds: Callable[[float], bool]) -> Answer:
    """Return up to which rate something holds, by halving what is between."""
    low, high = LOWEST, HIGHEST
    if not holds(low) or holds(high):
        return Skip(f"compression pays at all rates of {low:g} to {high:g} bit/s, or at none")
    while high / low > FINENESS:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return Prediction(math.sqrt(low * high))
