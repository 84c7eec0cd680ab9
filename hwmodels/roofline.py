"""Be the baseline: what the datasheet alone says of an op's time.

The roofline (Williams, Waterman, Patterson, CACM 52(4), 2009): an op takes the longer of computing
at the peak rate and moving each operand once at the full memory bandwidth. No overhead, no shape,
no cache; real programs take 2 to 4 times as long.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwmodels.cores import cores_of
from hwmodels.cpu_rates import flops_per_cycle
from hwmodels.gpu.chip import Chip, chip_of
from hwmodels.spec import Spec, spec_of
from simulator.ops import DTYPES, FloatArray, Graph
from simulator.protocols import Device


def roofline_s(graph: Graph, device: Device, threads: int) -> FloatArray:
    """Return the time of each op (n,) by the datasheet's roofline, seconds.

    Parameters
    ----------
    graph : the ops
    device : with a spec, as `hwmodels.devices.find_device` gives
    threads : from 1 to the device's `max_threads`

    Raises
    ------
    InputError : a device without a datasheet, or threads out of range

    >>> from hwmodels.devices import find_device
    >>> from simulator.ops import Op
    >>> product = Op(kind="gemm", dims=(1, 1000, 1000, 1000), flops=2e9, bytes_read=8e6)
    >>> roofline_s(Graph.of([product]), find_device("rpi4-bcm2711"), threads=4)
    array([0.04166667])
    """
    return roofline_of_s(graph, spec_of(device), threads)


def roofline_of_s(graph: Graph, spec: Spec, threads: int = 1) -> FloatArray:
    """Return the same (n,) of a device of which this is known.

    >>> from hwmodels.devices import find_spec
    >>> from simulator.ops import Op
    >>> copied = Op(kind="copy", dims=(800_000_000,), bytes_read=3.2e9, bytes_written=3.2e9)
    >>> roofline_of_s(Graph.of([copied]), find_spec("nvidia-t4"))
    array([0.02])
    """
    compute = np.zeros(len(graph))
    for code in np.unique(graph.dtype[graph.flops > 0]).tolist():
        own = graph.dtype == code
        compute[own] = graph.flops[own] / peak_flop_per_s(spec, DTYPES[code], threads)
    memory = graph.bytes_moved / bandwidth_bytes_per_s(spec, threads)
    longer: FloatArray = np.maximum(compute, memory)
    return longer


def kernel_bounds_s(
    chip: Chip, dtype: str, flops: FloatArray, nbytes: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return what the arithmetic and the data of kernels (n,) take at least, seconds each.

    Parameters
    ----------
    chip : that they run on
    dtype : that they compute on; where none computes it may be any
    flops, nbytes : of each
    """
    compute = flops / chip.peak_flop_per_s(dtype) if flops.any() else np.zeros(len(flops))
    return compute, nbytes / chip.bandwidth_bytes_per_s


def peaks_of(graph: Graph, device: Device, threads: int) -> dict[str, float]:
    """Return the peaks (FLOP/s) of the dtypes that a graph computes on, most arithmetic first.

    An accelerator that has matrix units in one of them shows the peak of its ordinary units too.

    Parameters
    ----------
    graph, device, threads : as of `roofline_s`, with the same errors
    """
    spec = spec_of(device)
    flops = np.bincount(graph.dtype, graph.flops, len(DTYPES))
    most_first = sorted(np.flatnonzero(flops).tolist(), key=lambda code: -flops[code])
    names = [DTYPES[code] for code in most_first]
    peaks = {name: peak_flop_per_s(spec, name, threads) for name in names}
    if spec.kind == "gpu":
        ordinary = chip_of(spec).vector_flop_per_s
        if ordinary not in peaks.values():
            peaks["float32, ordinary units"] = ordinary
    return peaks


def peak_flop_per_s(spec: Spec, dtype: str, threads: int) -> float:
    """Return the peak of so many threads on one dtype: cores x clock x operations per cycle.

    Of an accelerator it is that of the datasheet, by matrix units where it has them.

    >>> from hwmodels.devices import find_spec
    >>> peak_flop_per_s(find_spec("rpi4-bcm2711"), "float32", threads=4) / 1e9
    48.0
    """
    if spec.kind == "gpu":
        return chip_of(spec).peak_flop_per_s(dtype)
    cores = cores_of(spec)
    team: Sequence[int] = [cores.check(threads, spec.name)]
    clock = spec.known("clock.boost_hz") * float(cores.clock(np.array(team))[0])
    return min(threads, cores.count) * clock * flops_per_cycle(spec.values, dtype)


def bandwidth_bytes_per_s(spec: Spec, threads: int) -> float:
    """Return the memory bandwidth of the sockets that so many threads are on, bytes per second.

    >>> from hwmodels.devices import find_spec
    >>> bandwidth_bytes_per_s(find_spec("aws-r4-16xlarge"), threads=17) / 1e9
    153.6
    """
    if spec.kind == "gpu":
        return spec.known("memory.bandwidth_bytes_per_s")
    cores = cores_of(spec)
    sockets = int(cores.sockets_of(np.array([cores.check(threads, spec.name)]))[0])
    return sockets * spec.known("memory.bandwidth_bytes_per_s")
