"""What if the memory had twice the bandwidth: who profits, and why not everybody?

More of one resource is Amdahl's law once more: only the share of the time that waits for it gets
shorter. Eight workloads are predicted on a CPU with its own memory, with one twice as fast, and
with one a hundred times as fast. Then it is asked what binds each of them.

    python 03_twice_the_bandwidth.py    all from the catalog: nothing is measured here
"""

import pandas as pd

import scalemodel as sm

CPU, THREADS = "amd-ryzen-7950x", 16
ASKED = {
    "GPT-2 writes a token": ("gpt2-small", {"workload.sequence": 1}),
    "GPT-2 reads 1024 tokens": ("gpt2-small", {"workload.sequence": 1024}),
    "perceptron, one sample": ("mlp", {"workload.batch": 1, "workload.width": 4096}),
    "perceptron, 512 samples": ("mlp", {"workload.batch": 512, "workload.width": 4096}),
    "ResNet-50, one image": ("resnet50", {"workload.batch": 1}),
    "ResNet-50 trains on 64": ("resnet50", {"workload.batch": 64, "workload.training": True}),
    "MobileNetV2, 64 images": ("mobilenet_v2", {"workload.batch": 64}),
    "logistic regression": ("logistic-regression", {}),
}
FIELD, RESOURCE = "memory.bandwidth_bytes_per_s", "memory.bandwidth"
own = sm.device(CPU).spec.known(FIELD)

rows = {}
for title, (workload, parameters) in ASKED.items():
    settings = {"plan.threads": THREADS, **parameters}
    base = sm.Scenario(workload=workload, on=CPU, parameters=settings)
    # A dotted name changes a field of the device; a sweep predicts every point of a grid.
    points = sm.sweep({f"on.{FIELD}": [own, 2 * own, 100 * own]}, base)
    once_s, twice_s, endless_s = points["step_time_s"]
    # What binds is found by predicting again with a little more of each resource.
    why = sm.explain(sm.predict(base))
    waits = next(one.elasticity for one in why.resources if one.name == RESOURCE)
    rows[title] = {
        "step ms": 1e3 * once_s,
        "x2": once_s / twice_s,
        "x100": once_s / endless_s,
        "binds": why.binds,
        "waits": waits,
        "Amdahl x2": sm.amdahl_speedup(2, 1 - min(waits, 1)),
    }

table = pd.DataFrame.from_dict(rows, orient="index").sort_values("x2", ascending=False)
print(f"""{THREADS} threads of {CPU}: how many times as fast with x times {FIELD}

{table.to_string(float_format="{:.2f}".format)}

binds: what the step time follows most. waits: share of the time that follows {RESOURCE}.
Amdahl x2: what Amdahl's law makes of that share, if it is all for the field to shorten. Where x2 is
less, something else is reached on the way: a single core draws no more from a wider memory.""")
