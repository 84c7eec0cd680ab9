"""Is a collective of one's own as quick as the library's, and why is there more than one?

An all-reduce leaves the sum of all ranks' buffers with every rank. Written down with sends and
receives (`ring_all_reduce.py`) it is a program like any other: it is simulated on a switch with
links of 1 Gbit/s, beside the built-in ring, the formula of the textbook, and the obvious way: all
send to rank 0, which adds up and sends back.

    python 04_your_own_collective.py                                     simulated
    scalemodel check-plan ring_all_reduce.py                             does it add up? for real?
    scalemodel measure cluster --ranks 8 --rate 1gbit --plan ring_all_reduce.py --kinds all_reduce
"""

import pandas as pd
from ring_all_reduce import ring_all_reduce

from hwmodels.network.cluster import Cluster
from hwmodels.network.libraries import Textbook
from hwmodels.network.shapes import star
from hwmodels.network.wires import Wire
from scalemodel.own_code import OwnCollective
from simulator.engine.execute import execute
from simulator.ideal import IdealDevice
from simulator.protocols import Machine
from validation.measure_plan import communication_job

BANDWIDTH, LATENCY_S = 125e6, 50e-6  # of a link and direction: bytes a second; seconds
SIZES = {"16 MB": 16e6, "1 kB": 1e3}


def by_way_of_rank_0(rank, buffer):
    """Send everything to rank 0, which adds up and sends the sum back."""
    if rank.id:
        yield rank.send(buffer, to=0)
        yield rank.recv(buffer, source=0)
        return
    for _ in range(rank.size - 1):
        yield rank.recv(buffer, op="sum")
    for other in range(1, rank.size):
        yield rank.send(buffer, to=other)


def built_in(rank, buffer):
    """Call the library's."""
    yield rank.all_reduce(buffer)


def time_ms(collective, ranks, nbytes):
    """Simulate one call among so many ranks."""
    wire = Wire(BANDWIDTH, LATENCY_S / 2)  # two links lie between any two ranks
    network = Cluster(
        topology=star(ranks, wire), library=Textbook(algorithms={"all_reduce": "ring"})
    )
    machine = Machine("switch", [IdealDevice()] * ranks, network)
    return 1e3 * execute(communication_job(nbytes), machine, OwnCollective(collective)).time_s


for title, nbytes in SIZES.items():
    rows = {}
    for ranks in (2, 4, 8, 64):
        steps = 2 * (ranks - 1)
        rows[ranks] = {
            "own ring": time_ms(ring_all_reduce, ranks, nbytes),
            "built in": time_ms(built_in, ranks, nbytes),
            "formula": 1e3 * steps * (LATENCY_S + nbytes / ranks / BANDWIDTH),
            "by rank 0": time_ms(by_way_of_rank_0, ranks, nbytes),
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("ranks")
    assert (abs(table["own ring"] / table["formula"] - 1) < 1e-9).all()
    print(f"all-reduce of {title}, ms\n\n{table.to_string(float_format='{:.3f}'.format)}\n")

print("""A ring keeps every link busy in both directions: the time of a large buffer hardly grows
with the ranks, while rank 0 waits for all of them on its one link. Of a small buffer only the
number of steps counts: there the ring is the slow one, and libraries change to trees.""")
