"""Measure collectives of gloo between processes of this machine, and predict them by flows.

The processes have a network of their own: links of one rate to one switch (`shaped_network`).
Nothing is fitted on the cases. Only messages of 4 MiB and more count: the burst that a token bucket
lets pass, 256 kB, would be much of a smaller one; and among more processes than cores small ones
wait for the scheduler. "send_recv" is no collective of gloo: every rank sends to the next, over
the connections that carry the messages of plans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from simulator.errors import InputError
from validation.cases import Case, Conversion, convert_rows, number, once
from validation.suite import Answer, Calibration, Predict, Prediction, Row, Skip, Suite

if TYPE_CHECKING:
    from hwmodels.network.cluster import Library

NAME = "gloo-cluster"
RANKS = (2, 4, 8)
SIZES = (4.0 * 2**20, 16.0 * 2**20)
KINDS = ("all_reduce", "all_gather", "broadcast", "send_recv")
RATE_BIT_PER_S = 1e9
CALLS = 15
"""Of each kind and size at least: some calls take twice as long, when TCP finds packets lost."""
SEND_RECV = "send_recv"
COLUMNS = ("rate", "ranks", "collective", "bytes", "t_med_ms", "source", "licence")
NO_LIMIT = "none"
"""What a table says of links that were not limited."""


def measure(say: Callable[[str], None]) -> Sequence[Case]:
    """Measure every kind and size on this machine; takes about two minutes.

    Raises
    ------
    InputError : this machine allows no network of one's own; says what is missing
    """
    from validation.cluster_table import Sampling
    from validation.measure_cluster import measure_collectives
    from validation.shaped_network import find_isolation

    isolation = find_isolation()
    if not isolation.shaped:
        raise InputError(f"suite {NAME} needs links of a chosen rate: {isolation.why}")
    cases: list[Case] = []
    for ranks in RANKS:
        records = measure_collectives(KINDS, SIZES, ranks, RATE_BIT_PER_S, tell=say,
                                      sampling=Sampling(least=CALLS))  # fmt: skip
        cases += _cases_of(records)
    return cases


def _cases_of(records: Sequence[Mapping[str, float | str]]) -> Iterator[Case]:
    from validation.machine_record import machine_record

    machine = machine_record()
    source = f"{machine.machine}, {machine.build}"
    for record in records:
        settings = _settings(str(record["kind"]), float(record["bytes"]), float(record["ranks"]),
                             RATE_BIT_PER_S)  # fmt: skip
        yield _case(settings, float(record["time_s"]), source, "own")


def _settings(kind: str, nbytes: float, ranks: float, rate: float) -> Mapping[str, str | float]:
    return {
        "workload": kind,
        "workload.bytes": nbytes,
        "on": "star",
        "on.devices": ranks,
        "on.rate_bit_per_s": rate,
        "plan": "gloo",
    }


def _case(
    settings: Mapping[str, str | float], time_s: float, source: str, licence: str
) -> Case:  # fmt: skip
    return Case(suite=NAME, group=str(settings["workload"]), settings=settings, metric="time_s",
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

    nbytes = number(row, "bytes", where)
    if row["collective"] not in (*KINDS, "reduce_scatter"):
        return f"collective {row['collective']}"
    if row["rate"] == NO_LIMIT:
        return "links of no limited rate: processors decide"
    if nbytes < min(SIZES):
        return f"below {min(SIZES):,.0f} bytes: the burst that passes, and the scheduler, decide"
    settings = _settings(row["collective"], nbytes, number(row, "ranks", where),
                         parse_rate(row["rate"]))  # fmt: skip
    return _case(settings, number(row, "t_med_ms", where) * 1e-3, row["source"], row["licence"])


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict by flows on a star, as gloo sends them."""
    from hwmodels.network.libraries import Gloo

    return [_predicted(case, Gloo()) for case in cases]


def _predicted(case: Case, library: Library) -> Answer:
    """Return the time of a case by the messages of a library."""
    import numpy as np

    from hwmodels.network.cluster import Cluster
    from hwmodels.network.flows import Flows
    from hwmodels.network.schedules import Step
    from hwmodels.network.shapes import star
    from hwmodels.network.wires import Wire
    from simulator.actions import COLLECTIVES, Group

    kind, nbytes = case.text("workload"), case.number("workload.bytes")
    devices = int(case.number("on.devices"))
    topology = star(devices, Wire(case.number("on.rate_bit_per_s") / 8, 0.0))
    if kind == SEND_RECV:
        place = np.arange(devices)
        step = Step(src=place, dst=(place + 1) % devices, nbytes=np.full(devices, nbytes))
        flows = Flows(topology)
        flows.begin(library.message(step, topology))
        return Prediction(flows.advance_all())
    if kind not in COLLECTIVES:
        return Skip(f"collective {kind} is not predicted")
    network = Cluster(topology=topology, library=library)
    return Prediction(network.collective_s(kind, nbytes, Group.of(range(devices))))


def _by_textbook(**algorithms: str) -> Predict:
    """Return the baseline of algorithms that have the nominal rate, without overheads."""

    def run(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
        from hwmodels.network.libraries import Textbook

        return [_predicted(case, Textbook(algorithms=algorithms)) for case in cases]

    return run


BASELINES: Mapping[str, Predict] = {
    "rings and binomial trees at the nominal rate": _by_textbook(
        all_reduce="ring", all_gather="ring", reduce_scatter="ring", broadcast="binomial"
    ),
    "the best algorithm at the nominal rate": _by_textbook(),
}


def groups(case: Case) -> Sequence[str]:
    """Return the kind and the number of ranks of a case."""
    return (case.text("workload"), f"{case.text('on.devices')} ranks")


SUITE = Suite(
    name=NAME,
    summary="collectives of gloo between processes of this machine, over links of 1 Gbit/s",
    predict=predict,
    baselines=BASELINES,
    convert=convert,
    measure=measure,
    groups=groups,
)
