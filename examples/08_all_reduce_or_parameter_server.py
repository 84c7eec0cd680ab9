"""All-reduce or parameter server: whose step is shorter, and where do the curves cross?

Servers of 64 cores train on 10 Gbit/s Ethernet. Either all of them average their gradients in a
ring, or they push gradients to servers, which update the parameters and send them back: one
server, four, or a part of one on each worker. A large model asks for bandwidth, a small one for few
messages in a row.

    python 08_all_reduce_or_parameter_server.py                    simulated, nothing is measured
    python 08_all_reduce_or_parameter_server.py --plot FILE.png    draw the curves as well
"""

import argparse

import pandas as pd

import scalemodel as sm
from scalemodel.plots.style import COLOURS, MARKERS, drawing, logarithmic, save_figure

flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
flags.add_argument("--plot", metavar="FILE.png")
plot = flags.parse_args().plot

LARGE = sm.resnet50(batch=32, training=True, dtype="bfloat16")
SMALL = sm.logistic_regression(batch=64, features=784, classes=10)
WORKERS = (2, 4, 8, 16, 32, 64)
WIDTHS = (8, 32, 128, 512, 2048)  # of a perceptron, to go from small to large
FOUR = "4 servers"
WAYS = {
    "all-reduce": lambda workers: (sm.DataParallel(), workers),
    "1 server": lambda workers: (sm.ParameterServer(), workers + 1),
    FOUR: lambda workers: (sm.ParameterServer(servers=4), workers + 4),
    "a server on each worker": lambda workers: (
        sm.ParameterServer(servers=workers, colocated=True), workers),
}  # fmt: skip


def step_ms(model, way, workers):
    """Simulate a step of so many workers; servers that are not on workers come on top of them."""
    plan, devices = WAYS[way](workers)
    machine = sm.cluster("ten-gigabit-ethernet", devices=devices)
    return 1e3 * sm.simulate(model, on=machine, plan=plan, record=False).step_time_s


def table(points):
    """Return a row a point, a column a way; a point is a model and a number of workers."""
    return pd.DataFrame({way: {name: step_ms(model, way, workers)
                               for name, (model, workers) in points.items()}
                         for way in WAYS})  # fmt: skip


perceptrons = [sm.mlp(batch=16, width=width, depth=2, training=True) for width in WIDTHS]
tables = {
    f"{LARGE.name}, {LARGE.weight_bytes / 1e6:.0f} MB": table(
        {workers: (LARGE, workers) for workers in WORKERS}).rename_axis("workers"),
    f"{SMALL.name}, {SMALL.weight_bytes / 1e3:.0f} kB": table(
        {workers: (SMALL, workers) for workers in WORKERS}).rename_axis("workers"),
    "perceptrons on 16 workers": table(
        {model.weight_bytes / 1e6: (model, 16) for model in perceptrons}).rename_axis("MB"),
}  # fmt: skip
for title, found in tables.items():
    print(f"{title}: step, ms\n{found.to_string(float_format='{:,.4g}'.format)}\n")

large, small, sizes = tables.values()
won = small.index[small["1 server"] < small["all-reduce"]]
ahead = sizes["all-reduce"] < sizes[FOUR]
crossed = sizes.index[ahead][0]
print(f"""A ring moves 2 (n - 1)/n of the gradient over each link, however many workers there are; a
server's link carries n gradients in and n models out, so {LARGE.name} needs about as many servers
as workers to keep up. But a ring takes 2 (n - 1) messages one after the other, a server two:
{SMALL.name} is quicker with one server from {won[0]} workers on. On 16 workers the ring overtakes
four servers between {sizes.index[~ahead][-1]:.2g} and {crossed:.2g} MB of gradients. With a part
of a server on each worker, servers are never far from the best, at any size.""")

if plot:
    with drawing():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12, 4.4), layout="constrained")
        panels = figure.subplots(1, 3)
        for axes, (title, found) in zip(panels, tables.items(), strict=True):
            for way, colour, marker in zip(found, COLOURS, MARKERS, strict=False):
                axes.plot(found.index, found[way], color=colour, marker=marker, label=way)
            logarithmic(axes, "x")
            logarithmic(axes, "y")
            axes.set_title(title)
            axes.set_xlabel({"MB": "gradients, MB"}.get(found.index.name, found.index.name))
        for axes in panels[:2]:
            axes.set_xticks(WORKERS, [str(workers) for workers in WORKERS])
        panels[2].set_xticks((0.03, 0.1, 0.3, 1, 3, 10, 30))
        panels[0].set_ylabel("time of a step, ms")
        lines = panels[0].get_legend_handles_labels()
        figure.legend(*lines, loc="outside lower center", ncols=4)
        save_figure(figure, plot)
