"""Find links and systems by name: in the catalog, among the user's, or in a file.

    kind = "system"
    title = "Eight nodes of four cards"
    device = "nvidia-a30"
    library = "nccl"

    [node]
    devices = 4
    shape = "host"
    link = "pcie4-x16"

    [network]
    shape = "star"
    link = "ethernet-100g"

Values and sources are written as in device files. A system whose network has another shape says so
by a table `[topology]` with a `shape` and parameters, as `hwmodels.network.named_shapes` takes
them, instead of `[node]` and `[network]`. The user's files lie in `$SCALEMODEL_HOME/links` and
`$SCALEMODEL_HOME/systems`, and go first.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hwmodels.device_file import read_file, spec_from
from hwmodels.devices import Listed, device_names, one_line
from hwmodels.home import home
from hwmodels.spec import Spec
from hwmodels.system_schema import LINK, PART_SCHEMAS, SYSTEM
from simulator.errors import FileError, UnknownNameError, alike
from simulator.files import read_toml

_CATALOG = Path(__file__).parent / "catalog"
_FOLDERS: Mapping[str, str] = {LINK.kind: "links", SYSTEM.kind: "systems"}
_ALIASES = _CATALOG / "system_aliases.toml"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class System:
    """Hold what is known of a machine of many devices.

    Parameters
    ----------
    spec : its fields with their sources
    topology : the shape and parameters of a network of its own; empty: that of the fields
    """

    spec: Spec
    topology: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the name in the catalog, or that of the file."""
        return self.spec.name

    def with_fields(self, changes: Mapping[str, object]) -> System:
        """Return the system with other values of some fields; errors as of `Spec.with_fields`."""
        return replace(self, spec=self.spec.with_fields(changes)) if changes else self

    def text(self, key: str) -> str | None:
        """Return a text, None where the file does not say it."""
        value = self.spec.values.get(key)
        return None if value is None else str(value)

    def count(self, key: str, default: int) -> int:
        """Return a whole number, or what holds where the file does not say it."""
        value = self.spec.number(key)
        return default if value is None else int(value)


def find_link(name: str | Path) -> Spec:
    """Return what is known of a link.

    Parameters
    ----------
    name : in the catalog or of the user, or the path of a file

    Raises
    ------
    UnknownNameError : no link has this name
    FileError : a file that cannot be used

    >>> find_link("infiniband-hdr").values["bandwidth_bytes_per_s"]
    25000000000.0
    """
    return _read(LINK.kind, path_of(LINK.kind, name)).spec


def find_system(name: str | Path) -> System:
    """Return what is known of a system; arguments and errors as of `find_link`.

    >>> find_system("dgx-a100-80gb").text("device")
    'nvidia-a100-sxm-80gb'
    """
    return _read(SYSTEM.kind, path_of(SYSTEM.kind, name))


def is_system(name: str | Path) -> bool:
    """Say whether a name is that of a system or of a file of one, and not of a device.

    >>> is_system("dgx-a100-80gb"), is_system("nvidia-t4")
    (True, False)
    """
    try:
        path = path_of(SYSTEM.kind, name)
    except UnknownNameError:
        return False
    if path.parent in _folders(SYSTEM.kind):
        return True
    try:
        return read_file(path).get("kind") == SYSTEM.kind
    except (FileError, ValueError):  # a name that no file can have
        return False


def system_names() -> tuple[str, ...]:
    """Return the names of all systems, sorted; reads directories only."""
    return tuple(sorted(_paths(SYSTEM.kind)))


def link_names() -> tuple[str, ...]:
    """Return the names of all links, sorted; reads directories only."""
    return tuple(sorted(_paths(LINK.kind)))


def list_parts(kind: str) -> Iterator[Listed]:
    """Yield all links or all systems with a line each, sorted by name; reads every file.

    Parameters
    ----------
    kind : "link" or "system"
    """
    for name, path in sorted(_paths(kind).items()):
        origin = "catalog" if path.is_relative_to(_CATALOG) else "user"
        try:
            spec = _read(kind, path).spec
        except FileError as error:
            yield Listed(name, "unreadable", str(error), origin)
        else:
            yield Listed(name, kind, one_line(spec), origin)


def path_of(kind: str, name: str | Path) -> Path:
    """Return the file of a link or system of this name.

    Parameters
    ----------
    kind : "link" or "system"
    name : case, blanks and signs do not matter

    Raises
    ------
    UnknownNameError : there is none
    """
    text = str(name)
    if isinstance(name, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        return Path(name).expanduser()
    paths = _paths(kind)
    names = {**{one: one for one in paths}, **(_aliases() if kind == SYSTEM.kind else {})}
    if text in names:
        return paths[names[text]]
    meant = {names[one] for one in names if _letters(one) == _letters(text) != ""}
    if len(meant) == 1:
        return paths[meant.pop()]
    raise UnknownNameError(kind, text, meant or paths)


def unknown_machine(name: str) -> UnknownNameError:
    """Return the error of a name that neither a device nor a system has."""
    known = [*device_names(), *system_names(), *_aliases()]
    return UnknownNameError("device or system", name, alike(name, known) or known)


def _read(kind: str, path: Path) -> System:
    raw = read_file(path)
    own = raw.pop("topology", {}) if kind == SYSTEM.kind else {}
    if not isinstance(own, dict):
        raise FileError(path, f"expected a table, got {own!r}", "topology")
    if own and "shape" not in own:
        raise FileError(path, "missing; `scalemodel list shapes` shows them", "topology.shape")
    for table in ("node", "network"):
        if own and table in raw:
            raise FileError(path, f"[topology] says all of the network; leave [{table}] out", table)

    def find(name: str) -> Spec:
        like = path_of(kind, name)
        if like == path:  # a user's file may be like its catalog namesake
            like = _CATALOG / _FOLDERS[kind] / path.name
        if like == path:
            raise FileError(path, "is like itself", "like")
        return _read(kind, like).spec

    spec = spec_from(raw, path, find, {kind: PART_SCHEMAS[kind]})
    return System(spec=spec, topology=own)


def _folders(kind: str) -> tuple[Path, Path]:
    folder = _FOLDERS[kind]
    return home() / folder, _CATALOG / folder


def _paths(kind: str) -> dict[str, Path]:
    """Return the files by name; the user's hide those of the catalog."""
    mine, packaged = ({path.stem: path for path in folder.glob("*.toml")}
                      for folder in _folders(kind))  # fmt: skip
    return packaged | mine


@functools.cache
def _aliases() -> dict[str, str]:
    return {str(name): str(meant) for name, meant in read_toml(_ALIASES).items()}


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()
