"""A device whose times are three numbers, for tests of what is said about runs."""

from dataclasses import dataclass, replace

import numpy as np

from simulator.energy import Energy
from simulator.protocols import Running
from simulator.source import Source


@dataclass(frozen=True)
class TwoResources:
    """Take, for each op, overhead plus computing plus moving data."""

    compute_s: float = 0.6
    memory_s: float = 0.2
    overhead_s: float = 0.2
    name: str = "two resources"
    max_threads: int = 1
    memory_bytes: float | None = None
    ratio: tuple[float, float] = (0.8, 1.5)
    sources: tuple[Source, ...] = (Source("a datasheet"),)
    resources: tuple[str, ...] = ("clock", "memory")
    spread: float = 0.0

    def times_s(self, graph, threads):
        return sum(self.breakdown_s(graph, threads).values())

    def breakdown_s(self, graph, threads):
        ones = np.ones(len(graph)) / len(graph)
        parts = {"compute": self.compute_s, "memory": self.memory_s, "overhead": self.overhead_s}
        return {name: ones * seconds for name, seconds in parts.items()}

    def error_ratio(self, graph):
        return self.ratio

    def scaled(self, resource, factor):
        field = {"clock": "compute_s", "memory": "memory_s"}[resource]
        return replace(self, **{field: getattr(self, field) / factor})

    def drawn(self, seed):
        rng = np.random.default_rng(seed)
        return self.scaled("clock", float(np.exp(self.spread * rng.standard_normal())))

    def power_w(self, threads):
        return 10.0 * threads

    def open(self, clock):
        return Open(self, clock)


class Open:
    def __init__(self, device, clock):
        self.device, self.clock = device, clock

    def run(self, work, threads):
        return Running(self.clock.timeout(float(self.device.times_s(work.graph, threads).sum())))

    def energy(self, time_s):
        return Energy({"idle": 1.0 * time_s})
