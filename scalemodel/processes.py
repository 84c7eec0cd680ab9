"""Measure between processes: collectives (`measure cluster`) and plans (`measure WORKLOAD --plan`).

What is asked on the command line is checked here and handed to `validation`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from scalemodel.console import say
from scalemodel.output import Output, Table, emit, table_of
from simulator.errors import InputError
from simulator.run import show_metric
from simulator.scenario import named_once, parse_setting
from simulator.version import VERSION

if TYPE_CHECKING:
    from simulator.engine.outcome import Outcome
    from simulator.protocols import Plan
    from simulator.workload import Workload
    from validation.ranks import Made

CLUSTER = "cluster"
"""What is measured instead of a workload: the network itself."""
RANKS = 2
STEPS = 10


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Hold the options of measuring between processes."""

    ranks: Annotated[
        int | None,
        Option(metavar="N", help="processes that measure together [default: 2; torchrun's own]"),
    ] = None
    rate: Annotated[
        str | None,
        Option(
            metavar="RATE",
            help="of each process's link, such as 1gbit: in a network of their own, made and "
            "removed for it [default: loopback, unlimited]",
        ),
    ] = None
    plan: Annotated[
        str | None,
        Option(help="a plan by name, or a file FILE.py with a plan or collective of your own "
               "(runs its code)"),
    ] = None  # fmt: skip
    kinds: Annotated[
        str | None,
        Option(metavar="KIND,KIND", help="of cluster: all_reduce, all_gather, broadcast, reduce_"
               "scatter, reduce, all_to_all, barrier, send_recv [default: the usual five]"),
    ] = None  # fmt: skip
    sizes: Annotated[
        str | None,
        Option(metavar="SIZE,SIZE", help="of cluster: of one rank's buffer [default: 64 KiB to "
               "16 MiB]"),
    ] = None  # fmt: skip
    repeats: Annotated[
        int | None, Option(min=1, help="of cluster: samples of each at most [default: 25]")
    ] = None
    steps: Annotated[int | None, Option(min=1, help="of a plan [default: 10]")] = None
    sleep_as: Annotated[
        str | None,
        Option(metavar="DEVICE", help="of a plan: let each rank sleep as long as this device would "
               "compute, so that more devices than there are cores can be studied"),
    ] = None  # fmt: skip

    trace: Annotated[
        Path | None,
        Option(metavar="TRACE.json", help="of a plan: write what happened for ui.perfetto.dev"),
    ] = None

    def refuse(self, names: tuple[str, ...], why: str) -> None:
        """Raise where one of these options is given."""
        for field in fields(self):
            if field.name in names and getattr(self, field.name) is not None:
                raise InputError(f"--{field.name.replace('_', '-')}: {why}")

    @property
    def given(self) -> bool:
        """Say whether any of these options is."""
        return any(getattr(self, field.name) is not None for field in fields(self))

    def rank_count(self) -> int:
        """Return how many processes measure."""
        import os

        from validation.ranks import under_torchrun

        if self.ranks is None and under_torchrun():
            return int(os.environ["WORLD_SIZE"])
        return RANKS if self.ranks is None else self.ranks

    def rate_bit_per_s(self) -> float | None:
        """Return the rate of the links."""
        from validation.shaped_network import parse_rate

        return None if self.rate is None else parse_rate(self.rate)


def measure_cluster(asked: Processes, settings: list[str], output: Output) -> None:
    """Measure collectives and print their table."""
    from scalemodel.asking import torch_needed
    from scalemodel.own_code import running
    from validation.cluster_table import USUAL_KINDS, USUAL_SIZES, Sampling, parse_sizes, points_of
    from validation.measure_cluster import measure_points
    from validation.ranks import first_rank

    asked.refuse(
        ("steps", "sleep_as", "trace"), "belongs to a workload's plan, not to the cluster itself"
    )
    parameters = _plan_parameters(settings, asked)
    foreign = [text for text in settings if not text.startswith("plan.")]
    if foreign:
        raise InputError(f"--set {foreign[0]}: a cluster has no workload; only plan.* can be set")
    own = None if asked.plan is None else _own(asked, parameters)
    usual = () if own is not None else USUAL_KINDS
    kinds = usual if asked.kinds is None else [one.strip() for one in asked.kinds.split(",")]
    sizes = parse_sizes(",".join(USUAL_SIZES) if asked.sizes is None else asked.sizes)
    name = None if asked.plan is None else Path(asked.plan).stem
    sampling = None if asked.repeats is None else Sampling(
        most=asked.repeats, least=min(asked.repeats, Sampling().least))  # fmt: skip
    with torch_needed("measuring"):
        need_torch()
    with running(None if own is None or own[1] is None else Path(str(asked.plan))):
        records = measure_points(points_of(kinds, sizes, name), asked.rank_count(),
                                 asked.rate_bit_per_s(), own=own, sampling=sampling,
                                 tell=say)  # fmt: skip
    if first_rank():
        _print(records, asked, output)


def has_torch() -> bool:
    """Say whether torch is installed, without the seconds that loading it takes."""
    import importlib.util

    return importlib.util.find_spec("torch") is not None


