"""Whole workloads in torch on this machine: none of them is part of the calibration."""
