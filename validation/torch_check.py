"""Be a rank of a plan that is judged: what `check_on_gloo` asks of each process."""

from __future__ import annotations

import torch

from simulator.protocols import Plan
from simulator.workload import Buffer
from validation.check_on_gloo import Left, Watched, contents_of
from validation.measure_plan import Playing
from validation.ranks import Made, Tell
from validation.torch_peers import Peers
from validation.torch_values import TorchValues, sleeping
from validation.torch_wall import WallRank


def leave(peers: Peers, tell: Tell, asked: Playing) -> Left:
    """Run one rank's program on numbers that follow from the names of buffers."""
    torch.set_num_threads(1)
    values = TorchValues(sleeping(lambda _: []), peers.device)

    def see(rank: int, buffer: Buffer) -> None:
        buffer = buffer.whole or buffer
        if buffer.name not in values.tensors:
            numbers = torch.from_numpy(contents_of(buffer, rank))
            values.tensors[buffer.name] = numbers.to(peers.device)

    plan: Plan = asked.plan.make() if isinstance(asked.plan, Made) else asked.plan
    with WallRank(peers, values) as rank:
        record = rank.play(Watched(plan, see).program(rank.rank, asked.job))
    return Left({name: one.cpu().numpy() for name, one in values.tensors.items()}, record)
