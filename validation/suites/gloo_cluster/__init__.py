"""Collectives of gloo between processes of this machine, over links of a chosen rate."""
