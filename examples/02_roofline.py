"""Which op binds: arithmetic or memory? And where does the roofline go wrong?

By the roofline an op takes the longer of two times: its arithmetic at the peak rate, or its bytes
at the memory's bandwidth. Which one, its intensity tells: FLOP per byte. Peak and bandwidth stand
on a datasheet. What a kernel makes of them depends on its kind and sizes, and the prediction knows
it from measurements. A ratio above 1 is what the kernel loses; below 1, operands were in a cache.

    python 02_roofline.py                   all from the catalog: nothing is measured here
    python 02_roofline.py --plot FILE.png   draw the ops below the roof as well
"""

import argparse

import numpy as np
import pandas as pd

import scalemodel as sm
from hwmodels.roofline import bandwidth_bytes_per_s, peak_flop_per_s, roofline_s
from scalemodel.plots.roofline import Roof, plot_roofline
from scalemodel.plots.style import save_figure
from simulator.ops import KINDS

flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
flags.add_argument("--plot", metavar="FILE.png")
plot = flags.parse_args().plot

# What runs where; for others see `scalemodel list workloads` and `scalemodel list devices`.
THREADS = 16
cpu = sm.device("amd-ryzen-7950x")
step = sm.resnet50(batch=8)
graph = step.graph

# The roof is made of two numbers.
peak = peak_flop_per_s(cpu.spec, "float32", THREADS)
bandwidth = bandwidth_bytes_per_s(cpu.spec, THREADS)
ridge = sm.ridge_intensity(peak, bandwidth)
print(f"{cpu.spec.title}, {THREADS} threads: peak {peak / 1e12:.2f} TFLOP/s, "
      f"memory {bandwidth / 1e9:.0f} GB/s\n"
      f"arithmetic binds an op with more than {ridge:.1f} FLOP per byte\n")  # fmt: skip

# All ops of a step, by the roofline and as predicted; those of one kind together.
times_s = cpu.times_s(graph, THREADS)
ops = pd.DataFrame({
    "kind of op": np.array(KINDS)[graph.kind],
    "calls": 1,
    "FLOP/byte": graph.flops,
    "bytes": graph.bytes_moved,
    "roofline ms": 1e3 * roofline_s(graph, cpu, THREADS),
    "predicted ms": 1e3 * times_s,
})  # fmt: skip
table = ops.groupby("kind of op").sum().sort_values("predicted ms", ascending=False)
table.loc["all"] = table.sum()
table["FLOP/byte"] /= table.pop("bytes")
table["binds"] = np.where(table["FLOP/byte"] > ridge, "arithmetic", "memory")
table["ratio"] = table["predicted ms"] / table["roofline ms"]
table.index.name = None
print(f"{step.name}, batch {step.samples:.0f}")
print(table.to_string(float_format="{:.2f}".format, formatters={"calls": "{:.0f}".format}))

# What binds the whole step? Predict it again with more of each resource.
print(f"\n{sm.explain(sm.simulate(step, on=cpu, plan=sm.Threads(THREADS)))}")

if plot:
    title = f"{step.name} on {THREADS} threads of {cpu.name}"
    save_figure(plot_roofline(graph, times_s, Roof(peak, bandwidth), title), plot)
