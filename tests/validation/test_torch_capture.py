"""A user's own module becomes a workload that can be predicted and measured by one name."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from simulator.errors import InputError
from validation.torch_capture import capture_and_register
from validation.torch_twins import TWINS, twin


@pytest.fixture(autouse=True)
def _own_names():
    before = dict(TWINS)
    yield
    TWINS.clear()
    TWINS.update(before)


class Mine(nn.Module):
    """A user's network with data and a metric of its own."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x).tanh()


def test_the_twin_is_the_users_module_with_their_data_and_loss():
    module, data, target = Mine(), torch.randn(5, 4), torch.randint(0, 3, (5,))
    workload = capture_and_register(module, data, loss=functional.cross_entropy, target=target,
                                    optimizer="sgd")  # fmt: skip
    does = twin(workload)
    assert does.module is module
    assert does.args[0] is data
    expected = functional.cross_entropy(module(data), target)
    assert torch.allclose(does.forward(), expected)
    before = module.layer.weight.detach().clone()
    does.step()
    assert not torch.equal(before, module.layer.weight)


def test_shapes_are_filled_with_numbers_for_measuring():
    workload = capture_and_register(Mine(), (5, 4))
    assert twin(workload).step().shape == (5, 3)
    assert not workload.training


def test_names_are_the_class_and_never_taken_twice_unless_asked():
    first, second = (capture_and_register(Mine(), (batch, 4)) for batch in (1, 2))
    assert (first.name, second.name) == ("mine", "mine-2")
    assert twin(first).step().shape == (1, 3)
    assert twin(second).step().shape == (2, 3)
    replaced = capture_and_register(Mine(), (7, 4), name="mine")
    assert twin(replaced).step().shape == (7, 3)


def test_what_cannot_be_captured_is_not_registered():
    with pytest.raises(InputError, match="cannot capture"):
        capture_and_register(Mine(), (5, 9), name="broken")
    assert "broken" not in TWINS


def test_a_metric_that_gives_no_gradient_is_refused():
    with pytest.raises(InputError, match="does not depend on any trained parameter"):
        capture_and_register(Mine(), (5, 4), loss=lambda y: y.argmax(1).float().mean())
