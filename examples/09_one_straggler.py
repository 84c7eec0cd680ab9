"""One worker is slow: wait for it, leave it out, or never wait?

Eight Raspberry Pi train a perceptron on handwritten digits; a ninth keeps the parameters. One of
the eight takes ten times as long for each gradient. A synchronous server waits for it, one with a
backup worker takes the first seven gradients, an asynchronous one takes each gradient as it comes,
and a stale-synchronous one lets nobody be more than four steps ahead. The gradients are real, the
clock is simulated.

    python 09_one_straggler.py                    trains for half a minute
    python 09_one_straggler.py --plot FILE.png    draw accuracy against time as well
"""

import argparse

import pandas as pd

import scalemodel as sm
from scalemodel.plots.learning import plot_learning
from scalemodel.plots.style import save_figure

flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
flags.add_argument("--plot", metavar="FILE.png")
plot = flags.parse_args().plot

# In double precision what is printed does not depend on the processor that computes it.
STEP = sm.mlp(batch=32, inputs=64, width=64, depth=2, classes=10, training=True, dtype="float64")
MACHINE = sm.cluster("raspberry-pi-ethernet", devices=9)
DIGITS = sm.digits()
SLOWDOWN, TARGET = 10.0, 0.93
# An asynchronous server makes an update of each gradient, eight in a step: less of each is safe.
PLANS = {
    "synchronous": (sm.ParameterServer(), 0.4),
    "one backup worker": (sm.ParameterServer(backup=1), 0.4),
    "asynchronous": (sm.ParameterServer(mode="asynchronous"), 0.05),
    "stale-synchronous": (sm.ParameterServer(mode="stale-synchronous", staleness=4), 0.05),
}


def train(plan, rate, slow_ranks):
    """Train for 100 steps, with or without a slow worker."""
    disturbed = sm.Stragglers(plan, slow_ranks=slow_ranks, slowdown=SLOWDOWN)
    return sm.cosimulate(STEP, DIGITS, disturbed, on=MACHINE, steps=100, learning_rate=rate,
                         judgements=50)  # fmt: skip


slowed = {name: train(*how, slow_ranks=1) for name, how in PLANS.items()}
equal_ms = {name: 1e3 * sm.simulate(STEP, MACHINE, plan, steps=20).step_time_s
            for name, (plan, _) in PLANS.items()}  # fmt: skip
table = pd.DataFrame({
    name: {
        "step, all equal, ms": equal_ms[name],
        "step, one slow, ms": 1e3 * found.time_s[-1] / found.steps[-1],
        f"steps to {TARGET:.0%}": found.to_accuracy(TARGET, "steps"),
        f"time to {TARGET:.0%}, s": found.to_accuracy(TARGET),
    }
    for name, found in slowed.items()
}).T  # fmt: skip
noted = dict(note.split(": ") for note in slowed["asynchronous"].run.notes if ": " in note)
staleness = float(noted["mean staleness"])
print(f"{STEP.name} on 8 workers, one of them {SLOWDOWN:g} times as slow\n")
print(table.to_string(float_format="{:.3g}".format))
print(f"""
A synchronous step is as long as the slowest worker's, and so, in the long run, is that of workers
who may be a few steps ahead of it. A backup worker buys the slow one off with an eighth of the
gradients. The asynchronous server never waits: its updates rest on parameters that are
{staleness:.1f} updates old on average, and still bring it there first.

Why is its step shorter than without a slow worker? Equal workers all push at once and then all
pull at once, so the server's link is busy one way only. Whatever brings them out of step, as any
real machine does, lets gradients in while parameters go out.""")

if plot:
    title = f"One of 8 workers is {SLOWDOWN:g} times as slow"
    save_figure(plot_learning(slowed, title=title, target=TARGET), plot)
