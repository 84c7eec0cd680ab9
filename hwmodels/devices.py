"""Find devices by name: in the catalog, among the user's, or in a file; read only what is asked.

A *name* is the stem of a device file. The catalog has a folder a kind; the user's devices lie in
`$SCALEMODEL_HOME/devices` and go first, so that a calibrated machine hides its plain namesake.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from hwmodels.device_file import read_spec
from hwmodels.home import home
from hwmodels.relatives import completed
from hwmodels.schema import SCHEMAS
from hwmodels.spec import Spec, spec_of
from simulator.errors import FileError, UnknownNameError, alike
from simulator.protocols import Device

_CATALOG = Path(__file__).parent / "catalog"
THIS_MACHINE = "this-machine"
"""Name of the machine at hand, and of the device file that its calibration writes."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Say what one line of a list of devices says.

    Parameters
    ----------
    name : to find it by
    kind : "cpu"
    line : title and the most important figures
    origin : "catalog" or "user"
    """

    name: str
    kind: str
    line: str
    origin: str


def devices_folder() -> Path:
    """Return the folder of the user's own devices (it need not exist)."""
    return home() / "devices"


def device_names() -> tuple[str, ...]:
    """Return the names of all devices, sorted; reads directories only.

    >>> "rpi4-bcm2711" in device_names()
    True
    """
    return tuple(sorted({*_in_catalog(), *_of_user()}))


def _in_catalog() -> dict[str, Path]:
    return {path.stem: path for kind in SCHEMAS for path in (_CATALOG / kind).glob("*.toml")}


def _of_user() -> dict[str, Path]:
    return {path.stem: path for path in devices_folder().glob("*.toml")}


def find_spec(name: str | Path, *overlays: str | Path) -> Spec:
    """Return what is known of a device.

    Parameters
    ----------
    name : in the catalog or of a user's device, an alias, or the path of a device file; case,
        blanks and signs of a name do not matter ("RTX 4090")
    overlays : paths of further files that say some of it anew (a calibration)

    Raises
    ------
    UnknownNameError : no device has this name
    FileError : a file that cannot be used

    >>> find_spec("rpi4-bcm2711").values["cores"]
    4
    """
    spec = _read(_path_of(name), ())
    for overlay in overlays:
        base = spec
        spec = read_spec(Path(overlay), lambda _: base).replaced(name=base.name)  # noqa: B023
    return spec


def find_device(name: str | Path, *overlays: str | Path) -> Device:
    """Return a device by its name; arguments and errors as of `find_spec`.

    >>> find_device("rpi4-bcm2711").max_threads
    4
    """
    return device_from(find_spec(name, *overlays))


def with_fields(device: Device, changes: Mapping[str, object]) -> Device:
    """Return a device with other values of some fields, by dotted key.

    Parameters
    ----------
    device : made by `find_device`
    changes : numbers in inside units, or quantities ("204 GB/s")

    Raises
    ------
    UnknownNameError : a key that a device of this kind does not have
    InputError : a value that is impossible, alone or beside the others

    >>> more = with_fields(find_device("rpi4-bcm2711"), {"cores": 8, "clock.boost_hz": "2 GHz"})
    >>> more.max_threads
    8
    """
    return device_from(spec_of(device).with_fields(changes), device)


def device_from(spec: Spec, before: Device | None = None) -> Device:
    """Return the model of a device of which this is known, completed by estimates.

    Parameters
    ----------
    spec : what is known
    before : the device whose fields were changed; None: none were
    """
    return _MODELS[spec.kind](completed(spec, find_spec), before)


def _cpu(spec: Spec, _: Device | None) -> Device:
    from hwmodels.cpu import cpu_of

    return cpu_of(spec)


def _gpu(spec: Spec, before: Device | None) -> Device:
    from hwmodels.gpu.device import gpu_of

    return gpu_of(spec, find_spec, before)


_MODELS: Mapping[str, Callable[[Spec, Device | None], Device]] = MappingProxyType(
    {"cpu": _cpu, "gpu": _gpu}
)
"""What makes a device from its spec, by kind; imported when first used."""


def list_devices() -> list[Listed]:
    """Return all devices with kind and one line each, sorted by name; reads every file."""
    paths = _in_catalog() | _of_user()
    return [_listed(name, paths[name]) for name in sorted(paths)]


def _listed(name: str, path: Path) -> Listed:
    origin = "catalog" if path.is_relative_to(_CATALOG) else "user"
    try:
        spec = _read(path, ())
    except FileError as error:
        return Listed(name, "unreadable", str(error), origin)
    return Listed(name, spec.kind, one_line(spec), origin)


def one_line(spec: Spec) -> str:
    """Return the title and the most important figures of a device.

    >>> one_line(find_spec("rpi4-bcm2711"))
    'Raspberry Pi 4 Model B (BCM2711): 4 cores at 1.5 GHz, 9.6 GB/s'
    """
    return f"{spec.title}: {spec.schema.headline(spec.values)}"


def _path_of(name: str | Path) -> Path:
    """Return the file of a device: the user's, the catalog's, an alias's, or the path itself."""
    text = str(name)
    if isinstance(name, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        return Path(name).expanduser()
    if _is_plain(text):
        mine = devices_folder() / f"{text}.toml"
        for path in (mine, *_of_catalog(text)):
            if path.is_file():
                return path
    aliases = _aliases()
    meant = {aliases[text]} if text in aliases else _meant(text)
    if len(meant) == 1:
        return _path_of(meant.pop())
    names = sorted({*device_names(), THIS_MACHINE})
    near = next((known for known in (names, aliases) if alike(text, known)), None)
    raise UnknownNameError("device", text, meant or near or names)


def _meant(text: str) -> set[str]:
    """Return the devices whose name or alias is this one, but for case, blanks and signs."""
    wanted = _letters(text)
    names = {name: name for name in device_names()} | _aliases()
    return {device for name, device in names.items() if wanted and _letters(name) == wanted}


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def catalog_file(name: str) -> Path | None:
    """Return the file that the catalog has of a device; None: it has none of this name.

    >>> catalog_file("rpi4-bcm2711").name, catalog_file("this-machine")
    ('rpi4-bcm2711.toml', None)
    """
    return next((path for path in _of_catalog(name) if path.is_file()), None)


def _of_catalog(name: str) -> list[Path]:
    return [_CATALOG / kind / f"{name}.toml" for kind in SCHEMAS]


def _is_plain(name: str) -> bool:
    return bool(name) and not set(name) & set("*?[]/\\")


@functools.cache
def _aliases() -> dict[str, str]:
    with (_CATALOG / "aliases.toml").open("rb") as file:
        return tomllib.load(file)


def _read(path: Path, above: tuple[Path, ...]) -> Spec:
    """Read a device file and what it is `like`; `above` are the files that led here."""
    if path in above:
        raise FileError(path, f"is like itself, by way of {above[-1].name}", "like")

    def find(name: str) -> Spec:
        return _read(_next(name, path), (*above, path))

    return read_spec(path, find)


def _next(name: str, path: Path) -> Path:
    """Return the file that `path` is like: a user's file may be like its catalog namesake."""
    if name == path.stem:
        others = (other for other in _of_catalog(name) if other.is_file() and other != path)
        return next(others, path)
    return _path_of(name)
