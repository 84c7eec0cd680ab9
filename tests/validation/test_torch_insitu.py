"""Kernels timed where they stand, by a clock that only a kernel of the tests moves."""

import pytest

pytest.importorskip("torch")

import torch

from validation.torch_insitu import Program, clock_cost_s, kernel_times, recorded_graph


class Clock:
    """Be a clock that moves when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


CLOCK = Clock()


@torch.library.custom_op("scalemodel_tests::tick", mutates_args=())
def tick(x: torch.Tensor, seconds: float) -> torch.Tensor:
    """Copy a tensor, which takes so long."""
    CLOCK.now += seconds
    return x.clone()


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr("validation.torch_insitu.time.thread_time", CLOCK)
    return CLOCK


def timed(program, repeats):
    found = kernel_times(program, repeats)
    assert found is not None
    return found


def test_each_kernel_takes_what_it_takes_itself_and_not_what_is_done_between(clock):
    x = torch.ones(3)

    def step(set_phase):
        tick(x, 0.25)
        clock.now += 100.0
        tick(x, 0.5)

    found = timed(Program(step), repeats=4)
    assert found.times_s.tolist() == [[0.25, 0.5]] * 4
    assert [op.label for op in found.graph] == ["tick", "tick"]


def test_reading_the_clock_is_not_counted(monkeypatch):
    class Slow(Clock):
        def __call__(self):
            self.now += 0.01
            return self.now

    assert clock_cost_s(Slow()) == pytest.approx(0.01)
    monkeypatch.setattr("validation.torch_insitu.time.thread_time", Slow())
    x = torch.ones(3)
    found = timed(Program(lambda set_phase: x + x), repeats=2)
    assert found.times_s == pytest.approx(0.0, abs=1e-9)


def test_a_program_that_does_not_do_the_same_each_time_is_not_timed():
    counts = iter(range(100))
    x = torch.ones(3)
    assert kernel_times(Program(lambda _: [x + x for _ in range(next(counts))]), 3) is None


def test_ops_stand_in_the_phase_that_the_program_says():
    weight = torch.ones(4, 4, requires_grad=True)

    def step(set_phase):
        set_phase("forward")
        loss = (torch.ones(2, 4) @ weight).sum()
        set_phase("backward")
        loss.backward()
        weight.grad = None

    graph = recorded_graph(Program(step, [weight]))
    assert {op.phase for op in graph} == {"forward", "backward"}
    assert [op.phase for op in graph if op.label == "mm"] == ["forward", "backward"]
    first = next(op for op in graph if op.label == "mm")
    assert first.weight_bytes == weight.nbytes


def test_views_are_no_kernels_but_keep_the_times_in_step(clock):
    x = torch.ones(2, 3)
    program = Program(lambda set_phase: tick(tick(x, 1.0).t()[1:], 2.0))
    assert timed(program, repeats=1).times_s.tolist() == [[1.0, 2.0]]
