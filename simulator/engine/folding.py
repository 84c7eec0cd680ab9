"""Simulate equal copies of a plan's ranks once.

A plan's `copies` is a table [role, copy] of ranks. Copies whose devices, threads and links are
alike form a *class*; the first copy of each class is simulated and stands for all of it. A
straggler (another device) makes its copy a class of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from simulator.actions import Group
from simulator.errors import InputError, ProgramError
from simulator.ops import IntArray
from simulator.protocols import Device, Machine, Placement


@runtime_checkable
class LinkClasses(Protocol):
    """Be a network in which not all places are alike; others are taken as even."""

    def link_classes(self, devices: IntArray) -> IntArray:
        """Return a number for each copy (copies,), given its devices [role, copy].

        Copies with the same number see the same network: between the devices of any two of their
        roles a message takes the same time.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Folding:
    """Say which ranks are simulated.

    Parameters
    ----------
    columns : for each class, the ranks of the copy that is simulated
    copies : for each class, how many copies are in it
    table : all ranks as [role, copy]; None where every rank is simulated
    size : the number of ranks
    told : in words: how many ranks are simulated and why
    """

    columns: Sequence[Sequence[int]]
    copies: Sequence[int]
    table: IntArray | None
    size: int
    told: str

    def members(self) -> Callable[[Group], tuple[int, int]]:
        """Return what tells, of a group, how many members are simulated and how many are equal."""
        if self.table is None:
            return lambda group: (group.size, 1)
        return _Rows(self.table, self.columns, self.copies)


class _Rows:
    """Tell how a group lies in the table of copies."""

    def __init__(
        self, table: IntArray, columns: Sequence[Sequence[int]], copies: Sequence[int]
    ) -> None:
        roles, self.width = table.shape
        self.role, self.copy = np.empty(table.size, np.int64), np.empty(table.size, np.int64)
        self.role[table] = np.arange(roles)[:, None]
        self.copy[table] = np.arange(self.width)
        firsts = [int(self.copy[column[0]]) for column in columns]
        self.times = dict(zip(firsts, copies, strict=True))

    def __call__(self, group: Group) -> tuple[int, int]:
        ranks = np.asarray(group.ranks)
        copies = self.copy[ranks]
        if (copies == copies[0]).all():
            return group.size, self.times[int(copies[0])]
        roles = np.unique(self.role[ranks]).size
        if group.size != roles * self.width:
            raise ProgramError(f"{group} lies neither in one copy nor is it made of whole rows of "
                               "the plan's `copies`")  # fmt: skip
        return roles * len(self.times), 1


def choose_ranks(table: IntArray | None, machine: Machine, placement: Placement) -> Folding:
    """Return which ranks to simulate, given the plan's table of copies.

    Raises
    ------
    InputError : if the table does not hold each rank once
    """
    size = placement.size
    if table is None:
        return unfolded(size, "the plan names no equal copies")
    table = _checked(table, size)
    devices = np.asarray(placement.devices)[table]
    sharing = _sharing(devices)
    if sharing is None:
        return unfolded(size, "copies share a device")
    signature = [_kinds(machine.devices, devices), np.asarray(placement.threads)[table], sharing]
    network: object = machine.network
    if isinstance(network, LinkClasses):
        signature.append(network.link_classes(devices)[None, :])
    _, first, count = np.unique(
        np.concatenate(signature), axis=1, return_index=True, return_counts=True
    )
    if len(first) == table.shape[1]:
        return unfolded(size, "no two copies are alike")
    order = np.argsort(first)
    columns = table[:, first[order]].T.tolist()
    simulated = len(first) * table.shape[0]
    return Folding(
        columns, count[order].tolist(), table, size, f"{simulated:,} of {size:,} ranks simulated"
    )


def unfolded(size: int, why: str) -> Folding:
    """Return that every rank is simulated, and why."""
    return Folding([range(size)], [1], None, size, f"all {size:,} ranks simulated: {why}")


def _checked(table: IntArray, size: int) -> IntArray:
    table = np.asarray(table)
    if table.ndim != 2 or not np.array_equal(np.sort(table, axis=None), np.arange(size)):
        raise InputError(f"a plan's copies must be a table [role, copy] with each of the {size} "
                         f"ranks once; got shape {table.shape}")  # fmt: skip
    return table


def _kinds(machine_devices: Sequence[Device], devices: IntArray) -> IntArray:
    """Return a number for each kind of device, in the shape of `devices`."""
    used, place = np.unique(devices, return_inverse=True)
    by_identity: dict[int, int] = {}
    kinds: list[Device] = []
    codes = np.empty(len(used), np.int64)
    for position, index in enumerate(used.tolist()):
        device = machine_devices[index]
        code = by_identity.get(id(device))
        if code is None:
            if device not in kinds:
                kinds.append(device)
            code = by_identity[id(device)] = kinds.index(device)
        codes[position] = code
    return codes[place].reshape(devices.shape)


def _sharing(devices: IntArray) -> IntArray | None:
    """Return which role of its copy each role shares a device with, first of all itself.

    None where ranks of different copies share a device.
    """
    roles, width = devices.shape
    by_copy = devices.T.astype(np.int64)
    if len(np.unique(by_copy)) == by_copy.size:
        return np.broadcast_to(np.arange(roles)[:, None], devices.shape)
    keys = by_copy + np.arange(width)[:, None] * (int(devices.max()) + 1)
    distinct, first, place = np.unique(keys, return_index=True, return_inverse=True)
    if len(distinct) != len(np.unique(by_copy)):
        return None
    local: IntArray = (first[place].reshape(by_copy.shape) % roles).T
    return local
