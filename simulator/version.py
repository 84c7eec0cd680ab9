"""Say which version this is: the one place that states it.

It stands in the lowest package because results, calibrations and case files of every layer carry
it, and because the build reads it without importing anything.
"""

VERSION = "0.1.0"
