"""Measure training steps between processes of this machine, and predict them by events.

The processes have a network of their own: links of one rate to one switch (`shaped_network`). Each
sleeps as long as its passes are said to take (`timed_steps`), so that two cores play any number of
ranks; what is exchanged is real. Measured and simulated is one program, the plan's. Plan
"torch-ddp" is torch's own DistributedDataParallel, predicted by our data-parallel plan.
Other cases train in torch (`real`). Nothing is fitted on the cases.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from simulator.errors import InputError, UnknownNameError
from validation.cases import Case, Conversion, convert_rows, number, once
from validation.suite import Answer, Calibration, Predict, Prediction, Row, Skip, Suite
from validation.suites.ddp_live import real

if TYPE_CHECKING:
    from simulator.protocols import Machine, Plan
    from simulator.workload import Job
    from validation.timed_steps import Stepped

NAME = "ddp-live"
RANKS = (2, 4, 8)
LAYERS = 8
MEGABYTE = 2.0**20
WEIGHT_BYTES = LAYERS * MEGABYTE
SMALL, WHOLE = MEGABYTE, 25 * MEGABYTE
"""Bucket sizes: of one layer; torch's default, which holds all."""
PASSES_S = ((0.0, 0.0), (0.016, 0.04), (0.04, 0.16))
"""Forward and backward: nothing, less, and more than what is exchanged takes at 1 Gbit/s."""
ROUNDS = (1.0, 4.0, 16.0)
RATE_BIT_PER_S = 1e9
MOST_ALIKE = 4
"""Ranks above which two cores no longer serve all connections in time."""
TORCH, DATA, LOCAL, SERVER, GOSSIP = (
    "torch-ddp", "data-parallel", "local-sgd", "parameter-server", "gossip"
)  # fmt: skip
COLUMNS = ("ranks", "rate", "grad_bytes", "pattern", "bucket_cap_mb", "fwd_sleep_ms",
           "bwd_sleep_ms", "local_steps_H", "t_med_ms", "source", "licence")  # fmt: skip
NO_LIMIT = "none"
"""What a table says of links that were not limited."""
Settings = Mapping[str, str | float]


def measure(say: Callable[[str], None]) -> Sequence[Case]:
    """Measure the steps of all plans on this machine; takes about five minutes.

    Raises
    ------
    InputError : this machine allows no network of one's own; says what is missing
    """
    from validation.machine_record import machine_record
    from validation.shaped_network import find_isolation
    from validation.timed_steps import measure_steps

    isolation = find_isolation()
    if not isolation.shaped:
        raise InputError(f"suite {NAME} needs links of a chosen rate: {isolation.why}")
    machine = machine_record()
    origin = (f"{machine.machine}, {machine.build}", "own")
    cases: list[Case] = []
    for ranks in RANKS:
        asked = [_case(_settings(ranks, done), 1.0, origin)
                 for done in _asked() if ranks <= MOST_ALIKE or done.among_many]  # fmt: skip
        times_s = measure_steps([_stepped(case) for case in asked], ranks, RATE_BIT_PER_S, tell=say)
        cases += [replace(case, measured=time_s)
                  for case, time_s in zip(asked, times_s, strict=True)]  # fmt: skip

    def real_case(settings: Settings, metric: str) -> Case:
        return replace(_case(settings, 1.0, origin), metric=metric, unit=real.UNITS[metric],
                       group=real.GROUPS[metric])  # fmt: skip

    return [*cases, *real.measure(real_case, say)]


def _asked() -> Iterator[_Done]:
    """Return what is measured between any number of ranks."""
    for passes_s in PASSES_S:
        for plan in (TORCH, DATA):
            for bucket_bytes in (SMALL, WHOLE):
                yield _Done(plan, {"bucket_bytes": bucket_bytes}, passes_s)
    nothing_s, passes_s, _ = PASSES_S
    for every in ROUNDS:
        yield _Done(LOCAL, {"every": every}, passes_s)
    yield _Done(SERVER, {"mode": "synchronous"}, nothing_s)
    yield _Done(SERVER, {"mode": "synchronous"}, passes_s)
    yield _Done(SERVER, {"mode": "synchronous", "overlap": "true"}, passes_s)
    yield _Done(SERVER, {"mode": "asynchronous"}, passes_s, steps=4.0)
    yield _Done(GOSSIP, {"topology": "ring"}, passes_s)