def need_torch() -> None:
    """Raise where torch is not installed."""
    if not has_torch():
        raise ModuleNotFoundError("No module named 'torch'", name="torch")


def _print(records: list[dict[str, Any]], asked: Processes, output: Output) -> None:
    from validation.machine_record import machine_record
    from validation.measure_plan import network_text

    machine = machine_record()
    first = records[0]
    shown = [{key: one[key] for key in one if key not in ("network", "rate_bit_per_s", "ranks")}
             for one in records]  # fmt: skip
    network = network_text(first["network"], first["rate_bit_per_s"])
    where = f"{first['ranks']} ranks ({network})"
    title = f"{where} on {machine.machine}, {machine.build}"
    table = table_of(shown if output is Output.TABLE else records, title)
    document = {"measurements": records, "machine": machine.as_dict(), "version": VERSION}
    emit(output, table, document)


def measure_plan(
    step: Workload, asked: Processes, settings: list[str], seed: int, output: Output
) -> None:
    """Measure a plan between processes and print what came out."""
    from scalemodel.asking import torch_needed
    from scalemodel.own_code import running
    from simulator.files import check_can_write
    from simulator.simulate import job_of
    from simulator.trace import write_chrome_trace
    from validation.measure_plan import measure_plan as measured
    from validation.predict import named_device
    from validation.ranks import first_rank

    asked.refuse(("kinds", "sizes", "repeats"), "belongs to `measure cluster`")
    if asked.trace is not None:
        check_can_write(asked.trace)
    if asked.plan is None:
        raise InputError("--plan: which plan do the processes run? One by name (scalemodel list "
                         "plans) or a file of your own")  # fmt: skip
    if step.pattern is not None:
        raise InputError(f"'{step.name}' computes nothing: `measure cluster --kinds "
                         f"{step.pattern.kind}` times it")  # fmt: skip
    plan, made = _own(asked, _plan_parameters(settings, asked))
    job = job_of(step, plan, STEPS if asked.steps is None else asked.steps, seed)
    with torch_needed("measuring"):
        need_torch()
    virtual = None if asked.sleep_as is None else named_device(asked.sleep_as)
    path = Path(asked.plan) if made is not None else None
    with running(path):
        outcome = measured(job, plan, asked.rank_count(), made=made, tell=say,
                           rate_bit_per_s=asked.rate_bit_per_s(), virtual=virtual)  # fmt: skip
    if first_rank():
        if asked.trace is not None and outcome.timeline is not None:
            write_chrome_trace(asked.trace, outcome.timeline)
            say(f"{asked.trace}: {len(outcome.timeline)} spans; ui.perfetto.dev opens it")
        record = _record(outcome, step, job.steps)
        table = Table(["metric", "value"], [[name, show_metric(name, value)]
                      for name, value in record.items()],
                      title=f"{step.name}, {asked.plan}: {outcome.folding}")  # fmt: skip
        if output is Output.CSV:
            table = table_of([record])
        emit(output, table, {**record, "ranks": _ranks(outcome), "measured": outcome.folding,
                             "plan": asked.plan, "workload": step.name, "version": VERSION,
                             "parameters": dict(step.parameters)})  # fmt: skip


def _record(outcome: Outcome, step: Workload, steps: int) -> dict[str, Any]:
    from simulator.engine.outcome import step_time_s

    one_s = step_time_s(outcome, steps)
    counted = outcome.counts.get("samples")
    samples = step.samples * outcome.size if counted is None else counted / steps
    return {
        "processes": outcome.size,
        "steps": steps,
        "time_s": outcome.time_s,
        "step_time_s": one_s,
        "throughput": samples / one_s,
        "compute_share": outcome.mean("compute_s") / outcome.time_s,
        "communication_share": outcome.mean("communication_s") / outcome.time_s,
        "waiting_share": outcome.mean("waiting_s") / outcome.time_s,
        "sent_bytes": outcome.total("sent_bytes"),
        "collective_bytes": sum(total.nbytes for total in outcome.collectives.values()),
        "dropped_messages": outcome.dropped_messages,
    }


def _ranks(outcome: Outcome) -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [{k: v for k, v in asdict(rank).items() if k != "copies"} for rank in outcome.ranks]


def _plan_parameters(settings: list[str], asked: Processes) -> dict[str, Any]:
    values = named_once(map(parse_setting, settings), "--set")
    own = {k.removeprefix("plan."): v for k, v in values.items() if k.startswith("plan.")}
    if own and asked.plan is None:
        raise InputError(f"--set plan.{next(iter(own))}: there is no --plan")
    return own


def _own(asked: Processes, parameters: dict[str, Any]) -> tuple[Plan, Made | None]:
    """Return the plan that is asked for, and how other processes make it if it is a file's."""
    from scalemodel.own_code import load_plan, made_by_processes
    from workloads.plans import find_plan

    name = str(asked.plan)
    if not name.endswith(".py"):
        return find_plan(name, **parameters), None
    path = Path(name)
    return load_plan(path, parameters), made_by_processes(path, parameters)
