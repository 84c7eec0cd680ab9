"""How long should a federated round wait, and for whom?

A small network learns digits on 40 phones: kinds and links are those of FLASH's users (fleet
`flash`), a batch takes what FLASH measured on a Pixel 4, and longer on the slower kinds. Each phone
has more of some digits than of others. A round wants ten updates. It may wait for the ten phones
that it selected, select more and take the first ten, or end at a deadline with what has come.

    python 11_federated_deadline.py                    co-simulated: gradients are real, time is not
    python 11_federated_deadline.py --plot FILE.png    draw accuracy against time as well
"""

import argparse
from dataclasses import replace

import pandas as pd

import scalemodel as sm
from scalemodel.plots.learning import plot_learning
from scalemodel.plots.style import save_figure

flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
flags.add_argument("--plot", metavar="FILE.png")
plot = flags.parse_args().plot

PHONES, WANTED, ROUNDS, BATCHES = 40, 10, 40, 5
MODEL = sm.mlp(batch=10, inputs=64, width=256, depth=1, classes=10, training=True, optimizer="sgd")
DATA = sm.digits().distributed("dirichlet", concentration=1.0)
BATCH_S = 0.179  # FLASH: a batch of 10 of femnist on a Pixel 4 (suite `federated`)
POLICIES = {  # phones selected for each update wanted, deadline (s)
    "wait for all 10": (1.0, None),
    "first 10 of 13": (1.3, None),
    "first 10 of 30": (3.0, None),
    "13, until 3 s": (1.3, 3.0),
    "13, until 0.8 s": (1.3, 0.8),
}

phones = sm.cluster("phones", devices=PHONES + 1)
timed = sm.with_step_time(phones, MODEL, BATCH_S)
machine = replace(phones, devices=[*timed.devices[:-1], phones.devices[-1]])  # the server is last


def train(over_selection, deadline_s):
    """Train for some rounds, of which each phone selected is lost with 8 %."""
    plan = sm.Federated(wanted=WANTED, over_selection=over_selection, deadline_s=deadline_s,
                        local_steps=BATCHES, dropout=0.08, fleet="flash")  # fmt: skip
    return sm.cosimulate(MODEL, DATA, plan, machine, steps=ROUNDS, learning_rate=0.1,
                         judgements=ROUNDS)  # fmt: skip


found = {name: train(*policy) for name, policy in POLICIES.items()}
rows = {
    name: {
        "round s": one.time_s[-1] / ROUNDS,
        "updates": one.run.samples_per_step / (BATCHES * MODEL.samples),
        "accuracy %": 100 * one.accuracy[-10:].mean(),  # of the last ten rounds
        "s to 80 %": one.to_accuracy(0.8),
        "rounds to 80 %": one.to_accuracy(0.8, "steps"),
    }
    for name, one in found.items()
}
table = pd.DataFrame.from_dict(rows, orient="index", dtype=float)
lost = {name: [note for note in one.run.notes if "ranks" not in note]
        for name, one in found.items()}  # fmt: skip
print(f"""{MODEL.name} learns {DATA.name} on {PHONES} phones, {ROUNDS} rounds of {BATCHES} batches

{table.to_string(float_format="{:.1f}".format, na_rep="never")}

{chr(10).join(f"{name}: {'; '.join(notes)}" for name, notes in lost.items())}

Half of the phones take nearly three times as long as the others, and one update in twelve is lost.
Three phones more make up for the losses; the round stays as long, as its tenth update is a slow
phone's still. The first ten of thirty are quick phones': 80 % is reached in half the time, at three
times the work of phones, but what slow phones have seen is missing in the end. A deadline of 3 s
leaves them out too, has fewer updates, and gains no time. At 0.8 s nobody is ready, and the model
stays what it was.""")

if plot:
    save_figure(plot_learning(found, title="Digits on 40 phones, 10 updates a round"), plot)
