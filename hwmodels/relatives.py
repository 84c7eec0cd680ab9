"""Complete what is known of a device: estimates, and the calibration of its nearest relative.

Estimates lie in `catalog/estimates/KIND.toml`. Calibrations that come with the project lie in
`catalog/calibrated/KIND/ARCHITECTURE.toml`: device files of the machines that were measured.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from hwmodels.architectures import nearest_architecture
from hwmodels.device_file import FindSpec, read_estimates, read_spec
from hwmodels.schema import Value
from hwmodels.spec import Spec
from simulator.source import Source

_CATALOG = Path(__file__).parent / "catalog"


def completed(spec: Spec, find: FindSpec, calibrated: Path = _CATALOG / "calibrated") -> Spec:
    """Return the spec with estimates for what is unknown, and calibrated.

    A CPU without calibration takes over that of the nearest architecture, with wider spreads; where
    there is none at all it stays without. Accelerators borrow by family (`hwmodels.gpu.fits`).

    Parameters
    ----------
    spec : what is known
    find : gives the spec of a device by its name
    calibrated : folder of calibrated device files, by kind and architecture
    """
    spec = spec.with_estimates(*_estimates(spec.kind))
    if spec.calibration is not None or spec.kind != "cpu":
        return spec
    measured = calibrated / spec.kind
    nearest = nearest_architecture(
        spec.architecture, (path.stem for path in measured.glob("*.toml"))
    )
    if nearest is None:
        return spec
    relative = read_spec(measured / f"{nearest}.toml", find)
    if relative.calibration is None:
        return spec
    spread = spec.known("model.borrowed_spread")
    return spec.replaced(calibration=relative.calibration.borrowed(spread))


@functools.cache
def _estimates(kind: str) -> tuple[Mapping[str, Value], Mapping[str, Source]]:
    return read_estimates(_CATALOG / "estimates" / f"{kind}.toml")
