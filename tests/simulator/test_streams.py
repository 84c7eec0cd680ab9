"""Random numbers depend on what they are for and on nothing else."""

from __future__ import annotations

import pytest

from simulator.errors import InputError
from simulator.streams import stream


def test_a_stream_depends_on_seed_rank_and_name_only():
    drawn = {
        (seed, rank, name): stream(seed, rank, name).random()
        for seed in (0, 1)
        for rank in (0, 1, 1000)
        for name in ("compute", "network")
    }
    assert len(set(drawn.values())) == len(drawn)
    assert drawn[1, 1000, "network"] == stream(1, 1000, "network").random()
    assert stream(0, 0, "compute").random() == 0.21715670220532535


@pytest.mark.parametrize(("seed", "rank"), [(-1, 0), (0, -1)])
def test_seed_and_rank_are_not_negative(seed, rank):
    with pytest.raises(InputError, match="must not be negative"):
        stream(seed, rank, "x")
