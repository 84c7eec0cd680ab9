"""Data-parallel training by the number of devices and their nodes: fit few, predict more."""
