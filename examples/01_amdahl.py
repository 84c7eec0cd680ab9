"""How much faster does a program get with more cores, and where does that end?

Amdahl's law: what stays serial bounds the speedup, however many cores there are. Here k-means runs
on 1, 2, 3 ... threads of this computer. Two laws are fitted to the four lowest counts and asked
about the others; where a law is wrong, there is a cost that it does not know.

    python 01_amdahl.py                     measure this computer, in about ten seconds
    python 01_amdahl.py --replay            times of a server with 48 cores, measured by others
    python 01_amdahl.py --replay TIMES.csv  your own times: columns p and time_s
    python 01_amdahl.py --plot FILE.png     draw the speedup as well
"""

# %%
import argparse
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat, zip_longest
from pathlib import Path
from time import perf_counter

# The threads are to be ours: numpy's own library gets one. It reads this when it is imported.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import numpy as np

import scalemodel as sm
from scalemodel.plots.scaling import plot_speedup
from scalemodel.plots.style import save_figure

# %% [script]
trace = Path(__file__).parent / "data" / "lightgbm_1m_rows.csv"
flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
flags.add_argument("--replay", nargs="?", const=trace, metavar="TIMES.csv")
flags.add_argument("--plot", metavar="FILE.png")
replay, plot = vars(flags.parse_args()).values()

# %% [notebook]
# replay = None  # measure this computer; "data/lightgbm_1m_rows.csv" is a server with 48 cores

# %% [markdown]
# ## A program with a serial part
#
# A step of k-means assigns each point to its nearest centre, then moves each centre to the mean of
# its points. The first is dealt to all threads. The second is left to one, as in many programs.

# %%
POINTS = np.random.default_rng(0).standard_normal((200_000, 16), dtype=np.float32)
BLOCKS = np.array_split(POINTS, 100)  # small enough for a cache, many enough to deal evenly
CLUSTERS = 256


def assign(points, centres):
    """Return the nearest centre of each point."""
    return np.argmax(points @ centres.T - (centres**2).sum(axis=1) / 2, axis=1)


def update(labels):
    """Return the mean of each centre's points."""
    sums = [np.bincount(labels, column, CLUSTERS) for column in POINTS.T]
    counts = np.bincount(labels, minlength=CLUSTERS)
    return (np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]).astype(np.float32)


def kmeans_s(threads, steps=3):
    """Return the time of some steps, and of the serial part in it, seconds."""
    centres, serial_s, start = POINTS[:CLUSTERS], 0.0, perf_counter()
    for _ in range(steps):
        parts = list(threads.map(assign, BLOCKS, repeat(centres)))
        joined = perf_counter()
        centres = update(np.concatenate(parts))
        serial_s += perf_counter() - joined
    return perf_counter() - start, serial_s


def measure():
    """Return the times of five runs on each number of threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    counts = [1, 2, *(p for p in (3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128) if p <= cores)]
    pools = {p: ThreadPoolExecutor(p) for p in counts}
    for pool in pools.values():
        kmeans_s(pool)  # the first run is slower: memory is new to its threads
    # In turns, so that whatever else the computer does hits all counts alike.
    runs = np.array([(p, *kmeans_s(pools[p])) for _ in range(5) for p in counts])
    share = np.median([serial_s / time_s for p, time_s, serial_s in runs if p == 1])
    print(f"k-means on {cores} cores; timed directly, {share:.1%} of the work is serial")
    return sm.Points(*runs[:, :2].T)


points = sm.read_points(replay) if replay else measure()

# %% [markdown]
# ## Fit two laws to few cores, then ask them about more
#
# Amdahl's law knows a serial fraction. The Universal Scalability Law (USL) knows contention, which
# acts the same, and coherency: what each further core costs all the others. A law is wrong where
# the measured time lies outside its 90 % interval (marked *). Karp and Flatt turn the question
# round: which serial fraction would explain this speedup? It rises where a cost rises with p.

# %%
counts = np.unique(points.p)
if len(counts) < 4:
    print("Fewer than four counts of cores: such a fit is weak. --replay shows 48 cores.")
warnings.simplefilter("ignore", UserWarning)  # a fit prints what it warns of
few = points.p <= counts[:4].max()
amdahl, usl = (fit(points.p[few], points.time_s[few]) for fit in (sm.fit_amdahl, sm.fit_usl))
print(amdahl, usl, sep="\n")


def says(law, p, time_s):
    """Return what a law says of p cores; time_s is what was measured, None if nothing was."""
    value, low, high = law.predict(p)
    if low is None:
        return f"{value:.3g}"
    wrong = time_s is not None and not low <= time_s <= high
    return f"{value:.3g} ({low:.3g} to {high:.3g}){' *' * wrong}"


medians_s = [np.median(points.time_s[points.p == p]) for p in counts]
one_s = medians_s[0] if counts[0] == 1 else amdahl.time_s(1)
print(f"\ncores  measured s  Karp-Flatt  {'Amdahl says':<26}the USL says")
for p, time_s in zip_longest([*counts, 2 * counts[-1], 4 * counts[-1]], medians_s):
    share = f"{sm.karp_flatt_serial_fraction(p, one_s / time_s):.3f}" if time_s and p > 1 else ""
    measured = f"{time_s:.3g}" if time_s else "?"
    print(f"{p:5.0f}{measured:>12}{share:>12}  {says(amdahl, p, time_s):<26}{says(usl, p, time_s)}")

_, sigma, kappa = usl.parameters.values()
limit, best_p = sm.amdahl_limit(amdahl.parameters["serial_fraction"]), sm.usl_peak_p(sigma, kappa)
print(f"\nAmdahl: at most {limit:.1f} times as fast, on any number of cores\nUSL: fastest on "
      f"{best_p:.0f} cores; each further core adds {1000 * kappa * usl.time_s(1):.3g} ms to the run"
)  # fmt: skip

# %% [markdown]
# ## Why?
#
# The server trains 100 trees of up to 511 splits, and at each split all cores wait for the last.
# What Amdahl's law misses at 24 cores, 1 s, is 20 microseconds a split: a *barrier* that grows with
# the cores. At 48 a second socket joins: barrier and memory traffic cross the link between the
# sockets. No fit to eight cores can know that.
#
# On a computer of your own: does Karp-Flatt rise steadily (a barrier), or as soon as the cores
# together read faster than the memory gives (bandwidth), or at half the threads (two on a core)?

# %% [script]
if plot:
    save_figure(plot_speedup(points, [amdahl, usl], unit="cores"), plot)

# %% [notebook]
# %matplotlib inline
# plot_speedup(points, [amdahl, usl], unit="cores")
