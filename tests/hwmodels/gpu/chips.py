"""A chip with round numbers, for tests to compute by hand."""

from hwmodels.devices import find_device
from hwmodels.gpu.chip import Chip
from hwmodels.gpu.device import Gpu


def chip(**changes):
    """Return a chip of 100 multiprocessors at 1 GHz: 100 TFLOP/s, 1 TB/s."""
    values = {
        "name": "round", "sms": 100, "clock_hz": 1e9, "vector_clock_hz": 1e9,
        "bandwidth_bytes_per_s": 1e12, "l2_bytes": 40e6, "vector_flop_per_s": 10e12,
        "peaks": {"bfloat16": 100e12, "float8": 200e12, "float32": 10e12,
                  "sparse bfloat16": 200e12},
    }  # fmt: skip
    return Chip(**{**values, **changes})


def gpu(name):
    """Return an accelerator of the catalog, or of a file."""
    device = find_device(name)
    assert isinstance(device, Gpu)
    return device
