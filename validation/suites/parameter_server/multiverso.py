"""Predict epochs on one host with Multiverso: what a worker computes, exchanges and waits for."""

from __future__ import annotations

from validation.cases import Case
from validation.suites.parameter_server.clusters import Exchange, step_s
from validation.suites.parameter_server.convert import studies


def epoch_s(case: Case, image_s: float, exchange_s: float) -> float:
    """Return the time of an epoch, seconds.

    Parameters
    ----------
    case : training of so many workers
    image_s : what an image takes on one GPU
    exchange_s : what a worker does itself to exchange parameters in a step
    """
    study, batch = studies()["multiverso"], case.number("workload.batch")
    workers = case.count("on.devices")
    served = case.text("plan") == "parameter-server"
    steps = float(study["images"]) / batch / workers
    if not served:
        return steps * batch * image_s
    exchange = Exchange(
        workers=workers,
        servers=1,
        link_bytes_per_s=study["link_bytes_per_s"],
        sums_per_s=study["sums_per_s"],
        compute_s=batch * image_s + exchange_s,
        push_bytes=study["weight_bytes"],
        pull_bytes=study["weight_bytes"],
    )
    return steps * step_s(exchange)
