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
from workloads.plans.disturbed import Failures, Stragglers
from workloads.plans.fed import Fed
from workloads.plans.federated import Federated
from workloads.plans.gossip import Gossip
from workloads.plans.local_sgd import Hogwild, LocalSGD
from workloads.plans.one_device import Prefetch, Single, Threads
from workloads.plans.parameter_server import ParameterServer

__all__ = [
    "PLANS", "Communicate", "DataParallel", "Failures", "Fed", "Federated", "Gossip", "Hogwild",
    "LocalSGD", "ParameterServer", "Prefetch", "Single", "Stragglers", "Threads", "find_plan",
    "parameters_of",
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


DISTURBED: tuple[type[Plan], ...] = (Stragglers, Failures)
"""What may disturb any plan, by parameters that stand beside those of the plan."""


def parameters_of(name: str) -> dict[str, Any]:
    """Return the parameters of a plan and their defaults, and those of what may disturb it.

    Raises
    ------
    UnknownNameError : no such plan

    >>> parameters_of("local-sgd")["every"], parameters_of("local-sgd")["slow_ranks"]
    (8, 0)
    """
    if not isinstance(name, str) or name not in PLANS:
        raise UnknownNameError("plan", name, PLANS)
    kinds = (PLANS[name], *DISTURBED)
    return {key: default for kind in kinds for key, default in _defaults(kind).items()}


def _defaults(kind: type[Plan]) -> dict[str, Any]:
    found = fields(kind)  # type: ignore[arg-type]
    return {field.name: field.default for field in found if field.name != "plan"}


def find_plan(name: str, /, **parameters: Any) -> Plan:
    """Return the plan of this name, disturbed as far as parameters say.

    Raises
    ------
    UnknownNameError : no such plan, or no such parameter
    InputError : a value that the plan cannot have

    >>> find_plan("threads", threads=4)
    Threads(threads=4, inter_op=1)
    >>> find_plan("single", slow_ranks=1).plan
    Single()
    """
    known = parameters_of(name)
    for key in parameters:
        if key not in known:
            raise UnknownNameError(f"parameter of plan {name}", key, known)
    plan: Plan = PLANS[name](**_given(PLANS[name], parameters))
    for kind in DISTURBED:
        given = _given(kind, parameters)
        if given:
            plan = kind(plan, **given)  # type: ignore[call-arg]
    return plan


def _given(kind: type[Plan], parameters: Mapping[str, Any]) -> dict[str, Any]:
    own = _defaults(kind)
    return {key: value for key, value in parameters.items() if key in own}
