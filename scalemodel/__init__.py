"""Predict how fast ML workloads run and scale, then measure how wrong the prediction was.

    import scalemodel as sm

    step = sm.resnet50(batch=8)
    run = sm.simulate(step, on=sm.device("raspberry-pi-4"), plan=sm.Threads(4))
    print(run)

All public names are here; each is loaded when it is first used, so importing costs next to nothing.
Models of the registry (`sm.resnet50`, `sm.mlp` ...) are names here too.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

PACKAGES = ("simulator", "hwmodels", "workloads", "validation")
"""The packages that this one puts in one place."""

_MODULES: dict[str, tuple[str, ...]] = {
    # what is asked, and the answer
    "simulator.simulate": ("simulate",),
    "simulator.jobs": ("simulate_jobs", "JobSpec", "JobRun", "OnDevices"),
    "simulator.explain": ("explain",),
    "simulator.against": ("against",),
    "simulator.run": ("Run",),
    "simulator.scenario": ("Scenario",),
    "simulator.study": ("read_study",),
    "simulator.bounds": ("Bound", "check_bounds", "parse_bound"),
    "simulator.sweep": ("best_point",),
    "simulator.bill": ("Tariff",),
    "validation.predict": ("predict", "largest_batch"),
    "validation.measure_cluster": ("measure_collectives",),
    "validation.measure_plan": ("measure_plan",),
    "validation.cosimulate": ("cosimulate", "Cosimulation", "InterruptedLearning"),
    "validation.time_to_accuracy": ("time_to_accuracy", "Training"),
    "validation.noise_scale": ("gradient_noise_scale", "fit_critical_batch"),
    "scalemodel.asking": ("sweep", "capture", "measure"),
    # the vocabulary
    "simulator.ops": ("Op", "Graph"),
    "simulator.workload": ("Workload", "Work", "Job", "Buffer"),
    "simulator.actions": ("Rank", "Group", "ANY"),
    "simulator.protocols": ("Device", "Machine", "Network", "Placement", "Plan"),
    "simulator.energy": ("Energy",),
    "simulator.timeline": ("Timeline", "Span"),
    "simulator.source": ("Source",),
    "simulator.streams": ("stream",),
    "simulator.errors": (
        "ScalemodelError", "InputError", "UnknownNameError", "UnitError", "FileError",
        "ProgramError", "DeadlockError", "RankFailedError", "DoesNotFitError", "BoundError",
    ),
    "simulator.version": ("VERSION",),
    # laws
    "simulator.laws": (
        "amdahl_speedup", "amdahl_limit", "gustafson_speedup", "karp_flatt_serial_fraction",
        "usl_throughput", "usl_peak_p", "strong_efficiency", "weak_efficiency",
        "roofline_flop_per_s", "ridge_intensity",
    ),
    "simulator.fit_laws": ("fit_amdahl", "fit_usl", "fit_ernest", "read_points", "Points"),
    # hardware, workloads, plans
    "hwmodels.devices": ("find_device", "list_devices"),
    "workloads.registry": ("find_workload", "list_workloads"),
    "hwmodels.network.systems": ("cluster",),
    "hwmodels.paced": ("with_step_time",),
    "hwmodels.system_files": ("find_system", "find_link"),
    "workloads.plans": (
        "Single", "Threads", "Prefetch", "DataParallel", "Communicate", "ParameterServer",
        "LocalSGD", "Gossip", "Hogwild", "Federated", "Stragglers", "Failures", "find_plan",
    ),
    "workloads.datasets": ("Dataset", "digits", "blobs", "linear_data", "find_dataset"),
    "workloads.card": ("complexity_card",),
}  # fmt: skip
_HOME = {name: module for module, names in _MODULES.items() for name in names}
_SUBMODULES = ("plots",)

__all__ = [*sorted(_HOME), "__version__", "device"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    """Return a public name, a model of the registry, or the version; loaded when first asked."""
    if name.startswith("__") and name != "__version__":
        raise AttributeError(f"module 'scalemodel' has no attribute '{name}'")
    check_packages()
    value = _find(name)
    globals()[name] = value
    return value


def _find(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name == "__version__":
        return __getattr__("VERSION")
    if name == "device":
        from validation.predict import named_device

        return named_device
    if name in _SUBMODULES:
        return importlib.import_module(f"scalemodel.{name}")
    from simulator.errors import nearest
    from workloads.registry import FUNCTIONS

    if name in FUNCTIONS:
        return FUNCTIONS[name]
    near = nearest(name, [*__all__, *FUNCTIONS])
    hint = f"; did you mean '{near}'?" if near else ""
    raise AttributeError(f"module 'scalemodel' has no attribute '{name}'{hint}")


def __dir__() -> list[str]:
    from workloads.registry import FUNCTIONS

    return sorted({*globals(), *__all__, *FUNCTIONS})


def check_packages() -> None:
    """Raise where a folder or module of the user's hides one of our packages.

    Raises
    ------
    ImportError : names the package and the file that took its name
    """
    ours = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = None if spec is None else spec.origin
        if origin is None or Path(origin).resolve().parents[1] != ours:
            taken = "is not installed" if origin is None else f"is hidden by {origin}"
            raise ImportError(
                f"scalemodel needs its own package '{name}', which {taken}; rename that file or "
                "folder, or start from another folder (with the command `scalemodel`, the folder "
                "you are in does not matter)"
            )
