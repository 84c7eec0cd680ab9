"""Time kernels on the GPU of this machine by torch, and calibrate it with them.

A kernel is captured in a CUDA graph where possible, so that the host's launches cost nothing; two
events around its replay say how long the device is busy. Before each replay a buffer larger than
the L2 cache is overwritten: operands come from the memory, and the host has queued the replay by
the time that is done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from hwmodels.devices import device_names, find_spec
from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.family import Family
from hwmodels.relatives import completed
from hwmodels.spec import Spec
from simulator.errors import InputError, UnknownNameError
from simulator.ops import DTYPE_BYTES
from validation.calibrate import Say
from validation.calibrate_gpu import Evidence, GpuReport, fit_device, gpu_spec, known_before
from validation.cuda_clock import (
    Bench,
    CudaClock,
    Make,
    Run,
    UntimeableError,
    Wanted,
    timed_families,
    timed_set,
)

WARM_UPS = 3
FLUSH_BYTES = 2**28
"""More than any L2 cache has."""
DTYPES: Mapping[str, torch.dtype] = MappingProxyType({
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
    "tfloat32": torch.float32,
})  # fmt: skip
"""Dtypes that are timed; tfloat32 is how float32 is multiplied where that is allowed."""
COUNTS = {True: 24, False: 120}
"""Kernels of each family and dtype, when it shall be quick (True) and when not."""


def cuda_name() -> str | None:
    """Return what the driver calls the GPU of this machine; None where torch finds none."""
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None


def catalog_name(driver_name: str) -> str:
    """Return the name in the catalog of a GPU as its driver calls it.

    Raises
    ------
    UnknownNameError : no alias and no name of the catalog is alike; the message asks for --like

    >>> catalog_name("NVIDIA H100 80GB HBM3"), catalog_name("NVIDIA GeForce RTX 4090")
    ('nvidia-h100-sxm-80gb', 'nvidia-rtx-4090')
    """
    plain = slug(driver_name).replace("geforce-", "").replace("tesla-", "")
    for name in (driver_name, plain, f"nvidia-{plain}"):
        try:
            return find_spec(name).name
        except UnknownNameError:
            continue
    raise UnknownNameError("GPU", driver_name, device_names(),
                           "the catalog: say by --like DEVICE which one it is or is most "
                           "like")  # fmt: skip


def slug(driver_name: str) -> str:
    """Return a name that a device file can have.

    >>> slug("NVIDIA GeForce RTX 3060 (Laptop)")
    'nvidia-geforce-rtx-3060-laptop'
    """
    return re.sub(r"[^a-z0-9]+", "-", driver_name.lower()).strip("-")


class EventClock:
    """Be the clock of a GPU by events.

    Parameters
    ----------
    cuda : `torch.cuda`, or what does as it does
    device : where the buffer is that flushes the cache
    flush_bytes : of this buffer
    """

    def __init__(
        self, cuda: Any = torch.cuda, device: str = "cuda", flush_bytes: int = FLUSH_BYTES
    ) -> None:
        self.cuda = cuda
        self.buffer = torch.empty(flush_bytes, dtype=torch.int8, device=device)

    def prepared(self, run: Run) -> Run:
        """Return the replay of a run that was captured; the run where it cannot be."""
        try:
            self._warm(run)
        except (RuntimeError, NotImplementedError) as error:  # Memory is short, or no such kernel.
            self.cuda.synchronize()
            raise UntimeableError(str(error)) from error
        graph = self.cuda.CUDAGraph()
        try:
            with self.cuda.graph(graph):
                run()
        except RuntimeError:  # It waits for the host somewhere.
            self.cuda.synchronize()
            return run
        replay: Run = graph.replay
        replay()
        self.cuda.synchronize()
        return replay

    def _warm(self, run: Run) -> None:
        """Run on a stream beside, as capturing wants it (libraries set themselves up)."""
        stream = self.cuda.Stream()
        stream.wait_stream(self.cuda.current_stream())
        with self.cuda.stream(stream):
            for _ in range(WARM_UPS):
                run()
        self.cuda.current_stream().wait_stream(stream)
        self.cuda.synchronize()

    def elapsed_s(self, run: Run) -> float:
        """Return the time between two events around a run, after a flush, seconds."""
        begin, end = (self.cuda.Event(enable_timing=True) for _ in range(2))
        self.buffer.zero_()
        begin.record()
        run()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) * 1e-3


# --- kernels -------------------------------------------------------------------------------------


def maker(device: str = "cuda") -> Make:
    """Return what makes kernels on a device of torch."""

    def make(family: Family, dtype: str, sizes: Mapping[str, int]) -> Run:
        try:
            run = _KERNELS[family.name](DTYPES[dtype], device, sizes)
        except RuntimeError as error:  # Memory is short.
            raise UntimeableError(str(error)) from error
        return _in_mode(run, dtype) if DTYPES[dtype] == torch.float32 else run

    return make


def _in_mode(run: Run, dtype: str) -> Run:
    """Let float32 be multiplied as the dtype says, while a run is started."""
    short = dtype == "tfloat32"

    def inside() -> None:
        products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
        before = products.allow_tf32, convolutions.allow_tf32
        products.allow_tf32 = convolutions.allow_tf32 = short
        try:
            run()
        finally:
            products.allow_tf32, convolutions.allow_tf32 = before

    return inside


def _random(dtype: torch.dtype, device: str, *shape: int) -> torch.Tensor:
    """Return random values: zeros would run at a higher clock."""
    return torch.randn(shape, dtype=dtype, device=device)


def _gemm(dtype: torch.dtype, device: str, d: Mapping[str, int]) -> Run:
    lead = (d["batch"],) if d["batch"] > 1 else ()
    left = _random(dtype, device, *lead, d["m"], d["k"])
    right = _random(dtype, device, *lead, d["k"], d["n"])
    out = torch.empty((*lead, d["m"], d["n"]), dtype=dtype, device=device)
    return lambda: torch.matmul(left, right, out=out)


def _linear(dtype: torch.dtype, device: str, d: Mapping[str, int]) -> Run:
    x = _random(dtype, device, d["batch"] * d["m"], d["k"])
    weight, bias = _random(dtype, device, d["n"], d["k"]), _random(dtype, device, d["n"])
    return lambda: torch.nn.functional.linear(x, weight, bias)


def _convolution(dtype: torch.dtype, device: str, d: Mapping[str, int]) -> Run:
    x, weight, options = _convolved(dtype, device, d)
    return lambda: torch.nn.functional.conv2d(x, weight, None, *options)


def _weight_gradient(dtype: torch.dtype, device: str, d: Mapping[str, int]) -> Run:
    x, weight, (stride, padding) = _convolved(dtype, device, d)
    gradient = torch.randn_like(torch.nn.functional.conv2d(x, weight, None, stride, padding))
    return lambda: torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1,
        [False, True, False])  # fmt: skip


def _convolved(
    dtype: torch.dtype, device: str, d: Mapping[str, int]
) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int]]:
    """Return input, filters, and stride and padding of a convolution with results of this size."""
    stride, padding = d["stride"], d["kernel_h"] // 2
    high, wide = ((d[out] - 1) * stride + d[kernel] - 2 * padding
                  for out, kernel in (("out_h", "kernel_h"), ("out_w", "kernel_w")))  # fmt: skip
    x = _random(dtype, device, d["batch"], d["in_channels"], high, wide)
    weight = _random(dtype, device, d["out_channels"], d["in_channels"], d["kernel_h"],
                     d["kernel_w"])  # fmt: skip
    return x, weight, (stride, padding)


def _streaming(dtype: torch.dtype, device: str, d: Mapping[str, int]) -> Run:
    count = d["written_bytes"] // dtype.itemsize
    first, out = _random(dtype, device, count), torch.empty(count, dtype=dtype, device=device)
    if d["read_bytes"] == d["written_bytes"]:
        return lambda: torch.neg(first, out=out)
    second = _random(dtype, device, count)
    return lambda: torch.add(first, second, out=out)


def _normalization(dtype: torch.dtype, device: str, d: Mapping[str, int]) -> Run:
    x = _random(dtype, device, d["rows"], d["columns"])
    weight, bias = _random(dtype, device, d["columns"]), _random(dtype, device, d["columns"])
    return lambda: torch.nn.functional.layer_norm(x, (d["columns"],), weight, bias)


def _softmax(dtype: torch.dtype, device: str, d: Mapping[str, int]) -> Run:
    x = _random(dtype, device, d["rows"], d["columns"])
    return lambda: torch.softmax(x, 1)


def _attention(dtype: torch.dtype, device: str, d: Mapping[str, int]) -> Run:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    query = _random(dtype, device, d["batch"], d["heads"], d["q_len"], d["head_dim"])
    key, value = (_random(dtype, device, d["batch"], d["kv_heads"], d["kv_len"], d["head_dim"])
                  for _ in range(2))  # fmt: skip
    shared = d["kv_heads"] != d["heads"]

    def run() -> None:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            torch.nn.functional.scaled_dot_product_attention(
                query, key, value, is_causal=bool(d["causal"]), enable_gqa=shared
            )

    return run


_KERNELS: Mapping[str, Callable[[torch.dtype, str, Mapping[str, int]], Run]] = MappingProxyType({
    "gemm": _gemm,
    "linear": _linear,
    "bmm": _gemm,
    "convolution": _convolution,
    "conv2d": _convolution,
    "convolution_weights": _weight_gradient,
    "streaming": _streaming,
    "normalization": _normalization,
    "softmax": _softmax,
    "prefill_flash_attention": _attention,
})  # fmt: skip


# --- the calibration -----------------------------------------------------------------------------


class Tools(NamedTuple):
    """Hold what times kernels and what makes them."""

    clock: CudaClock
    make: Make


def calibrate_cuda(
    like: str | None = None,
    name: str | None = None,
    quick: bool = False,
    say: Say = lambda text: None,
    tools: Tools | None = None,
) -> GpuReport:
    """Time kernels on the GPU of this machine, fit it to them and write its device file.

    Costs some minutes, a fifth with `quick`.

    Parameters
    ----------
    like : the device of the catalog that it is or is most like; None: as its driver calls it
    name : of the device that is made; None: that of the catalog, or what the driver calls a GPU
        that is only like it
    quick : time fewer kernels
    say : is told what is being done
    tools : what times kernels and makes them; None: torch on the GPU

    Raises
    ------
    UnknownNameError : the catalog has no such GPU and `like` is not given, or no device `like`
    InputError : torch finds no GPU
    """
    driver_name = cuda_name()
    if driver_name is None:
        raise InputError("torch finds no GPU on this machine")
    like = catalog_name(driver_name) if like is None else like
    spec = gpu_spec(like, name or _name(driver_name, like))
    known = completed(spec, find_spec)
    tools = tools or Tools(EventClock(), maker())
    bench = Bench(clock=tools.clock, make=tools.make, spec=known,
                  known=lambda family, dtype: known_before(known, family, dtype))  # fmt: skip
    sets = []
    for family in timed_families():
        for dtype in timed_dtypes(known, family):
            say(f"timing {COUNTS[quick]} kernels of {family.name} in {dtype}")
            sets.append(timed_set(bench, Wanted(family, dtype, COUNTS[quick])))
    data = f"kernels timed on {driver_name} by torch {torch.__version__}"
    return fit_device(Evidence(spec=spec, like=like, sets=sets, data=data), say)


def _name(driver_name: str, like: str) -> str:
    """Return the name in the catalog where the GPU is the one that `like` says, else its own."""
    try:
        known = catalog_name(driver_name)
    except UnknownNameError:
        return slug(driver_name)
    return known if known == find_spec(like).name else slug(driver_name)


def timed_dtypes(spec: Spec, family: Family) -> list[str]:
    """Return the dtypes in which a family is timed on a device: those that it has.

    What computes nothing that counts is timed in one dtype of each width.
    """
    chip = chip_of(spec)
    known = [dtype for dtype in DTYPES if dtype in chip.peaks]
    if family.name.startswith("prefill"):
        return [dtype for dtype in known if DTYPE_BYTES[dtype] == 2]
    if family.name in ("streaming", "normalization", "softmax"):
        return [dtype for dtype in known if dtype in ("float16", "float32")]
    return known
