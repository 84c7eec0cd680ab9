"""Say which workloads the suite measures: common models and classic steps, from 0.1 ms to 1 s.

Each is a family of the report, a name in the registry and what differs from its defaults. Those of
one name are *variants*: users compare them, so their order must be right.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Subject(NamedTuple):
    """Be a workload that is measured.

    Parameters
    ----------
    family : group of the report
    name : in the registry
    parameters : that differ from the defaults
    """

    family: str
    name: str
    parameters: dict[str, Any]


TRAIN = {"training": True}
ADAMW = {"training": True, "optimizer": "adamw"}
SMALL_GPT = {"layers": 4, "width": 256, "heads": 4, "sequence": 128, "vocabulary": 5000}
WIDE_GPT = {"layers": 2, "width": 768, "heads": 12, "sequence": 64, "vocabulary": 2000}
SMALL_BERT = {"layers": 4, "width": 256, "heads": 4, "sequence": 64, "vocabulary": 5000}
SMALL_LSTM = {"sequence": 32, "width": 128, "hidden": 128, "layers": 1, "vocabulary": 1000}

SUBJECTS: tuple[Subject, ...] = (
    Subject("mlp", "mlp", {"batch": 64}),
    Subject("mlp", "mlp", {"batch": 1024, "width": 1024}),
    Subject("mlp", "mlp", {"batch": 64, **TRAIN}),
    Subject("mlp", "mlp", {"batch": 512, "width": 1024, **TRAIN}),
    Subject("mlp", "mlp", {"batch": 64, **ADAMW}),
    Subject("mlp", "mlp", {"batch": 32, "inputs": 54, "width": 32, "depth": 1, **TRAIN}),
    Subject("cnn", "lenet5", {"batch": 256}),
    Subject("cnn", "lenet5", {"batch": 64, **TRAIN}),
    Subject("cnn", "alexnet", {"batch": 4}),
    Subject("cnn", "vgg16", {"batch": 1}),
    Subject("cnn", "mobilenet-v2", {"batch": 1}),
    Subject("cnn", "mobilenet-v2", {"batch": 8}),
    Subject("cnn", "mobilenet-v2", {"batch": 4, **TRAIN}),
    Subject("resnet", "resnet18", {"batch": 1}),
    Subject("resnet", "resnet18", {"batch": 8}),
    Subject("resnet", "resnet18", {"batch": 4, "image": 112, "width": 32, **TRAIN}),
    Subject("resnet", "resnet18", {"batch": 4, **TRAIN}),
    Subject("resnet", "resnet50", {"batch": 1}),
    Subject("transformer", "gpt", {"batch": 1, **SMALL_GPT}),
    Subject("transformer", "gpt", {"batch": 8, **SMALL_GPT}),
    Subject("transformer", "gpt", {"batch": 4, **SMALL_GPT, **ADAMW}),
    Subject("transformer", "gpt", {"batch": 4, **WIDE_GPT, **TRAIN}),
    Subject("transformer", "bert-base", {"batch": 1, "sequence": 64}),
    Subject("transformer", "bert-base", {"batch": 4, **SMALL_BERT, **TRAIN}),
    Subject("lstm", "lstm", {"batch": 16, **SMALL_LSTM}),
    Subject("lstm", "lstm", {"batch": 8}),
    Subject("lstm", "lstm", {"batch": 32, **SMALL_LSTM, **TRAIN}),
    Subject("classic", "kmeans", {}),
    Subject("classic", "kmeans", {"batch": 200_000, "features": 16, "clusters": 16}),
    Subject("classic", "knn", {}),
    Subject("classic", "knn", {"batch": 16, "points": 50_000, "features": 128}),
    Subject("classic", "logistic-regression", {}),
    Subject("classic", "logistic-regression", {"batch": 4096}),
    Subject("classic", "linear-svm", {}),
    Subject("classic", "linear-svm", {"batch": 20_000, "features": 64}),
)
"""What is measured."""