def _settings(
    ranks: float, done: _Done, *, weight_bytes: float = WEIGHT_BYTES, rate: float = RATE_BIT_PER_S
) -> Settings:  # fmt: skip
    forward_s, backward_s = done.passes_s
    return {
        "workload": "timed",
        "workload.weight_bytes": weight_bytes,
        "workload.forward_s": forward_s,
        "workload.backward_s": backward_s,
        "workload.steps": done.steps,
        "on": "star",
        "on.devices": float(ranks),
        "on.rate_bit_per_s": rate,
        "plan": done.plan,
        **{f"plan.{name}": value for name, value in done.parameters.items()},
    }


def _case(settings: Settings, time_s: float, origin: tuple[str, str]) -> Case:
    source, licence = origin
    return Case(suite=NAME, group=str(settings["plan"]), settings=settings, metric="time_s",
                measured=time_s, unit="s", source=source, licence=licence)  # fmt: skip


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table of medians, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : the table lacks a column, or a number is none
    """
    return convert_rows(NAME, rows, COLUMNS, once(COLUMNS, _read))


def _read(row: Row, where: str) -> Case | str:
    from validation.shaped_network import parse_rate

    if row["rate"] == NO_LIMIT:
        return "links of no limited rate: processors decide"
    settings = _settings(number(row, "ranks", where), _done(row, where),
                         weight_bytes=number(row, "grad_bytes", where),
                         rate=parse_rate(row["rate"]))  # fmt: skip
    return _case(settings, number(row, "t_med_ms", where) * 1e-3, (row["source"], row["licence"]))


_ASYNCHRONOUS = re.compile(r"ps_async_(\d+)rounds_(\d+)ms")
_BUCKETS = re.compile(r"allreduce_(?:full|(\d+)_buckets)")
PATTERNS = ("ddp", "local_sgd", "ps_sync", "ps_async_NroundsMms", "allreduce_full",
            "allreduce_N_buckets")  # fmt: skip


class _Done(NamedTuple):
    """Say what a pattern does: a plan with parameters, seconds of the passes, how many steps."""

    plan: str
    parameters: Settings
    passes_s: tuple[float, float]
    steps: float = 1.0

    @property
    def among_many(self) -> bool:
        """Say whether it is measured between many ranks too, which takes long."""
        return self.passes_s == PASSES_S[1] and self.steps == 1.0


def _done(row: Row, where: str) -> _Done:
    """Return what the pattern of a row does.

    Raises
    ------
    UnknownNameError : no such pattern
    """
    pattern = row["pattern"]
    passes_s = (_seconds(row, "fwd_sleep_ms", where), _seconds(row, "bwd_sleep_ms", where))
    if pattern == "ddp":
        bucket_bytes = number(row, "bucket_cap_mb", where) * MEGABYTE
        return _Done(TORCH, {"bucket_bytes": bucket_bytes}, passes_s)
    if pattern == "local_sgd":
        return _Done(LOCAL, {"every": number(row, "local_steps_H", where)}, passes_s)
    if pattern == "ps_sync":
        return _Done(SERVER, {"mode": "synchronous"}, passes_s)
    if found := _BUCKETS.fullmatch(pattern):
        buckets = int(found[1] or 1)
        return _Done(DATA, {"bucket_bytes": number(row, "grad_bytes", where) / buckets}, passes_s)
    if found := _ASYNCHRONOUS.fullmatch(pattern):
        compute_s = float(found[2]) * 1e-3
        return _Done(SERVER, {"mode": "asynchronous"}, (compute_s, 0.0), float(found[1]))
    raise UnknownNameError("pattern", pattern, PATTERNS)


def _seconds(row: Row, column: str, where: str) -> float:
    return float(row[column]) and number(row, column, where) * 1e-3


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict by events on a star, as gloo and the connections of messages carry it."""
    return [_predicted(case) for case in cases]


def _predicted(case: Case) -> Answer:
    from simulator.engine.execute import execute

    if case.metric in real.UNITS:
        return real.predict(case, _machine)
    if case.text("workload") != "timed":
        return Skip(f"workload {case.text('workload')} is not one of given times")
    machine = _machine(int(case.number("on.devices")), case.number("on.rate_bit_per_s"))
    return Prediction(execute(_job(case), machine, _plan(case), record=False).time_s)


