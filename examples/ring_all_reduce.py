"""A ring all-reduce of one's own: `scalemodel check-plan ring_all_reduce.py` judges it."""


def ring_all_reduce(rank, buffer):
    """Add up in p - 1 steps and hand the sums round in p - 1 more; each sends a p-th."""
    p, right, left = rank.size, (rank.id + 1) % rank.size, (rank.id - 1) % rank.size
    for step in range(2 * (p - 1)):
        yield rank.send(buffer.part((rank.id - step) % p, p), to=right)
        op = "sum" if step < p - 1 else None
        yield rank.recv(buffer.part((rank.id - step - 1) % p, p), source=left, op=op)
