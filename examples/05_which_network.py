"""Which network and which algorithm for an all-reduce, and where do their curves cross?

64 devices add up a buffer, as they do with gradients after each backward pass. Every link carries
100 Gbit/s; what differs is how they are joined (a star, a tree whose leaves have half the links up,
a torus, nodes of eight on rails) and in which steps the sum is made. No algorithm is the best one
everywhere: few steps win while latency counts, few bytes over thin links win while bandwidth does.

    python 05_which_network.py                    a table a network
    python 05_which_network.py --plot FILE.png    draw the curves as well
"""

import argparse

import pandas as pd

import scalemodel as sm
from hwmodels.network.cluster import Cluster
from hwmodels.network.composed_shapes import rail_optimised
from hwmodels.network.libraries import Textbook
from hwmodels.network.shapes import leaf_spine, star, torus
from hwmodels.network.wires import Wire
from scalemodel.plots.style import COLOURS, drawing, save_figure
from simulator.ideal import IdealDevice

flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
flags.add_argument("--plot", metavar="FILE.png")
plot = flags.parse_args().plot


def wire(link):
    """Return a wire of the catalog's link."""
    fields = sm.find_link(link)
    return Wire(fields.known("bandwidth_bytes_per_s"), fields.known("latency_s"))


DEVICES, PER_NODE = 64, 8
LINK = wire("infiniband-edr")  # 100 Gbit/s
NODE = star(PER_NODE, wire("nvlink3"), hub="nvswitch")
NETWORKS = {
    "star": star(DEVICES, LINK),
    "tree 2:1": leaf_spine(8, 8, 4, LINK, oversubscription=2),
    "torus 8 x 8": torus((8, 8), LINK),
    "rails": rail_optimised(DEVICES // PER_NODE, NODE, LINK, wire("pcie4-x16")),
}
ALGORITHMS = ["ring", "recursive_doubling", "halving_doubling", "double_tree", "hierarchical"]
SIZES = [round(10 ** (3 + step / 4)) for step in range(25)]  # 1 kB to 1 GB


def time_s(topology, algorithm, nbytes):
    """Simulate one all-reduce."""
    library = Textbook(algorithms={"all_reduce": algorithm}, ranks_per_node=PER_NODE)
    machine = sm.Machine(
        "64", [IdealDevice()] * DEVICES, Cluster(topology=topology, library=library)
    )
    return sm.simulate(sm.all_reduce(nbytes=nbytes), machine, sm.Communicate(), record=False).time_s


times = {
    name: pd.DataFrame(
        {algorithm: [time_s(topology, algorithm, nbytes) for nbytes in SIZES]
         for algorithm in ALGORITHMS},
        index=SIZES,
    )
    for name, topology in NETWORKS.items()
}  # fmt: skip

bound_s = 2 * (DEVICES - 1) / DEVICES * SIZES[-1] / LINK.bandwidth_bytes_per_s
for name, table in times.items():
    best = table.idxmin(axis=1)
    changes = best[best != best.shift()]
    path = ", ".join(f"from {size / 1e3:,.0f} kB {which}" for size, which in changes.items())
    ms = 1e3 * table.iloc[::8].rename(index=lambda size: f"{size / 1e3:,.0f} kB")
    print(f"{name}, ms\n{ms.to_string(float_format='{:.3f}'.format)}\nquickest: {path}\n")

print(f"""Where all that a device sends goes over one link of 100 Gbit/s, 1 GB takes at least
{1e3 * bound_s:.1f} ms. The ring comes near that on every network, for it only talks to neighbours.
Halving and doubling needs a tenth of the steps, but sends half of its bytes to a device far away,
where the tree and the torus are thin. Rails with fast nodes go below that bound: the sum within
the node comes first, then each of eight links carries an eighth. In the torus, a ring or rings of
rings use one of a device's four links at a time.""")

if plot:
    with drawing():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 6.4), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True, sharey=True).flat
        for axes, (name, table) in zip(panels, times.items(), strict=True):
            for algorithm, colour in zip(ALGORITHMS, COLOURS, strict=False):
                axes.loglog(table.index, 1e3 * table[algorithm], color=colour,
                            label=algorithm.replace("_", " "))  # fmt: skip
            axes.set_title(name)
        figure.supxlabel("size of each device's buffer, bytes")
        figure.supylabel("time of an all-reduce, ms")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5)
        save_figure(figure, plot)
