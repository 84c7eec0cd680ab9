"""Say which keys a device file may have: for each its meaning, unit and bounds.

A *field* is one key, dotted as in the file: `memory.bandwidth_bytes_per_s` is the key
`bandwidth_bytes_per_s` of the table `[memory]`; its last part names the unit. A *schema* is the
fields of one kind of device and the checks between them. The schema drives the loader, its errors,
and what `scalemodel show` prints. A further kind of device adds a schema here, nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from simulator.errors import InputError, UnknownNameError
from simulator.ops import DTYPES
from simulator.units import dimension_of, format_quantity, parse_quantity

Value = float | str
"""A number in the inside unit of its dimension, or a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Describe one key of a device file.

    Parameters
    ----------
    key : dotted; the last part ends in the unit ("memory.size_bytes"), or has none
    doc : what the value says
    low, high : the smallest and the largest value that makes sense, in the inside unit
    required : whether a device is useless without it
    whole : whether it counts things
    text : whether it is a text, not a number
    """

    key: str
    doc: str
    low: float = 0.0
    high: float = math.inf
    required: bool = False
    whole: bool = False
    text: bool = False

    @property
    def dimension(self) -> str | None:
        """Return the dimension of the number, one of `simulator.units.UNITS`; None: plain."""
        return None if self.text else dimension_of(self.key)

    def parse(self, raw: object) -> Value:
        """Return the value that a file or a user wrote, checked.

        Raises
        ------
        InputError : not a value of this field; `UnitError` where the unit is wrong

        >>> CPU.field("memory.bandwidth_bytes_per_s").parse("204.8 GB/s")
        204800000000.0
        >>> CPU.field("cores").parse(0)
        Traceback (most recent call last):
        ...
        simulator.errors.InputError: cores: expected a whole number from 1 to 1024, got 0
        """
        if self.text:
            if not isinstance(raw, str) or not raw.strip():
                raise InputError(f"{self.key}: expected a text, got {raw!r}")
            return raw
        return self._check(self._number(raw), raw)

    def _number(self, raw: object) -> float:
        if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
            raise InputError(f"{self.key}: expected {self.wanted}, got {raw!r}")
        if self.dimension is not None:
            return parse_quantity(raw, self.dimension, self.key)
        try:
            return float(raw)
        except ValueError:
            raise InputError(f"{self.key}: expected {self.wanted}, got {raw!r}") from None

    def _check(self, number: float, raw: object) -> float:
        right = self.low <= number <= self.high and math.isfinite(number)
        if not right or (self.whole and number != int(number)):
            raise InputError(f"{self.key}: expected {self.wanted}, got {raw!r}")
        return int(number) if self.whole else number

    @property
    def wanted(self) -> str:
        """Return what a value must be, in words."""
        kind = "a whole number" if self.whole else "a number"
        low, high = self.show(self.low), self.show(self.high)
        return f"{kind} from {low} to {high}" if self.high < math.inf else f"{kind} from {low}"

    def show(self, value: Value | None) -> str:
        """Return a value as a person would write it; None is "unknown".

        >>> CPU.field("clock.boost_hz").show(3.4e9), CPU.field("cores").show(64)
        ('3.4 GHz', '64')
        """
        if value is None or isinstance(value, str):
            return value or "unknown"
        if self.dimension is None:
            return f"{value:g}"
        return format_quantity(value, self.dimension)


@dataclass(frozen=True, slots=True)
class Schema:
    """Hold the fields of one kind of device, and the checks between them.

    Parameters
    ----------
    kind : "cpu"
    fields : by key
    check : raises InputError for values that exclude each other
    headline : says the most important figures in a few words
    """

    kind: str
    fields: Mapping[str, Field]
    check: Callable[[Mapping[str, Value]], None]
    headline: Callable[[Mapping[str, Value]], str]

    def field(self, key: str, where: str = "") -> Field:
        """Return the field of a key.

        >>> CPU.field("memory.bandwith_bytes_per_s")
        Traceback (most recent call last):
        ...
        simulator.errors.UnknownNameError: unknown field of a cpu 'memory.bandwith_bytes_per_s'; did
        you mean 'memory.bandwidth_bytes_per_s'?
        """
        if key not in self.fields:
            raise UnknownNameError(f"field of a {self.kind}", key, self.fields, where)
        return self.fields[key]

    @property
    def required(self) -> tuple[str, ...]:
        """Return the keys that every device of this kind needs."""
        return tuple(field.key for field in self.fields.values() if field.required)


KB, MB, GB, TB = 1e3, 1e6, 1e9, 1e12

_CPU_FIELDS = (
    Field(key="cores", doc="cores of one socket", low=1, high=1024, required=True, whole=True),
    Field(key="sockets", doc="sockets of the machine; 1 where the file says nothing",
          low=1, high=64, whole=True),
    Field(key="threads_per_core", doc="hardware threads of a core (2 with SMT)",
          low=1, high=8, required=True, whole=True),
    Field(key="clock.base_hz", doc="clock that all cores always hold", low=1e6, high=1e10),
    Field(key="clock.boost_hz", doc="clock of one busy core", low=1e6, high=1e10, required=True),
    Field(key="clock.all_core_hz", doc="clock while all cores are busy", low=1e6, high=1e10),
    Field(key="simd.isa", doc="vector instructions, in words", text=True),
    Field(key="simd.width_bits", doc="bits of one vector operation in hardware",
          low=32, high=4096, whole=True),
    *(
        Field(key=f"flops_per_cycle.{dtype}", low=1 / 64, high=65536,
              required=dtype == "float32",
              doc=f"operations on {dtype} of one core in one cycle, 2 per multiply-add")
        for dtype in DTYPES
    ),
    Field(key="cache.l1d_bytes", doc="data cache of one core", low=KB, high=16 * MB),
    Field(key="cache.l2_bytes", doc="one second-level cache", low=KB, high=GB),
    Field(key="cache.l2_cores", doc="cores that share one; 1 where the file says nothing",
          low=1, high=1024, whole=True),
    Field(key="cache.l3_bytes", doc="one third-level cache", low=KB, high=16 * GB),
    Field(key="cache.l3_cores", doc="cores that share one; a socket where the file says nothing",
          low=1, high=1024, whole=True),
    Field(key="memory.type", doc="kind and speed of the memory, in words", text=True),
    Field(key="memory.channels", doc="memory channels of one socket",
          low=1, high=128, whole=True),
    Field(key="memory.size_bytes", doc="memory of the whole machine", low=MB, high=1e16),
    Field(key="memory.bandwidth_bytes_per_s", doc="memory bandwidth of one socket",
          low=MB, high=50 * TB, required=True),
    Field(key="memory.core_bandwidth_bytes_per_s", doc="memory bandwidth one core can draw",
          low=MB, high=50 * TB),
    Field(key="memory.link_bandwidth_bytes_per_s",
          doc="bandwidth between two sockets, one direction", low=MB, high=50 * TB),
    Field(key="memory.nodes", doc="NUMA nodes of one socket", low=1, high=64, whole=True),
    Field(key="power.tdp_w", doc="thermal design power of one socket", low=0.01, high=10_000),
    Field(key="power.idle_w", doc="power of one socket that does nothing", low=0, high=10_000),
    Field(key="power.full_w", doc="power of one socket with all cores busy",
          low=0.01, high=10_000),
    Field(key="power.core_active_w", doc="further power of a busy core", low=0, high=1000),
    Field(key="power.memory_j_per_byte", doc="energy of moving a byte to or from memory",
          low=0, high=1e-6),
    Field(key="model.sibling_work", low=0, high=1,
          doc="what a second hardware thread adds to a core, in cores"),
    Field(key="model.far_fork", low=1, high=1000,
          doc="time to start and join a team on several sockets, over that on one"),
    Field(key="model.memory_share", low=0.01, high=1,
          doc="share of the memory bandwidth that programs reach"),
    Field(key="model.borrowed_spread", low=0, high=5,
          doc="spread of a number that is taken over from another machine's calibration"),
)  # fmt: skip

_ORDERED = (
    ("clock.base_hz", "clock.boost_hz"),
    ("clock.base_hz", "clock.all_core_hz"),
    ("clock.all_core_hz", "clock.boost_hz"),
    ("cache.l1d_bytes", "cache.l2_bytes"),
    ("memory.core_bandwidth_bytes_per_s", "memory.bandwidth_bytes_per_s"),
    ("power.idle_w", "power.full_w"),
    ("power.idle_w", "power.tdp_w"),
)
"""Pairs of fields of a CPU of which the first is never above the second."""


def _check_cpu(values: Mapping[str, Value]) -> None:
    for small, large in _ORDERED:
        if small in values and large in values and float(values[small]) > float(values[large]):
            low, high = CPU.field(small).show(values[small]), CPU.field(large).show(values[large])
            raise InputError(f"{small} ({low}) is above {large} ({high})")


def _cpu_headline(values: Mapping[str, Value]) -> str:
    sockets = values.get("sockets", 1)
    many = f"{sockets} x " if sockets != 1 else ""
    clock, bandwidth = (
        CPU.field(key).show(values.get(key))
        for key in ("clock.boost_hz", "memory.bandwidth_bytes_per_s")
    )
    return f"{many}{values['cores']} cores at {clock}, {bandwidth}"


CPU = Schema(
    "cpu",
    MappingProxyType({field.key: field for field in _CPU_FIELDS}),
    check=_check_cpu,
    headline=_cpu_headline,
)

SCHEMAS: Mapping[str, Schema] = MappingProxyType({schema.kind: schema for schema in (CPU,)})
"""Schemas by kind of device."""
