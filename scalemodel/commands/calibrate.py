"""`scalemodel calibrate`: fit the numbers of a machine to measurements, with spreads and date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option, Typer

from scalemodel.console import say
from scalemodel.options import OutputOption, command
from scalemodel.output import Output, emit
from simulator.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from validation.calibrate_gpu import GpuReport

EXAMPLES = """
  scalemodel calibrate                       (about three minutes; best while nothing else runs)
  scalemodel calibrate --quick
  scalemodel calibrate --from timings.csv --like aws-graviton3     (timed elsewhere)
  scalemodel calibrate --from gemms.csv --like nvidia-a100-sxm-80gb --name my-a100
  scalemodel calibrate --from all_reduce.log          (what nccl-tests print of one node)
"""


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "calibrate", calibrate, EXAMPLES)


def calibrate(
    quick: Annotated[
        bool, Option("--quick", help="under 40 s, with wider spreads and intervals")
    ] = False,
    timings: Annotated[
        Path | None,
        Option(
            "--from",
            metavar="TIMINGS.csv",
            help="timings taken elsewhere: op, dtype, its sizes, time_s; or a table of GPU kernels "
            "that a suite converts; or a log of nccl-tests",
        ),
    ] = None,
    like: Annotated[
        str | None, Option(metavar="DEVICE", help="the device that the timings were taken on")
    ] = None,
    name: Annotated[
        str | None,
        Option(help="of the device that is made [default: the one of --like, which it hides]"),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Fit the numbers of this machine, or of one timed elsewhere, to measurements.

    Afterwards --on this-machine (or the device of --like) uses them. The file has each number's
    spread, and the date. Of a GPU the report says how wrong predictions were before and are now,
    and which numbers the timings do not tell. A GPU of this machine is timed too.
    """
    if timings is not None:
        _from_table(timings, like, name, output)
    elif like is not None:
        _emit_gpu(_gpu_here(quick, like, name), output)
    else:
        _this_machine(quick, name, output)


def _from_table(timings: Path, like: str | None, name: str | None, output: Output) -> None:
    from validation.gpu_table import device_of
    from validation.nccl_log import is_nccl_log

    if is_nccl_log(timings):
        _from_nccl_log(timings, like, name, output)
        return
    gpu = device_of(timings, like)
    if gpu is None:
        _emit_path(run_calibration(False, timings, like, name), output)
        return
    from validation.calibrate_gpu import calibrate_gpu

    report = calibrate_gpu(timings, gpu, name, say)
    say(f"the calibrated device is in {report.path}")
    _emit_gpu(report, output)


def _from_nccl_log(log: Path, like: str | None, name: str | None, output: Output) -> None:
    """Fit the collectives of a GPU to a log of nccl-tests."""
    from scalemodel.calibration_report import nccl_documents, nccl_table
    from validation.calibrate_nccl import calibrate_nccl

    if name is not None:
        raise InputError("--name makes a device; a log of nccl-tests moves the collectives of the "
                         "one that it names, or --like does")  # fmt: skip
    report = calibrate_nccl(log, like, say)
    emit(output, nccl_table(report), nccl_documents(report))


def _this_machine(quick: bool, name: str | None, output: Output) -> None:
    """Calibrate the CPU, and the GPU where there is one."""
    path = run_calibration(quick, None, None, name)
    if _cuda_name() is None:
        _emit_path(path, output)
        return
    try:
        report = _gpu_here(quick, None, None)
    except UnknownNameError as error:
        say(f"the GPU is not calibrated: {error}")
        _emit_path(path, output)
        return
    if output is Output.JSON:
        from scalemodel.calibration_report import document_of
        from scalemodel.commands.show import device_shown
        from scalemodel.output import Table

        emit(output, Table([], []), [device_shown(str(path), {})[1], document_of(report)])
        return
    _emit_path(path, output)
    _emit_gpu(report, output)


def _emit_path(path: Path, output: Output) -> None:
    from scalemodel.commands.show import show

    if output is Output.TABLE:
        sys.stdout.write(f"{path}\n")
    else:
        show(str(path), [], output)


def _emit_gpu(report: GpuReport, output: Output) -> None:
    from scalemodel.calibration_report import emit_report

    emit_report(report, output)


def _cuda_name() -> str | None:
    """Return what the driver calls the GPU of this machine; None without one or without torch."""
    try:
        from validation.torch_cuda import cuda_name
    except ImportError:
        return None
    return cuda_name()


def _gpu_here(quick: bool, like: str | None, name: str | None) -> GpuReport:
    """Calibrate the GPU of this machine.

    Raises
    ------
    InputError : there is none, or nobody knows it
    """
    if _cuda_name() is None:
        raise InputError(f"--like {like} says on what the timings of --from were taken, or what "
                         "the GPU of this machine is like; torch finds no GPU here")  # fmt: skip
    from validation.torch_cuda import calibrate_cuda

    report = calibrate_cuda(like, name, quick, say)
    say(f"the calibrated GPU is in {report.path}")
    return report


def run_calibration(
    quick: bool = False,
    timings: Path | None = None,
    like: str | None = None,
    name: str | None = None,
) -> Path:
    """Calibrate a CPU and return where the device file is.

    Raises
    ------
    InputError : torch is missing, or the timings make no sense
    """
    from scalemodel.asking import torch_needed

    try:
        with torch_needed("calibrating"):
            from validation.calibrate import calibrate as calibrated

            path: Path = calibrated(quick=quick, timings=timings, like=like, say=say, name=name)
    except KeyboardInterrupt:
        if timings is None:
            say("what was timed is kept; the same command goes on from there")
        raise
    say(f"the calibrated device is in {path}")
    return path


def calibrated_already() -> Path | None:
    """Return the file of this machine's calibration; None where there is none."""
    from hwmodels.devices import devices_folder
    from hwmodels.this_machine import NAME

    path = devices_folder() / f"{NAME}.toml"
    return path if path.is_file() else None
