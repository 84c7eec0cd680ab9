"""Say which keys a device file may have: for each its meaning, unit and bounds.

A *field* is one key, dotted as in the file: `memory.bandwidth_bytes_per_s` is the key
`bandwidth_bytes_per_s` of the table `[memory]`; its last part names the unit. A *schema* is the
fields of one kind of device and the checks between them. The schema drives the loader, its errors,
and what `scalemodel show` prints. A further kind of device adds a schema here, nothing else.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
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

_CPU_ORDERED = (
    ("clock.base_hz", "clock.boost_hz"),
    ("clock.base_hz", "clock.all_core_hz"),
    ("clock.all_core_hz", "clock.boost_hz"),
    ("cache.l1d_bytes", "cache.l2_bytes"),
    ("memory.core_bandwidth_bytes_per_s", "memory.bandwidth_bytes_per_s"),
    ("power.idle_w", "power.full_w"),
    ("power.idle_w", "power.tdp_w"),
)
"""Pairs of fields of a CPU of which the first is never above the second."""


def _check_order(values: Mapping[str, Value], kind: str, pairs: Sequence[tuple[str, str]]) -> None:
    for small, large in pairs:
        if small in values and large in values and float(values[small]) > float(values[large]):
            low, high = (SCHEMAS[kind].field(key).show(values[key]) for key in (small, large))
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
    check=functools.partial(_check_order, kind="cpu", pairs=_CPU_ORDERED),
    headline=_cpu_headline,
)

_TENSOR_DTYPES = (
    "float64", "float32", "tfloat32", "bfloat16", "float16", "float8", "float4", "int8", "int4",
)  # fmt: skip
_GPU_FIELDS = (
    Field(key="sms", low=1, high=10_000, required=True, whole=True,
          doc="streaming multiprocessors, compute units or cores of the whole device; more of "
              "them share the same peaks, which are fields of their own"),
    Field(key="dies", low=1, high=16, whole=True,
          doc="parts that programs see as a device each; all other numbers are those of the whole"),
    Field(key="board.pace", low=0.1, high=1,
          doc="where several such devices share a board: how fast each computes while the others "
              "do too, over alone"),
    Field(key="compute_capability", doc="NVIDIA's number of the instruction set", text=True),
    Field(key="year", doc="when it came out", low=2000, high=2100, whole=True),
    Field(key="clock.base_hz", doc="clock that is always held", low=1e6, high=1e10),
    Field(key="clock.boost_hz", low=1e6, high=1e10, required=True,
          doc="highest clock; peaks do not follow it"),
    Field(key="clock.peak_hz", low=1e6, high=1e10,
          doc="clock at which the peaks hold; the boost clock where the file says nothing"),
    *(
        Field(key=f"vector.{dtype}_flop_per_s", low=1e8, high=1e18, required=dtype == "float32",
              doc=f"dense peak on {dtype} of the ordinary units, 2 per multiply-add")
        for dtype in ("float64", "float32", "float16", "bfloat16", "int8")
    ),
    Field(key="vector.issue_share", low=0.1, high=1,
          doc="share of the float32 peak that its schedulers feed with an instruction each a "
              "cycle, where the peak takes pairs of independent ones"),
    *(
        Field(key=f"tensor.{dtype}_flop_per_s", low=1e8, high=1e18,
              doc=f"dense peak on {dtype} of the matrix units, 2 per multiply-add")
        for dtype in _TENSOR_DTYPES
    ),
    *(
        Field(key=f"sparse.{dtype}_flop_per_s", low=1e8, high=1e18,
              doc=f"peak on {dtype} where 2 of 4 weights are zero")
        for dtype in _TENSOR_DTYPES
    ),
    Field(key="sm.threads", doc="threads that one multiprocessor keeps at most",
          low=1, high=65536, whole=True),
    Field(key="sm.registers", doc="32-bit registers of one multiprocessor",
          low=1, high=2**24, whole=True),
    Field(key="sm.shared_bytes", doc="shared memory of one multiprocessor at most",
          low=KB, high=16 * MB),
    Field(key="sm.l1_bytes", doc="first-level cache with shared memory of one multiprocessor",
          low=KB, high=16 * MB),
    Field(key="cache.l2_bytes", doc="cache that all multiprocessors share", low=KB, high=16 * GB),
    Field(key="memory.type", doc="kind of the memory, in words", text=True),
    Field(key="memory.size_bytes", doc="memory of the device", low=MB, high=1e16, required=True),
    Field(key="memory.bus_bits", doc="width of the memory bus", low=8, high=65536, whole=True),
    Field(key="memory.bandwidth_bytes_per_s", doc="memory bandwidth",
          low=MB, high=100 * TB, required=True),
    Field(key="link.scaleup", doc="link to the other devices of a node, in words", text=True),
    Field(key="link.scaleup_bytes_per_s", doc="all such links together, one direction",
          low=MB, high=100 * TB),
    Field(key="link.pcie", doc="link to the host, in words", text=True),
    Field(key="link.pcie_bytes_per_s", doc="link to the host, one direction",
          low=MB, high=10 * TB),
    Field(key="power.tdp_w", doc="power limit as sold", low=0.1, high=10_000),
    Field(key="power.limit_w", doc="power limit that is set; as sold where nothing is said",
          low=0.1, high=10_000),
    Field(key="power.idle_w", doc="power of a device that does nothing", low=0, high=10_000),
    Field(key="power.cap_low_w", doc="lowest power limit that can be set", low=0.1, high=10_000),
    Field(key="price.device_usd", doc="price of one, at the day that the note says",
          low=1, high=1e7),
    Field(key="price.hour_usd", doc="price of one for an hour, where and when the note says",
          low=1e-3, high=1e4),
    Field(key="model.launch_s", low=0, high=1,
          doc="time of the host to launch a kernel; 0 where a recorded graph is replayed"),
    Field(key="model.start_s", low=0, high=1,
          doc="time from the end of a kernel to the work of the next, launched in time"),
    Field(key="model.link_share", low=0.01, high=1,
          doc="share of the link to the host that copies from pinned memory reach"),
    Field(key="model.context_bytes", low=0, high=TB,
          doc="memory that the driver keeps for a process: code of kernels, stacks"),
    Field(key="model.memory_margin", low=0, high=0.9,
          doc="share of the memory that is kept free: fragments, workspaces of libraries"),
    Field(key="model.borrowed_spread", low=0, high=5,
          doc="spread of a kernel's time where it was measured on another architecture only"),
    Field(key="model.borrowed_prefill_spread", low=0, high=5,
          doc="the same of attention of many queries, whose libraries differ by architecture"),
    Field(key="model.sibling_spread", low=0, high=5,
          doc="the same where it was measured on another device of this architecture"),
    Field(key="model.foreign_spread", low=0, high=5,
          doc="the same where it was measured on devices of another maker only, or on none"),
    Field(key="model.launch_spread", low=0, high=5,
          doc="spread of the time of the host to launch a kernel"),
    Field(key="model.sms", low=1, high=1e5,
          doc="multiprocessors that cores of another kind are taken for, each as one of an A100"),
    Field(key="model.run_share", low=0, high=1,
          doc="share of the spread of its kernels that is left in the time of a whole model"),
    Field(key="model.run_spread", low=0, high=5,
          doc="spread of the time of whole models beyond that of their kernels and launches"),
)  # fmt: skip

_GPU_ORDERED = (
    ("clock.base_hz", "clock.boost_hz"),
    ("clock.peak_hz", "clock.boost_hz"),
    ("sm.shared_bytes", "sm.l1_bytes"),
    ("power.idle_w", "power.tdp_w"),
    ("power.cap_low_w", "power.tdp_w"),
    *((f"tensor.{dtype}_flop_per_s", f"sparse.{dtype}_flop_per_s") for dtype in _TENSOR_DTYPES),
)


def _gpu_headline(values: Mapping[str, Value]) -> str:
    best = next(key for key in _HEADLINE_PEAKS if key in values)
    dtype = best.removesuffix("_flop_per_s").replace(".", " ")
    shown = [GPU.field(key).show(values[key])
             for key in (best, "memory.size_bytes", "memory.bandwidth_bytes_per_s")]  # fmt: skip
    return f"{values['sms']} SMs, {shown[0]} {dtype}, {shown[1]} at {shown[2]}"


_HEADLINE_PEAKS = (
    "tensor.bfloat16_flop_per_s", "tensor.float16_flop_per_s", "vector.float32_flop_per_s",
)  # fmt: skip

GPU = Schema(
    "gpu",
    MappingProxyType({field.key: field for field in _GPU_FIELDS}),
    check=functools.partial(_check_order, kind="gpu", pairs=_GPU_ORDERED),
    headline=_gpu_headline,
)

SCHEMAS: Mapping[str, Schema] = MappingProxyType({schema.kind: schema for schema in (CPU, GPU)})
"""Schemas by kind of device."""
