"""Measure whole workloads in torch on this machine, and compare them with what was predicted.

Cases are the time of a step on one and on two threads, and the speedup from one to two. Nothing is
fitted on them: the calibration of this machine times random programs (`validation.calibrate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from hwmodels.this_machine import NAME as THIS_MACHINE
from validation.cases import Case, scenario_of, setting_of
from validation.predict import predict
from validation.suite import Answer, Calibration, Prediction, Skip, Suite
from validation.suites.torch_cpu.baselines import BASELINES
from validation.suites.torch_cpu.workloads import SUBJECTS, Subject

TEAM = 2
"""Threads of the cases on more than one."""


def measure(say: Callable[[str], None]) -> Sequence[Case]:
    """Measure every subject on this machine; takes about two minutes."""
    from hwmodels.this_machine import this_machine

    threads = (1, TEAM) if this_machine().max_threads >= TEAM else (1,)
    cases: list[Case] = []
    for number, subject in enumerate(SUBJECTS, start=1):
        say(f"measuring {number} of {len(SUBJECTS)}: {subject.name}")
        cases += _measured(subject, threads, say)
    return cases


def _measured(
    subject: Subject, threads: Sequence[int], say: Callable[[str], None]
) -> Iterator[Case]:
    """Yield the cases of a subject; a team that others kept waiting measures nothing."""
    from validation.measure import Effort
    from validation.torch_measure import measure_workload
    from workloads.registry import find_workload

    workload = find_workload(subject.name, **subject.parameters)
    times: dict[int, float] = {}
    for count in threads:
        taken = measure_workload(workload, count, effort=Effort(budget_s=1.0))
        source = f"{taken.machine.machine}, {taken.machine.build}, {taken.clock}"
        times[count] = taken.time_s
        if taken.disturbed:
            say(f"left out: {subject.name} on {count} threads; the machine is too busy")
            continue
        yield _case(subject, count, "step_time_s", taken.time_s, source)
        if count > 1:
            yield _case(subject, count, "speedup", times[1] / taken.time_s, source)


def _case(subject: Subject, threads: int, metric: str, measured: float, source: str) -> Case:
    return Case(
        suite=SUITE.name,
        group=subject.family,
        settings={
            "workload": subject.name,
            **{f"workload.{name}": setting_of(value) for name, value in subject.parameters.items()},
            "on": THIS_MACHINE,
            "plan": "threads",
            "plan.threads": float(threads),
        },
        metric=metric,
        measured=measured,
        unit="s" if metric == "step_time_s" else "1",
        source=source,
        licence="own",
    )


def predicted(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict the cases by the calibration of this machine."""
    return [_predicted(case) for case in cases]


def _predicted(case: Case) -> Answer:
    run = predict(scenario_of(case))
    if case.metric == "step_time_s":
        low, high = run.interval or (None, None)
        return Prediction(run.step_time_s, low, high)
    if case.metric == "speedup" and run.speedup is not None:
        return Prediction(run.speedup)
    return Skip(f"metric {case.metric} is not predicted")


def groups(case: Case) -> Sequence[str]:
    """Return the groups of a case: by metric and threads, and by family on one thread."""
    threads = int(case.number("plan.threads"))
    if case.metric == "speedup":
        return (f"speedup 1 to {threads}",)
    several = (f"{threads} threads",)
    return ("1 thread", f"1 thread, {case.group}") if threads == 1 else several


SUITE = Suite(
    name="torch-cpu",
    summary="whole workloads in torch on this machine, on one and two threads",
    predict=predicted,
    baselines=BASELINES,
    measure=measure,
    groups=groups,
)
