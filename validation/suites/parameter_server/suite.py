"""Suite parameter-server: null steps, backup workers, MXNet's key-value store and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from simulator.errors import InputError, UnknownNameError
from validation.cases import Case
from validation.suite import Answer, Calibration, Prediction, Skip, Suite, find_suite
from validation.suites.parameter_server import google, mxnet
from validation.suites.parameter_server.baselines import BASELINES
from validation.suites.parameter_server.convert import (
    BACKUP,
    GCE,
    GOOGLE,
    MULTIVERSO,
    MXNET,
    NULL,
    convert,
    studies,
)
from validation.suites.parameter_server.convert import SUITE as NAME
from validation.suites.parameter_server.multiverso import epoch_s
from validation.suites.parameter_server.splits import curve_of, fit, single_of


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict by simulation, from what is known of one worker and what was fitted."""
    return [_answer(case, calibration) for case in cases]


def _answer(case: Case, calibration: Calibration) -> Answer:
    try:
        return Prediction(_MODELS[case.group](case, calibration))
    except (UnknownNameError, InputError) as error:
        return Skip(str(error))
    except KeyError as error:
        return Skip(f"nothing is known of {error}")


def _known(case: Case, calibration: Calibration) -> float:
    found = calibration.get("known", {}).get(curve_of(case))
    if found is None:
        raise InputError("the throughput of one worker is not known")
    return float(found)


def _multiverso(case: Case, calibration: Calibration) -> float:
    alone = single_of(case, find_suite(NAME).cases())
    if alone is None:
        raise InputError("what one GPU takes is not known")
    image_s = alone.measured / studies()["multiverso"]["images"]
    return epoch_s(case, image_s, calibration["multiverso"]["exchange_s"])


_MODELS: Mapping[str, Callable[[Case, Calibration], float]] = {
    NULL: lambda case, fitted: google.null_step_s(case, fitted["null"]),
    BACKUP: lambda case, fitted: google.backup_value(case, fitted["late"]),
    GOOGLE: lambda case, fitted: google.throughput(case, fitted["late"]),
    GCE: lambda case, fitted: google.throughput_of_a_worker(
        case, _known(case, fitted), fitted["late"], fitted["gce"]["link_bytes_per_s"]
    ),
    MXNET: lambda case, fitted: mxnet.throughput(case, _known(case, fitted), fitted["host"]),
    MULTIVERSO: _multiverso,
}
"""How the cases of a group are predicted."""


def groups(case: Case) -> Sequence[str]:
    """Return the study of a case; of MXNet its network and number of GPUs too."""
    if case.group != MXNET:
        return (case.group,)
    return (case.group, case.text("workload"), f"{case.text('on.devices')} GPUs")


SUITE = Suite(
    name=NAME,
    summary="parameter servers: null steps, backup workers, MXNet on up to 256 GPUs, Multiverso",
    predict=predict,
    baselines=BASELINES,
    convert=convert,
    fit=fit,
    groups=groups,
)
