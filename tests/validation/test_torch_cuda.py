"""Live calibration of a GPU by torch: events, graphs and kernels, with a fake `torch.cuda`."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hwmodels.devices import devices_folder, find_spec  # noqa: E402
from hwmodels.gpu.chip import chip_of  # noqa: E402
from hwmodels.gpu.families import FAMILIES  # noqa: E402
from hwmodels.relatives import completed  # noqa: E402
from hwmodels.spec import FamilyFit  # noqa: E402
from simulator.errors import InputError, UnknownNameError  # noqa: E402
from validation import torch_cuda  # noqa: E402
from validation.cuda_clock import DRAWS, UntimeableError, kernel_s  # noqa: E402
from validation.torch_cuda import (  # noqa: E402
    EventClock,
    Tools,
    calibrate_cuda,
    catalog_name,
    maker,
    timed_dtypes,
)


class FakeCuda:
    """Do as `torch.cuda` does, on a clock that each kernel advances by a microsecond."""

    def __init__(self, capture=True):
        self.now_ms, self.capturing, self.capture = 0.0, None, capture
        self.log: list[str] = []
        cuda = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                self.at = cuda.now_ms

            def synchronize(self):
                cuda.log.append("wait")

            def elapsed_time(self, end):
                return end.at - self.at

        class Graph:
            kernels = 0

            def replay(self):
                cuda.log.append("replay")
                cuda.now_ms += self.kernels * 1e-3

        class Stream:
            def wait_stream(self, other):
                pass

        self.Event, self.CUDAGraph, self.Stream = Event, Graph, Stream
        self.current_stream, self.stream = Stream, lambda stream: nothing()

    def kernel(self):
        self.log.append("kernel")
        if self.capturing is None:
            self.now_ms += 1e-3
        elif not self.capture:
            raise RuntimeError("operation not permitted when stream is capturing")
        else:
            self.capturing.kernels += 1

    @contextmanager
    def graph(self, graph):
        graph.kernels, self.capturing = 0, graph
        try:
            yield
        finally:
            self.capturing = None

    def synchronize(self):
        self.log.append("wait")


@contextmanager
def nothing():
    yield


def clock(cuda):
    return EventClock(cuda, "cpu", 16)


# --- the clock -----------------------------------------------------------------------------------


def test_a_kernel_is_warmed_up_captured_once_and_replayed():
    cuda = FakeCuda()
    assert kernel_s(clock(cuda), cuda.kernel, repeats=5) == pytest.approx(1e-6)
    assert cuda.log.count("kernel") == torch_cuda.WARM_UPS + 1
    assert cuda.log.count("replay") == 1 + 5


def test_a_kernel_that_cannot_be_captured_is_launched_each_time():
    cuda = FakeCuda(capture=False)
    assert kernel_s(clock(cuda), cuda.kernel, repeats=5) == pytest.approx(1e-6)
    assert cuda.log.count("replay") == 0
    assert cuda.log.count("kernel") == torch_cuda.WARM_UPS + 1 + 5


def test_the_cache_is_flushed_before_the_first_event_of_each_timing():
    cuda = FakeCuda()
    made, order = clock(cuda), []

    class Buffer:
        def zero_(self):
            order.append("flush")

    made.buffer = Buffer()
    made.elapsed_s(lambda: order.append("kernel"))
    assert order == ["flush", "kernel"]


def test_a_kernel_that_fails_cannot_be_timed():
    def failing():
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(UntimeableError, match="out of memory"):
        clock(FakeCuda()).prepared(failing)


# --- kernels -------------------------------------------------------------------------------------

SMALL = {"batch": 2, "m": 8, "n": 16, "k": 8, "in_channels": 8, "out_channels": 16, "out_h": 6,
         "out_w": 6, "kernel_h": 3, "kernel_w": 3, "stride": 2, "read_bytes": 2048,
         "written_bytes": 1024, "rows": 4, "columns": 16, "q_len": 8, "kv_len": 8, "heads": 4,
         "kv_heads": 2, "head_dim": 16, "causal": 1}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in DRAWS if not name.startswith("prefill")])
@pytest.mark.parametrize("dtype", ["float32", "tfloat32", "bfloat16"])
def test_every_family_that_is_drawn_has_a_kernel_that_runs(name, dtype):
    family = FAMILIES[name]
    before = torch.backends.cuda.matmul.allow_tf32
    maker("cpu")(family, dtype, {size: SMALL[size] for size in family.sizes})()
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_a_convolution_has_results_of_the_size_that_is_asked():
    x, weight, (stride, padding) = torch_cuda._convolved(torch.float32, "cpu", SMALL)
    made = torch.nn.functional.conv2d(x, weight, None, stride, padding)
    assert made.shape == (2, 16, 6, 6)


# --- which GPU it is -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "nvidia-a100-sxm-80gb"),
        ("Tesla T4", "nvidia-t4"),
        ("NVIDIA L4", "nvidia-l4"),
        ("NVIDIA GeForce RTX 4090", "nvidia-rtx-4090"),
    ],
)
def test_a_gpu_is_found_by_what_its_driver_calls_it(driver, name):
    assert catalog_name(driver) == name


def test_a_gpu_that_nobody_knows_asks_for_like(monkeypatch):
    monkeypatch.setattr(torch_cuda, "cuda_name", lambda: "NVIDIA GeForce RTX 3060")
    with pytest.raises(UnknownNameError, match=r"unknown GPU 'NVIDIA GeForce RTX 3060'.*--like"):
        calibrate_cuda()


def test_without_a_gpu_there_is_nothing_to_calibrate(monkeypatch):
    monkeypatch.setattr(torch_cuda, "cuda_name", lambda: None)
    with pytest.raises(InputError, match="torch finds no GPU"):
        calibrate_cuda()


def test_a_family_is_timed_in_the_dtypes_that_the_device_has():
    a100, t4 = (completed(find_spec(name), find_spec) for name in ("a100", "nvidia-t4"))
    assert timed_dtypes(a100, FAMILIES["gemm"]) == ["bfloat16", "float16", "float32", "tfloat32"]
    assert timed_dtypes(t4, FAMILIES["gemm"]) == ["float16", "float32"]
    assert timed_dtypes(a100, FAMILIES["streaming"]) == ["float16", "float32"]


# --- the whole -----------------------------------------------------------------------------------


class Told:
    """Be a kernel that takes what a form with other numbers says."""

    def __init__(self, spec, family, dtype, sizes):
        one = {name: np.array([float(size)]) for name, size in sizes.items()}
        numbers = {**family.start, "memory_share": 0.5}
        fit = FamilyFit(numbers=numbers)
        self.time_s = family.parts(chip_of(spec), dtype, fit, one).time_s[0]

    def __call__(self):
        raise AssertionError("nothing runs here")


class ToldClock:
    """Say what a kernel takes by itself."""

    def prepared(self, run):
        return run

    def elapsed_s(self, run):
        return run.time_s


def test_a_gpu_is_timed_fitted_and_written_under_the_name_of_the_catalog(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEMODEL_HOME", str(tmp_path))
    monkeypatch.setattr(torch_cuda, "cuda_name", lambda: "NVIDIA L4")
    monkeypatch.setattr(torch_cuda, "timed_families", lambda: [FAMILIES["streaming"]])
    spec = completed(find_spec("nvidia-l4"), find_spec)
    said: list[str] = []

    def make(family, dtype, sizes):
        return Told(spec, family, dtype, sizes)

    report = calibrate_cuda(quick=True, say=said.append, tools=Tools(ToldClock(), make))
    assert report.path == devices_folder() / "nvidia-l4.toml"
    assert "kernels timed on NVIDIA L4 by torch" in report.data
    assert [(one.family, one.dtype) for one in report.sets] == [
        ("streaming", "float16"), ("streaming", "float32"),
    ]  # fmt: skip
    for one in report.sets:
        assert one.after is not None
        assert one.after.mape_pct < one.before.mape_pct
    assert "timing 24 kernels of streaming in float16" in said


def test_a_gpu_that_is_only_like_one_of_the_catalog_gets_its_own_name(monkeypatch):
    assert torch_cuda._name("NVIDIA GeForce RTX 3060", "nvidia-rtx-3090") == (
        "nvidia-geforce-rtx-3060"
    )
    assert torch_cuda._name("NVIDIA L4", "l4") == "nvidia-l4"
    assert torch_cuda._name("Tesla T4", "nvidia-l4") == "tesla-t4"
