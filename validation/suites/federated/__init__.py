"""How long phones train on a batch: the work of a client of federated learning."""
