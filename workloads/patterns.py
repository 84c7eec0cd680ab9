"""Describe workloads that only communicate: patterns by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simulator.errors import InputError, UnknownNameError
from simulator.formula import check_whole
from simulator.ops import Graph
from simulator.units import parse_quantity
from simulator.workload import SEND_RECV, Pattern, Workload
from workloads.model import Value

ROUNDING = 1e-12
"""How far "2.01 MB" is from a whole number of bytes, at most."""


@dataclass(frozen=True, slots=True)
class PatternModel:
    """Be a named way to make workloads that only communicate; call it with keyword parameters.

    Parameters
    ----------
    name : in the registry
    kind : what is communicated
    description : one line
    parameters : default value by name: bytes of a rank's buffer, how often
    """

    name: str
    kind: str
    description: str
    parameters: Mapping[str, Value] = field(
        default_factory=lambda: {"nbytes": float(1 << 30), "count": 1}
    )

    def __call__(self, **parameters: Value) -> Workload:
        """Return the workload of these parameters.

        Raises
        ------
        UnknownNameError : there is no such parameter
        InputError : bytes that are no quantity, no whole number or below 0, a count below 1

        >>> PATTERNS["all-reduce"](nbytes="1 GB").pattern.nbytes
        1000000000.0
        """
        for key in parameters:
            if key not in self.parameters:
                raise UnknownNameError(f"parameter of {self.name}", key, self.parameters)
        chosen = {**self.parameters, **parameters}
        size, count = chosen["nbytes"], chosen["count"]
        asked = parse_quantity(size, "bytes", f"{self.name}: nbytes")
        nbytes = float(round(asked))
        if nbytes < 0 or abs(asked - nbytes) > ROUNDING * nbytes:
            raise InputError(f"{self.name}: nbytes must be a whole number of at least 0; "
                             f"got {size!r}")  # fmt: skip
        check_whole(f"{self.name}: count", count, 1)
        return Workload(
            name=self.name,
            parameters={"nbytes": nbytes, "count": int(count)},
            graph=Graph.of([]),
            samples=int(count),
            pattern=Pattern(self.kind, nbytes, int(count)),
        )


def _collective(kind: str, description: str) -> PatternModel:
    return PatternModel(kind.replace("_", "-"), kind, description)


PATTERNS: Mapping[str, PatternModel] = {
    one.name: one
    for one in (
        _collective("all_reduce", "Each rank gets the sum of all ranks' buffers"),
        _collective("all_gather", "Each rank gets the parts of all, nbytes in all"),
        _collective("reduce_scatter", "Each rank gets its part of the sum of all ranks' buffers"),
        _collective("broadcast", "All ranks get the buffer of the first"),
        _collective("reduce", "The first rank gets the sum of all ranks' buffers"),
        _collective("all_to_all", "Each rank sends a part of its buffer to each other one"),
        PatternModel("send-recv", SEND_RECV,
                     "Each rank sends its buffer to the next and receives from the one before"),
    )
}  # fmt: skip
"""Workloads that only communicate, by name."""
