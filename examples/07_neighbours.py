"""What does a neighbour on the same network cost, and what can a scheduler do about it?

GPT-2 trains on 32 of 64 GPUs, eight a node; another job has the other 32. They share neither GPUs
nor memory. Given whole nodes they share nothing that fills up; given half of each node they share
the one network card of every node.

    python 07_neighbours.py    predicted, nothing is measured
"""

import pandas as pd

import scalemodel as sm

NODES, PER_NODE = 8, 8
TRAINING = (sm.gpt2_small(batch=16, training=True, dtype="bfloat16"), sm.DataParallel(), 10)
SHUFFLE = (sm.all_to_all(nbytes=1e9), sm.Communicate(), 10)
HALF = NODES * PER_NODE // 2
FIRST = [gpu for gpu in range(2 * HALF) if gpu % PER_NODE < PER_NODE // 2]  # of each node
SECOND = [gpu for gpu in range(2 * HALF) if gpu % PER_NODE >= PER_NODE // 2]
PLACES = {
    "whole nodes": (range(HALF), range(HALF, 2 * HALF)),
    "half of each node": (FIRST, SECOND),
}
ASKED = [  # where, the neighbour, when it starts (s), Gbit/s
    ("whole nodes", "trains too", 0.0, 100),
    ("whole nodes", "shuffles", 0.0, 100),
    ("half of each node", "trains too", 0.0, 100),
    ("half of each node", "trains too", 0.05, 100),
    ("half of each node", "shuffles", 0.0, 100),
    ("half of each node", "shuffles", 0.0, 400),
]

rows = []
for where, neighbour, start_s, gbits in ASKED:
    network = {
        "network.shape": "fat_tree",
        "network.nics": 1,
        "network.bandwidth_bytes_per_s": f"{gbits} Gbit/s",
    }
    machine = sm.cluster("dgx-a100-80gb", devices=NODES * PER_NODE, parameters=network)
    jobs = [
        sm.JobSpec(workload, plan, devices=devices, steps=steps, start_s=begin_s)
        for (workload, plan, steps), devices, begin_s in zip(
            (TRAINING, TRAINING if neighbour == "trains too" else SHUFFLE),
            PLACES[where], (0.0, start_s), strict=True,
        )
    ]  # fmt: skip
    ours, theirs = sm.simulate_jobs(jobs, on=machine, record=False)
    rows.append({
        "placed on": where, "neighbour": neighbour, "after ms": 1e3 * start_s, "Gbit/s": gbits,
        "alone ms": 1e3 * ours.alone.time_s / ours.run.steps, "slowdown": ours.slowdown,
        "neighbour's": theirs.slowdown,
    })  # fmt: skip

table = pd.DataFrame(rows).set_index("placed on")
print(f"""{TRAINING[0].name} on 32 GPUs, time of a step and slowdown by the neighbour

{
    table.to_string(
        formatters={
            "after ms": "{:.0f}".format,
            "alone ms": "{:.1f}".format,
            "slowdown": "{:.2f}".format,
            "neighbour's": "{:.2f}".format,
        }
    )
}

Whole nodes keep neighbours apart. Two trainings that share cards meet where both send, and meet
less where one starts half a step later. A shuffle sends all the time, with many flows a card: it
hardly notices the training, whose time it doubles, until the cards are faster.""")
