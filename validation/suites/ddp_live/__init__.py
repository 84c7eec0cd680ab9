"""Training steps of plans between processes of this machine, over links of a chosen rate."""
