"""Each op of a step timed alone: with which operands, from how far, and how often."""

import math

import pytest

pytest.importorskip("torch")

import torch

from validation import torch_replay
from validation.torch_insitu import Program
from validation.torch_replay import TensorSpec, replay_s, replayable


class Clock:
    """Be a clock that the kernel of the tests moves; `calls` are the tensors it was called with."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now


CLOCK = Clock()


@torch.library.custom_op("scalemodel_tests::last", mutates_args=())
def last(x: torch.Tensor, seconds: float) -> torch.Tensor:
    """Copy a tensor, which takes so long."""
    CLOCK.now += seconds
    CLOCK.calls.append(x.clone())
    return x.clone()


@pytest.fixture
def clock():
    CLOCK.calls = []
    return CLOCK


def test_each_op_takes_what_its_kernel_takes(clock):
    x = torch.ones(8)

    def step(set_phase):
        last(x, 0.25)
        last(x, 0.5)
        last(x, 0.25)

    assert replay_s(Program(step), clock=clock).tolist() == [0.25, 0.5, 0.25]


def calls_made(times, clock):
    """Return how often the kernel is called to replay a step of so many calls that are alike."""
    x, clock.calls = torch.ones(8), []
    replay_s(Program(lambda set_phase: [last(x, 0.1) for _ in range(times)]), clock=clock)
    return len(clock.calls)


def test_calls_that_are_alike_and_whose_operands_come_from_equally_far_are_timed_once(
    clock, monkeypatch
):
    monkeypatch.setattr(torch_replay, "BUDGET_S", math.inf)
    # One more call is one more in each of the three steps that are looked at, and in no timing.
    assert calls_made(3, clock) == calls_made(2, clock) + 3


def test_distances_are_the_bytes_moved_since_the_last_use():
    x, w = torch.ones(1000), torch.ones(2000)

    def step(set_phase):
        doubled = x * 2.0  # moves 8 kB
        w * 3.0  # 16 kB
        doubled + x  # 12 kB

    _, distances = replayable(Program(step))
    operands = [row[:-1] for row in distances]
    # The step is repeated: x was used last, w before 12 kB of the last step and 8 kB of this one.
    assert operands == [[4000], [8000 + 12_000 + 8000], [16_000 + 4000, 16_000 + 4000]]
    assert distances[1][-1] == 0  # the code of the kernel that has just been called


def test_floats_are_drawn_anew_and_indices_are_kept():
    index = torch.tensor([3, 1, 2])
    assert TensorSpec.of(index).tensor().tolist() == [3, 1, 2]
    made = TensorSpec.of(torch.full((3, 4), 7.0).t()).tensor()
    assert (made.shape, made.stride()) == ((4, 3), (1, 4))
    assert not (made == 7.0).any()
    assert (TensorSpec.of(torch.zeros(50)).tensor(positive=True) > 0).all()


def test_kernels_that_are_slow_on_other_numbers_are_given_positive_ones():
    calls, _ = replayable(Program(lambda set_phase: torch.sqrt(torch.ones(100))))
    (call,) = [one for one in calls if "sqrt" in str(one.function)]
    run, (operand,) = call.bound()
    assert (operand > 0).all()
    result = run()
    assert isinstance(result, torch.Tensor)
    assert not torch.isnan(result).any()


def test_a_lookup_is_replayed_with_indices_that_exist():
    table, index = torch.ones(10, 4), torch.tensor([9, 0, 5])
    times = replay_s(Program(lambda set_phase: torch.nn.functional.embedding(index, table)))
    assert times.shape == (1,)
    assert times[0] >= 0
