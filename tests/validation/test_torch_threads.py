"""How many threads torch uses, within a block and after it."""

import pytest

pytest.importorskip("torch")

import torch

from simulator.errors import InputError
from validation.torch_threads import torch_threads


def test_threads_are_set_within_the_block_and_put_back_after_it():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_threads_are_put_back_where_the_block_fails():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):
        _ = 1 / 0
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_than_one_thread_is_bad_input(threads):
    with pytest.raises(InputError, match=f"at least 1; got {threads}"), torch_threads(threads):
        pass
