"""Say what a whole job takes: hours, energy and money."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """Say how long a job is and what its time and energy cost.

    Parameters
    ----------
    steps : number of steps of the whole job
    price_per_hour : money for one hour of the whole machine; None where unknown
    price_per_kwh : money for one kWh; None where unknown

    >>> Tariff(steps=7200).bill(step_time_s=0.5, step_energy_j=1e3).hours
    1.0
    """

    steps: float
    price_per_hour: float | None = None
    price_per_kwh: float | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "price_per_hour", "price_per_kwh"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise InputError(f"job.{name} must be finite and not negative; got {value}")

    def bill(self, step_time_s: float, step_energy_j: float | None) -> Bill:
        """Return what the job takes.

        Parameters
        ----------
        step_time_s : time of one step, seconds
        step_energy_j : energy of one step, joules; None where unknown
        """
        hours = self.steps * step_time_s / 3600
        kwh = None if step_energy_j is None else self.steps * step_energy_j / 3.6e6
        return Bill(hours=hours, kwh=kwh, money=self._money(hours, kwh))

    def _money(self, hours: float, kwh: float | None) -> float | None:
        if self.price_per_hour is None and self.price_per_kwh is None:
            return None
        if self.price_per_kwh is not None and kwh is None:
            return None
        return hours * (self.price_per_hour or 0.0) + (kwh or 0.0) * (self.price_per_kwh or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Hold what a job takes; None where something needed for it is unknown.

    Parameters
    ----------
    hours : wall-clock time, hours
    kwh : energy, kWh
    money : in the currency of the tariff
    """

    hours: float
    kwh: float | None
    money: float | None
