"""What if 400 Gbit/s instead of 100 between the nodes: what does data-parallel training gain?

A GPT of 1.3 billion parameters trains on 8 to 512 A100, eight a node, four sequences each.
Gradients are averaged while the backward pass goes on. The network between the nodes is bought
three times: one card of 100 Gbit/s a node, one of 400, eight of 100. A fourth way costs nothing
but patience: average the gradients of four batches at once.

    python 06_400_instead_of_100.py                    predicted, nothing is measured
    python 06_400_instead_of_100.py --plot FILE.png    draw the efficiency as well
"""

import argparse

import pandas as pd

import scalemodel as sm
from scalemodel.plots.style import COLOURS, MARKERS, drawing, new_figure, save_figure

flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
flags.add_argument("--plot", metavar="FILE.png")
plot = flags.parse_args().plot

STEP = sm.gpt_1_3b(batch=4, training=True, dtype="bfloat16")
GPUS = (8, 16, 32, 64, 128, 256, 512)
BOUGHT = {  # cards of a node, Gbit/s of each, batches before gradients are averaged
    "1 x 100": (1, 100, 1),
    "1 x 400": (1, 400, 1),
    "8 x 100": (8, 100, 1),
    "1 x 100, 4 batches": (1, 100, 4),
}


def train(gpus, cards, gbits, batches):
    """Predict a step on so many GPUs."""
    network = {
        "network.shape": "fat_tree",
        "network.nics": cards,
        "network.bandwidth_bytes_per_s": f"{gbits} Gbit/s",
    }
    machine = sm.cluster("dgx-a100-80gb", devices=gpus, parameters=network)
    return sm.simulate(STEP, on=machine, plan=sm.DataParallel(accumulation=batches), record=False)


runs = {name: {gpus: train(gpus, *how) for gpus in GPUS} for name, how in BOUGHT.items()}
tables = {
    title: pd.DataFrame({name: {gpus: value(run) for gpus, run in of.items()}
                         for name, of in runs.items()}).rename_axis("GPUs")
    for title, value in {
        "sequences a second": lambda run: run.throughput,
        "efficiency": lambda run: run.efficiency,
    }.items()
}  # fmt: skip
for title, places in (("sequences a second", 0), ("efficiency", 3)):
    print(f"{title}\n{tables[title].to_string(float_format=f'{{:.{places}f}}'.format)}\n")

slow, fast = (runs[name][GPUS[-1]] for name in ("1 x 100", "1 x 400"))
low, high = slow.interval
gain = slow.step_time_s / fast.step_time_s
print(f"""On {GPUS[-1]} GPUs 400 Gbit/s in place of 100 is {gain:.2f} times as fast, not 4: what a
step waits for the network shrinks, the rest stays (Amdahl's law). The step at 1 x 100 takes
{slow.step_time_s:.3f} s, with a 90 % interval of {low:.3f} to {high:.3f} s: is a gain larger
than that? Four batches between two exchanges buy nearly as much as a card four times as fast; the
one GPU that they are compared with accumulates as well.""")

if plot:
    with drawing():
        figure, axes = new_figure()
        for (name, column), colour, marker in zip(
            tables["efficiency"].items(), COLOURS, MARKERS, strict=False
        ):
            axes.plot(GPUS, column, color=colour, marker=marker, label=name)
        axes.set_xscale("log", base=2)
        axes.set_xticks(GPUS, [str(gpus) for gpus in GPUS])
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("GPUs")
        axes.set_ylabel("efficiency: speedup over one GPU / GPUs")
        axes.set_title("GPT-1.3B, data-parallel: network cards a node, Gbit/s")
        axes.legend(loc="lower left")
        save_figure(figure, plot)
