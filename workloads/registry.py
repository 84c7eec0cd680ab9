"""Find workloads by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from simulator.errors import InputError, UnknownNameError
from simulator.workload import Workload
from workloads.model import Model, Value
from workloads.models import classic, huggingface, images, text
from workloads.models.mlp import mlp
from workloads.patterns import PATTERNS, PatternModel

MODELS: Mapping[str, Model] = {
    one.name: one
    for module in (classic, huggingface, images, text)
    for one in vars(module).values()
    if isinstance(one, Model)
} | {mlp.name: mlp}
"""All models by name."""
_ALL: Mapping[str, Model | PatternModel] = {**MODELS, **PATTERNS}
FUNCTIONS: Mapping[str, Model | PatternModel] = {
    re.sub(r"[-.]", "_", name): one for name, one in _ALL.items()
}
"""All by the name that Python code calls them by: "gpt-1.3b" is `gpt_1_3b`."""


def find_model(name: str) -> Model | PatternModel:
    """Return the model, or the pattern of communication, of this name, in either spelling.

    Raises
    ------
    UnknownNameError : there is none

    >>> find_model("mlp").parameters["depth"]
    2
    >>> find_model("bert_base").name
    'bert-base'
    """
    if not isinstance(name, str):
        raise InputError(f"workload: expected a name, such as 'mlp', got {name!r}")
    found = _ALL.get(name) or FUNCTIONS.get(name)
    if found is None:
        raise UnknownNameError("workload", name, _ALL)
    return found


def find_workload(name: str, /, **parameters: Value) -> Workload:
    """Return one step of the workload of this name.

    Parameters
    ----------
    name : one of `list_workloads()`
    parameters : of the model, in place of its defaults

    Raises
    ------
    UnknownNameError : no such workload, or no such parameter
    InputError : a value of the wrong type, or a size below 1

    >>> find_workload("mlp", batch=32).samples
    32
    """
    return find_model(name)(**parameters)


def list_workloads() -> list[Model | PatternModel]:
    """Return all models and patterns: each has a name, a description and parameters with defaults.

    >>> "mlp" in [model.name for model in list_workloads()]
    True
    """
    return [_ALL[name] for name in sorted(_ALL)]
