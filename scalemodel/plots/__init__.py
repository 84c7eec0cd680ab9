"""Draw what was measured, fitted and predicted; each function returns a matplotlib figure.

from scalemodel.plots.scaling import plot_speedup
from scalemodel.plots.style import save_figure

save_figure(plot_speedup(points, [fit_amdahl(*points)]), "speedup.png")
"""
