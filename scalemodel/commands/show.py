"""`scalemodel show`: all that is known of one thing, with sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, Typer

from scalemodel.options import OutputOption, command
from scalemodel.output import Output, Table, emit
from scalemodel.report import source_record, unit_of
from simulator.errors import InputError
from simulator.scenario import named_once, parse_setting
from simulator.source import Source

if TYPE_CHECKING:
    from hwmodels.spec import Spec

EXAMPLES = """
  scalemodel show raspberry-pi-4
  scalemodel show dgx-h100-80gb
  scalemodel show resnet50 --set workload.batch=32
  scalemodel show my-machine.toml -o json
"""


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "show", show, EXAMPLES)


def show(
    name: Annotated[
        str,
        Argument(
            help="a device, system or link, a file of one (.toml), a shape, workload, plan, "
            "suite or law; suite:NAME where a plan has the same name"
        ),
    ],
    settings: Annotated[
        list[str],
        Option("--set", metavar="NAME=VALUE", help="a parameter of the workload or device"),
    ] = [],  # noqa: B006
    output: OutputOption = Output.TABLE,
) -> None:
    """Show all that is known of a device, workload, plan or suite.

    Of a device that is every number with its source; of a workload, how much it computes, moves
    and keeps, and how that grows with its sizes.
    """
    from scalemodel.names import kind_and_name

    kind, name = kind_and_name(name)
    values = named_once(map(parse_setting, settings), "--set")
    if values and kind not in ("device", "system", "workload"):
        raise InputError(f"--set {next(iter(values))}: a {kind} has no parameters to set here")
    table, document = _SHOWN[kind](name, values)
    emit(output, table, document)


def device_shown(name: str, values: Mapping[str, Any]) -> tuple[Table, Any]:
    """Return all that is known of a device, with other values of some fields."""
    from scalemodel.names import spec_of

    spec = spec_of(name)
    own = _own(values)
    spec = spec.with_fields(own) if own else spec
    table, document = _fields_shown(spec, "device")
    return (
        replace(table, notes=[*table.notes, _calibration_line(spec)]),
        document | {"architecture": spec.architecture, "type": spec.kind,
                    "calibration": _calibration(spec.calibration)},
    )  # fmt: skip


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix("on."): value for key, value in values.items()}


def _system(name: str, values: Mapping[str, Any]) -> tuple[Table, Any]:
    from hwmodels.system_files import find_link, find_system

    system = find_system(name).with_fields(_own(values))
    table, document = _fields_shown(system.spec, "system")
    rows = [[f"topology.{key}", value, "", "network of its own"]
            for key, value in system.topology.items()]  # fmt: skip
    named = (system.text(key) for key in ("node.link", "node.host_link", "network.link"))
    links = [find_link(link) for link in dict.fromkeys(named) if link is not None]
    rows += [[f"link {link.name}", link.schema.headline(link.values), "", link.title]
             for link in links]  # fmt: skip
    more = {"topology": dict(system.topology), "links": {one.name: one.values for one in links}}
    return replace(table, rows=[*table.rows, *rows]), document | more


def _link(name: str, values: Mapping[str, Any]) -> tuple[Table, Any]:
    from hwmodels.system_files import find_link

    return _fields_shown(find_link(name), "link")


def _fields_shown(spec: Spec, kind: str) -> tuple[Table, dict[str, Any]]:
    """Return all fields of a spec with their sources."""
    keys = [key for key in spec.schema.fields if key in spec.values]
    numbered = list(dict.fromkeys(spec.sources[key] for key in keys))
    rows, records = [], []
    for key in keys:
        field, value, source = spec.schema.fields[key], spec.values[key], spec.sources[key]
        rows.append([key, field.show(value), f"[{numbered.index(source) + 1}]", field.doc])
        records.append({"key": key, "value": value, "unit": unit_of(key),
                        "source": source_record(source), "doc": field.doc})  # fmt: skip
    document = {"name": spec.name, "kind": kind, "title": spec.title, "fields": records}
    notes = [f"[{i}] {_source_line(source)}" for i, source in enumerate(numbered, start=1)]
    title = f"{spec.name}: {spec.title}"
    return Table(["key", "value", "source", "meaning"], rows, title, notes), document


def _source_line(source: Source) -> str:
    parts = (source.text, source.licence, source.kind, source.note)
    return "; ".join(part for part in parts if part)


def _calibration(calibration: Any) -> Any:
    if calibration is None:
        return None
    numbers = {
        name: {"value": number.value, "spread": number.spread}
        for name, number in calibration.numbers.items()
    }
    named = {key: getattr(calibration, key) for key in ("data", "date", "machine", "software")}
    families = [
        {"family": family, "dtype": dtype, "data": fit.data, "device": fit.device,
         "error_ratio": fit.error_ratio, "correction": len(fit.correction),
         "numbers": {name: {"value": value, "spread": fit.spreads.get(name, 0.0)}
                     for name, value in fit.numbers.items()}}
        for (family, dtype), fit in calibration.families.items()
    ]  # fmt: skip
    return named | {"error_ratio": calibration.error_ratio, "numbers": numbers,
                    "families": families}  # fmt: skip


def _calibration_line(spec: Spec) -> str:
    if spec.calibration is None:
        return f"calibration: {_packaged(spec)}"
    ratio = spec.calibration.error_ratio
    error = "" if ratio is None else f"; measured/predicted {ratio[0]:.2f} to {ratio[1]:.2f}"
    return f"calibration: {spec.calibration.size} numbers, {spec.calibration.source.text}{error}"


def _packaged(spec: Spec) -> str:
    """Return what a device without a calibration is predicted by."""
    from hwmodels.devices import find_spec
    from hwmodels.gpu.fits import measured_families
    from hwmodels.relatives import completed

    if spec.kind == "gpu":
        own = measured_families(spec.name)
        packaged = ", ".join(f"{family} ({dtype})" for family, dtype in own)
        others = "kernels' numbers come from its nearest relatives, with wider intervals"
        return f"packaged, of {packaged}; other {others}" if own else f"none of its own; {others}"
    relative = completed(spec, find_spec).calibration
    if relative is None:
        return "none; times are those of the datasheet, which promises too much"
    text = f"{relative.size} numbers come from its nearest relative, with wider intervals"
    return f"none of its own; {text}: {relative.source.text}"


def _workload(name: str, values: Mapping[str, Any]) -> tuple[Table, Any]:
    from workloads.card import COLUMNS, complexity_card
    from workloads.patterns import PATTERNS

    own = {key.removeprefix("workload."): value for key, value in values.items()}
    if name in PATTERNS:
        return _pattern(name, own)
    card = complexity_card(name, **own)
    title, *lines = card.lines()
    table = Table(COLUMNS, card.rows(), title, notes=["", *lines])
    return table, {"name": name, "kind": "workload", **card.document()}


def _pattern(name: str, own: Mapping[str, Any]) -> tuple[Table, Any]:
    from workloads.patterns import PATTERNS

    model = PATTERNS[name]
    step = model(**own)
    document = {"name": name, "kind": "workload", "about": model.description,
                "parameters": dict(step.parameters)}  # fmt: skip
    rows = [[f"workload.{key}", value] for key, value in step.parameters.items()]
    title = f"{name}: {model.description}; nothing is computed"
    return Table(["parameter", "value"], rows, title=title), document


def _plan(name: str, values: Mapping[str, Any]) -> tuple[Table, Any]:
    import inspect

    from workloads.plans import DISTURBED, PLANS, parameters_of

    about = (inspect.getdoc(PLANS[name]) or "").partition("\n\n>>>")[0]
    disturbed = [inspect.getdoc(kind) or "" for kind in DISTURBED]
    defaults = {f"plan.{key}": default for key, default in parameters_of(name).items()}
    document = {"name": name, "kind": "plan", "about": about, "parameters": defaults}
    rows = [[key, value] for key, value in defaults.items()]
    notes = [line for text in disturbed for line in ("", text)]
    return Table(["parameter", "default"], rows, f"{name}: {about}", notes=notes), document


def _shape(name: str, values: Mapping[str, Any]) -> tuple[Table, Any]:
    import inspect

    from hwmodels.network.named_shapes import find_shape, parameters_of

    about = (inspect.getdoc(find_shape(name)) or "").partition("\n\nRaises")[0]
    about = about.partition("\n>>>")[0].rstrip()
    defaults = parameters_of(name)
    document = {"name": name, "kind": "shape", "about": about, "parameters": defaults}
    rows = [[key, value] for key, value in defaults.items()]
    return Table(["parameter", "default"], rows, title=name, notes=["", about]), document


def _suite(name: str, values: Mapping[str, Any]) -> tuple[Table, Any]:
    from validation.suite import find_suite

    suite = find_suite(name)
    fitted = suite.calibration().get("case_ids", [])
    facts = {"name": name, "kind": "suite", "about": suite.summary, "live": suite.live,
             "cases": len(suite.cases()), "calibrated_on": len(fitted),
             "baselines": list(suite.baselines)}  # fmt: skip
    return Table(["fact", "value"], [[key, value] for key, value in facts.items()]), facts


def _law(name: str, values: Mapping[str, Any]) -> tuple[Table, Any]:
    from simulator.fit_laws import LAWS

    law = LAWS[name]
    facts = {"name": law.name, "kind": "law", "about": law.formula}
    return Table(["fact", "value"], [[key, value] for key, value in facts.items()]), facts


_SHOWN: Mapping[str, Callable[[str, Mapping[str, Any]], tuple[Table, Any]]] = {
    "device": device_shown,
    "system": _system,
    "link": _link,
    "shape": _shape,
    "workload": _workload,
    "plan": _plan,
    "suite": _suite,
    "law": _law,
}