def _machine(devices: int, rate_bit_per_s: float) -> Machine:
    from hwmodels.network.cluster import Cluster
    from hwmodels.network.libraries import Gloo
    from hwmodels.network.shapes import star
    from hwmodels.network.wires import Wire
    from simulator.protocols import Machine
    from validation.timed_steps import SLEEPER

    topology = star(devices, Wire(rate_bit_per_s / 8, 0.0))
    return Machine("star", [SLEEPER] * devices, Cluster(topology=topology, library=Gloo()))


def _job(case: Case) -> Job:
    """Return the job of a case, with a bucket for each layer where its plan names no size."""
    from simulator.workload import Job
    from validation.timed_steps import timed

    weight_bytes = case.number("workload.weight_bytes")
    workload = timed(weight_bytes, layers=LAYERS, forward_s=case.number("workload.forward_s"),
                     backward_s=case.number("workload.backward_s"))  # fmt: skip
    bucket_bytes = case.settings.get("plan.bucket_bytes", weight_bytes / LAYERS)
    return Job.of(workload, steps=int(case.number("workload.steps")),
                  bucket_bytes=float(bucket_bytes))  # fmt: skip


def _plan(case: Case) -> Plan:
    from validation.cases import scenario_of
    from workloads.plans import find_plan

    name = case.text("plan")
    return find_plan(DATA if name == TORCH else name, **scenario_of(case).under("plan"))


def _stepped(case: Case) -> Stepped:
    from validation.timed_steps import SLEEPER, Stepped

    told = ", ".join(f"{name} {case.text(name)}" for name in case.settings
                     if name.startswith(("plan", "workload.forward")))  # fmt: skip
    return Stepped(name=told, job=_job(case), plan=_plan(case), virtual=SLEEPER,
                   by_torch=case.text("plan") == TORCH)  # fmt: skip


def _by_formula(combine: Callable[[float, float], float]) -> Predict:
    """Return the baseline of a formula of computing and communicating at the nominal rate."""

    def run(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
        return [Skip("a formula for steps of given times") if case.metric in real.UNITS
                else Prediction(combine(_compute_s(case), _exchange_s(case)))
                for case in cases]  # fmt: skip

    return run


def _compute_s(case: Case) -> float:
    passes_s = case.number("workload.forward_s") + case.number("workload.backward_s")
    return passes_s * float(case.settings.get("plan.every", 1.0)) * case.number("workload.steps")


def _exchange_s(case: Case) -> float:
    """Return how long the busiest link takes for all bytes, seconds."""
    ranks, plan = case.number("on.devices"), case.text("plan")
    whole_s = 8 * case.number("workload.weight_bytes") / case.number("on.rate_bit_per_s")
    if plan == SERVER:
        return 2 * (ranks - 1) * whole_s * case.number("workload.steps")
    if plan == GOSSIP:
        return min(2.0, ranks - 1) * whole_s
    return 2 * (ranks - 1) / ranks * whole_s


BASELINES: Mapping[str, Predict] = {
    "the longer of computing and communicating": _by_formula(max),
    "computing, then communicating": _by_formula(operator.add),
}


def groups(case: Case) -> Sequence[str]:
    """Return the plan of a case, between up to four ranks or more.

    Workers that do not wait for each other are a group of their own: who comes first is drawn by
    how TCP shares a link, which gives one flow more than another; simulated flows share evenly, so
    that workers stay in step, and send only while none of them receives.
    """
    if case.metric in real.UNITS:
        return (case.group,)
    plan = case.text("plan")
    if case.text("plan.mode") == "asynchronous":
        plan += ", asynchronous"
    many = case.number("on.devices") > MOST_ALIKE
    return (f"{plan}, {'more' if many else 'up to 4'} ranks",)


SUITE = Suite(
    name=NAME,
    summary="steps of data-parallel, local, server and gossip plans between processes of this "
    "machine, over links of 1 Gbit/s",
    predict=predict,
    baselines=BASELINES,
    convert=convert,
    measure=measure,
    groups=groups,
)
