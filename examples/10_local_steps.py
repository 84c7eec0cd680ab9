"""How many steps apart from one another before a mean: which H of local SGD is best?

Eight Raspberry Pi on Wi-Fi train a perceptron on handwritten digits: each takes H steps on digits
of its own, then all continue from the mean of their parameters. Rare means save the network's time.
Whether they cost steps depends on who sees which digits: all see all of them, or shares of classes
differ (drawn from a Dirichlet distribution), or each sees one or two classes only. Time to an
accuracy is time of a round (hardware) times rounds to it (statistics).

    python 10_local_steps.py                    trains for half a minute
    python 10_local_steps.py --plot FILE.png    draw the three factors as well
"""

import argparse
from dataclasses import replace

import pandas as pd

import scalemodel as sm
from scalemodel.plots.efficiency import plot_efficiency
from scalemodel.plots.style import save_figure

flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
flags.add_argument("--plot", metavar="FILE.png")
plot = flags.parse_args().plot

# In double precision what is printed does not depend on the processor that computes it.
MODEL = {"batch": 16, "inputs": 64, "width": 32, "depth": 1, "classes": 10, "dtype": "float64"}
SCENARIO = sm.Scenario(
    workload="mlp", on="edge-wifi", plan="local-sgd",
    parameters={"on.devices": 8} | {f"workload.{name}": value for name, value in MODEL.items()},
)  # fmt: skip
STEPS = (1, 4, 16, 64)
TARGET = 0.85
DIGITS = sm.digits()
DEALT = {
    "shuffled": DIGITS,
    "Dirichlet, 3": DIGITS.distributed("dirichlet", concentration=3.0),
    "by label": DIGITS.distributed("by-label"),
}

points, seconds = [], {}
for dealt, data in DEALT.items():
    training = sm.Training(data=data, target=TARGET, learning_rates=[0.1], epochs=20)
    study = sm.time_to_accuracy(SCENARIO, {"plan.every": STEPS}, training)
    seconds[dealt] = [point.to_target() for point in study.points]
    points += [replace(point, name=f"{point.name}, {dealt}") for point in study.points]

round_ms = [1e3 * point.step_time_s for point in points[: len(STEPS)]]
table = pd.DataFrame({"round, ms": round_ms} | seconds, index=pd.Index(STEPS, name="H"))
print(f"""{SCENARIO.workload} on 8 devices on Wi-Fi: seconds to {TARGET:.0%}, in 20 epochs at most

{table.to_string(float_format="{:.3g}".format, na_rep="never")}

Most of a round is communication, so 64 steps in place of one lengthen it by a half. Where all see
the same kind of digits, the mean of models that went 64 steps apart is as good as a model that went
on alone for as long: rounds fall nearly as fast as H grows. Where ranks see different classes, each
walks towards a model of its own, and the mean of what they find is none of these: the more they
differ, the sooner they have to meet again.""")

if plot:
    title = "Local SGD on 8 devices on Wi-Fi, by how digits are dealt to them"
    save_figure(plot_efficiency(points, title), plot)
