"""Suites: cases, calibration and prediction of one kind of measured fact each, a folder a suite."""
