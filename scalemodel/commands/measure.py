"""`scalemodel measure`: do a workload's step for real, or time collectives between processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from typer import Argument, Option, Typer

from scalemodel.console import say
from scalemodel.options import OutputOption, command
from scalemodel.output import Output, Table, emit
from scalemodel.processes import CLUSTER, Processes, measure_cluster, measure_plan
from simulator.errors import InputError
from simulator.scenario import named_once, parse_counts, parse_setting
from simulator.version import VERSION

if TYPE_CHECKING:
    from simulator.workload import Workload
    from validation.measure import Measurement

EXAMPLES = """
  scalemodel measure resnet50 --threads 1,2
  scalemodel measure mlp --set workload.batch=256 --set workload.training=true -o json
  scalemodel measure mlp --threads 1..4 -o csv > times.csv    (then: fit times.csv)
  scalemodel measure cluster --ranks 8 --rate 1gbit
  scalemodel measure cluster --ranks 4 --rate 1gbit --plan my_ring.py --kinds all_reduce
  scalemodel measure mlp --set workload.training=true --plan my_plan.py --ranks 4 --rate 1gbit
  torchrun --nproc-per-node 8 -m scalemodel measure cluster    (on each node of a real cluster)
"""

COLUMNS = ("p", "time_s", "low_s", "high_s", "spread_pct", "repeatability_pct", "speedup",
           "throughput", "energy_j", "samples", "discarded")  # fmt: skip


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "measure", measure, EXAMPLES)


def measure(
    workload: Annotated[
        str, Argument(metavar="WORKLOAD", help="one that torch can do; or cluster: collectives")
    ],
    processes: Processes,
    threads: Annotated[
        str | None,
        Option(metavar="N,N", help="numbers of threads: 1,2 or 1..4 [default: 1]"),
    ] = None,
    settings: Annotated[
        list[str],
        Option("--set", metavar="NAME=VALUE", help="a parameter of the workload or the plan"),
    ] = [],  # noqa: B006
    budget: Annotated[
        float, Option(min=0.0, max=600.0, metavar="SECONDS", help="for each number of threads")
    ] = 2.0,
    seed: Annotated[int, Option(min=0, help="of weights and inputs")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Measure one step of a workload on this machine, or what its network does.

    The step is done in torch, by number of threads p. With --plan it is done by several processes,
    as the plan says. `measure cluster` times collectives between processes, on this machine or
    where torchrun starts them. Disturbed samples are discarded.
    """
    if threads is not None and (processes.given or workload == CLUSTER):
        raise InputError("--threads measures one process; how many threads the ranks of a plan "
                         "use, the plan says")  # fmt: skip
    if workload == CLUSTER:
        measure_cluster(processes, settings, output)
        return
    if processes.given:
        own = [text for text in settings if not text.startswith("plan.")]
        measure_plan(_workload(workload, own), processes, settings, seed, output)
        return
    counts = parse_counts("1" if threads is None else threads, "--threads")
    step = _workload(workload, settings)
    steps = measured_steps(step, counts, budget, seed)
    records = [_record(one, steps[0], step.samples) for one in steps]
    rows = [[record[column] for column in COLUMNS] for record in records]
    emit(output, Table(COLUMNS, rows, title=_title(step, steps[0])),
         _document(step, steps, records, seed))  # fmt: skip


class MeasuredStep(NamedTuple):
    """Hold what one step took: its time, and its energy (joules; None without a meter)."""

    measurement: Measurement
    energy_j: float | None


def measured_steps(
    step: Workload, counts: list[int], budget_s: float, seed: int = 0
) -> list[MeasuredStep]:
    """Return what one step takes on each number of threads.

    Raises
    ------
    InputError : torch is not installed, or more threads than the machine has
    """
    from hwmodels.this_machine import this_machine
    from scalemodel.asking import measure as measured
    from scalemodel.asking import measure_energy_j

    most = this_machine().max_threads
    if max(counts) > most:
        raise InputError(f"--threads: this machine has {most} threads, got {max(counts)}")
    steps = []
    for count in counts:
        say(f"measuring {step.name} on {count} thread{'s' * (count > 1)}")
        found = measured(step, count, budget_s=budget_s, seed=seed)
        steps.append(MeasuredStep(found, measure_energy_j(step, count, seed=seed)))
    return steps


def _workload(name: str, settings: list[str]) -> Workload:
    from workloads.registry import find_workload

    values = named_once(map(parse_setting, settings), "--set")
    wrong = [key for key in values if not key.startswith("workload.")]
    if wrong:
        raise InputError(f"--set {wrong[0]}: what is measured is this machine; only workload.* "
                         "can be set, or plan.* with --plan")  # fmt: skip
    parameters: dict[str, Any] = {k.removeprefix("workload."): v for k, v in values.items()}
    return find_workload(name, **parameters)


def _record(one: MeasuredStep, first: MeasuredStep, samples: float) -> dict[str, Any]:
    import numpy as np

    found = one.measurement
    low, high = np.quantile(found.times_s, [0.05, 0.95])
    return {
        "p": found.threads,
        "time_s": found.time_s,
        "low_s": float(low),
        "high_s": float(high),
        "spread_pct": _percent(found.spread),
        "repeatability_pct": _percent(found.repeatability),
        "speedup": first.measurement.time_s / found.time_s,
        "throughput": samples / found.time_s,
        "energy_j": one.energy_j,
        "samples": len(found.times_s),
        "discarded": found.discarded,
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _title(step: Workload, one: MeasuredStep) -> str:
    machine = one.measurement.machine
    given = ", ".join(f"{key}={value}" for key, value in step.parameters.items())
    return f"{step.name} ({given}) on {machine.machine}, {machine.build}"


def _document(
    step: Workload, steps: list[MeasuredStep], records: list[dict[str, Any]], seed: int
) -> dict[str, Any]:
    first, record = steps[0].measurement, records[0]
    return {
        "workload": step.name,
        "parameters": dict(step.parameters),
        "metric": "step_time_s",
        "value": record["time_s"],
        "unit": "s",
        "low": record["low_s"],
        "high": record["high_s"],
        "measurements": records,
        "clock": first.clock,
        "machine": first.machine.as_dict(),
        "seed": seed,
        "version": VERSION,
    }
