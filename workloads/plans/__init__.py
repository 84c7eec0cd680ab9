"""Plans by name: who computes and communicates what, in which order.

A plan is a frozen dataclass with `place`, `program` and `copies`; its modules are sorted by theme.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from simulator.errors import UnknownNameError
from simulator.protocols import Plan
from workloads.plans.communicate import Communicate
from workloads.plans.data_parallel import DataParallel
from workloads.plans.federated import Federated
from workloads.plans.gossip import Gossip
from workloads.plans.local_sgd import Hogwild, LocalSGD
from workloads.plans.one_device import Prefetch, Single, Threads
from workloads.plans.parameter_server import ParameterServer

__all__ = [
    "PLANS", "Communicate", "DataParallel", "Federated", "Gossip", "Hogwild", "LocalSGD",
    "ParameterServer", "Prefetch", "Single", "Threads", "find_plan",
]  # fmt: skip

PLANS: Mapping[str, type[Plan]] = {
    "single": Single,
    "threads": Threads,
    "prefetch": Prefetch,
    "communicate": Communicate,
    "data-parallel": DataParallel,
    "parameter-server": ParameterServer,
    "local-sgd": LocalSGD,
    "gossip": Gossip,
    "hogwild": Hogwild,
    "federated": Federated,
}
"""Plans by name."""


def find_plan(name: str, /, **parameters: Any) -> Plan:
    """Return the plan of this name.

    Raises
    ------
    UnknownNameError : no such plan, or no such parameter
    InputError : a value that the plan cannot have

    >>> find_plan("threads", threads=4)
    Threads(threads=4, inter_op=1)
    """
    if name not in PLANS:
        raise UnknownNameError("plan", name, PLANS)
    made = PLANS[name]
    known = [field.name for field in fields(made)]  # type: ignore[arg-type]
    for key in parameters:
        if key not in known:
            raise UnknownNameError(f"parameter of plan {name}", key, known)
    return made(**parameters)
