"""Pictures show what was measured, fitted and predicted, with units, and nothing made up."""

from __future__ import annotations

import builtins
import warnings
from typing import Any

import numpy as np
import pytest

from scalemodel.plots.accuracy import Pair, error_text, plot_accuracy
from scalemodel.plots.roofline import Roof, plot_roofline
from scalemodel.plots.scaling import plot_efficiency, plot_karp_flatt, plot_speedup
from scalemodel.plots.style import COLOURS, save_figure
from scalemodel.plots.timeline import MOST_RANKS, plot_timeline
from simulator.errors import FileError, InputError
from simulator.fit_laws import Points, fit_amdahl, fit_usl
from simulator.ops import Graph, Op
from simulator.timeline import Span, Timeline

P = np.array([1.0, 1.0, 2.0, 4.0, 8.0])
POINTS = Points(P, 10 * (0.1 + 0.9 / P) * np.array([1.0, 1.04, 1.0, 1.0, 1.0]))


def legend_of(figure):
    legend = figure.axes[0].get_legend() or figure.legends[0]
    return [text.get_text() for text in legend.get_texts()]


def dots_of(figure):
    """Return what was drawn as measured points: x, y."""
    axes = figure.axes[0]
    [line] = [line for line in axes.get_lines() if line.get_marker() == "o"]
    return line.get_xdata(), line.get_ydata()


def curve(figure, label):
    [line] = [line for line in figure.axes[0].get_lines() if label in str(line.get_label())]
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


# --- scaling -----------------------------------------------------------------------------------


def test_speedup_is_relative_to_the_median_on_one_processor():
    x, y = dots_of(plot_speedup(POINTS))
    time_1 = np.median(POINTS.time_s[:2])
    assert list(x) == [1, 2, 4, 8]
    assert y[1:] == pytest.approx(time_1 / POINTS.time_s[2:])


def test_without_a_run_on_one_processor_the_fit_gives_it():
    points = Points(P[2:], POINTS.time_s[2:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = fit_amdahl(*points)
    figure = plot_speedup(points, [fit])
    assert dots_of(figure)[1] == pytest.approx(10 / points.time_s)
    assert "taken from p = 2" in figure.axes[0].get_ylabel()


def test_fitted_laws_are_drawn_with_their_parameters_and_intervals():
    figure = plot_speedup(POINTS, [fit_amdahl(*POINTS), fit_usl(*POINTS)])
    labels = legend_of(figure)
    assert any(label.startswith("Amdahl: serial fraction 0.") for label in labels)
    assert any(label.startswith("USL: contention 0.") for label in labels)
    assert sum("90% of new runs" in label for label in labels) == 2
    assert {"ideal", "measured"} <= {*labels}
    x, y = curve(figure, "Amdahl")
    fit = fit_amdahl(*POINTS)
    assert y == pytest.approx(np.median(POINTS.time_s[:2]) / fit.time_s(x))


@pytest.mark.parametrize("title", ["costs $5 or $x_{ more", r"$\frac{", "Größe"])
def test_a_title_is_text_and_no_formula(tmp_path, title):
    out = save_figure(plot_speedup(POINTS, title=title), tmp_path / "speedup.png")
    assert out.is_file()


def test_efficiency_is_speedup_over_p():
    x, speedup = dots_of(plot_speedup(POINTS))
    assert dots_of(plot_efficiency(POINTS))[1] == pytest.approx(speedup / x)


def test_karp_flatt_is_constant_where_amdahls_law_holds():
    points = Points(P[1:], 10 * (0.1 + 0.9 / P[1:]))
    x, y = dots_of(plot_karp_flatt(points))
    assert list(x) == [2, 4, 8]
    assert y == pytest.approx(0.1)


def test_karp_flatt_needs_points_above_one_processor():
    with pytest.raises(InputError, match="needs points at p above 1"):
        plot_karp_flatt(Points(np.ones(3), np.ones(3)))


@pytest.mark.parametrize("plot", [plot_speedup, plot_efficiency, plot_karp_flatt])
def test_axes_have_labels_titles_and_ticks_at_what_was_measured(plot):
    axes = plot(POINTS, title="mine", unit="cores").axes[0]
    assert axes.get_title(loc="left") == "mine"
    assert axes.get_xlabel() == "cores"
    assert axes.get_ylabel()
    assert {"2", "4", "8"} <= {label.get_text() for label in axes.get_xticklabels()}


def test_no_points_are_an_error():
    with pytest.raises(InputError, match="no points"):
        plot_speedup(Points(np.array([]), np.array([])))


# --- roofline ----------------------------------------------------------------------------------


def graph():
    product = Op(kind="gemm", dims=(1, 4, 4, 4), flops=128.0, bytes_read=32.0)
    convolution = Op(kind="conv2d", dims=(1,) * 10, flops=100.0, bytes_read=10.0)
    copy = Op(kind="copy", dims=(8,), bytes_read=64.0)
    return Graph.of([product, convolution, copy])


def test_ops_stand_at_their_intensity_and_rate():
    figure = plot_roofline(graph(), np.array([2.0, 1.0, 1.0]), Roof(1e3, 1e2))
    dots = {tuple(np.asarray(c.get_offsets())[0]) for c in figure.axes[0].collections}
    assert dots == {(4.0, 64.0), (10.0, 100.0)}


def test_further_peaks_are_drawn_from_where_the_memory_reaches_them():
    roof = Roof(1e3, 1e2, "bfloat16", {"float32": 4e2})
    figure = plot_roofline(graph(), np.ones(3), roof)
    [line] = [one for one in figure.axes[0].get_lines() if np.size(one.get_xdata()) == 2]
    assert np.asarray(line.get_ydata()).tolist() == [4e2, 4e2]
    assert np.asarray(line.get_xdata())[0] == 4.0
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert any("bfloat16" in text for text in texts)
    assert any("400 FLOP/s float32" in text for text in texts)


def test_the_roof_is_bandwidth_then_peak():
    figure = plot_roofline(graph(), np.ones(3), Roof(1e3, 1e2))
    line = figure.axes[0].get_lines()[0]
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert y == pytest.approx(np.minimum(1e3, 1e2 * x))


def test_what_has_no_arithmetic_is_told_in_the_legend():
    figure = plot_roofline(graph(), np.array([2.0, 1.0, 1.0]), Roof(1e3, 1e2))
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert "25.0% in ops without arithmetic" in legend.get_title().get_text()
    assert "gemm: 50.0% of the time" in legend_of(figure)


def test_a_graph_without_arithmetic_is_an_error():
    copies = Graph.of([Op(kind="copy", dims=(8,), bytes_read=64.0)])
    with pytest.raises(InputError, match="nothing to draw"):
        plot_roofline(copies, np.ones(1), Roof(1.0, 1.0))


# --- timeline ----------------------------------------------------------------------------------


def test_each_rank_has_a_row_and_each_span_a_bar():
    spans = [
        Span(0.0, 0.002, 0, "compute", "forward"),
        Span(0.002, 0.003, 0, "all_reduce", "bucket0"),
        Span(0.0, 0.003, 1, "compute", "forward"),
    ]
    axes = plot_timeline(Timeline.of(spans)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["rank 0", "rank 1"]
    bars = sorted(patch.get_extents().bounds[::2] for patch in axes.patches)
    scale = bars[1][1] / 3.0
    starts = [(start - bars[0][0]) / scale for start, _ in bars]
    assert starts == pytest.approx([0.0, 0.0, 2.0])
    assert [width / scale for _, width in bars] == pytest.approx([2.0, 3.0, 1.0])
    assert axes.get_xlabel() == "time, ms"


def test_names_with_an_underscore_are_in_the_legend_too():
    figure = plot_timeline(Timeline.of([Span(0.0, 1.0, 0, "compute", "_scaled_dot_product")]))
    assert legend_of(figure) == ["scaled_dot_product 100%"]


def test_more_ranks_than_can_be_read_are_left_out_and_the_title_says_so():
    spans = [Span(0.0, 1.0, rank, "compute", "step") for rank in range(MOST_RANKS + 5)]
    axes = plot_timeline(Timeline.of(spans), "mine").axes[0]
    assert axes.get_title(loc="left") == f"mine (first {MOST_RANKS} of {MOST_RANKS + 5} ranks)"


def test_what_a_rank_computes_at_the_same_time_has_rows_of_its_own():
    spans = [
        Span(0.0, 2.0, 0, "compute", "step"),
        Span(0.0, 1.0, 0, "compute", "input"),
        Span(1.5, 3.0, 0, "all_reduce", "grad"),
        Span(0.5, 3.0, 1, "compute", "step"),
    ]
    axes = plot_timeline(Timeline.of(spans)).axes[0]
    bars: Any = axes.patches
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == ["rank 0", "stream 2", "rank 1"]
    rows = {(round(bar.get_x()), round(bar.get_y() + bar.get_height() / 2)) for bar in bars}
    assert rows == {(0, 0), (0, 1), (2, 0), (0, 2)}


@pytest.mark.parametrize("name", ["relu", "native_batch_norm_backward", "n" * 60])
def test_a_legend_is_no_wider_than_the_picture(name):
    spans = [Span(float(i), i + 1.0, 0, "compute", f"{name}{i}") for i in range(7)]
    figure = plot_timeline(Timeline.of(spans))
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1


def test_an_empty_timeline_is_an_error():
    with pytest.raises(InputError, match="empty"):
        plot_timeline(Timeline.of([]))


# --- accuracy ----------------------------------------------------------------------------------


def test_dots_intervals_and_the_error_are_drawn():
    pairs = [Pair(1e-3, 1.1e-3, 0.9e-3, 1.3e-3, "a"), Pair(1.0, 0.9, 0.8, 0.95, "b")]
    figure = plot_accuracy(pairs, "mine")
    axes = figure.axes[0]
    assert {"a", "b", "within 10%", "within 25%"} <= {*legend_of(figure)}
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["MAPE 10 %, median 10 %, n = 2; 90 % intervals hold 50 %"]
    assert axes.get_xlim() == axes.get_ylim()


def test_more_groups_than_colours_stay_told_apart_by_their_marker():
    pairs = [Pair(1.0, 1.0 + i / 10, group=str(i)) for i in range(len(COLOURS) + 1)]
    first, *_, last = plot_accuracy(pairs).axes[0].collections[2:]
    assert np.array_equal(first.get_facecolor(), last.get_facecolor())
    assert first.get_paths()[0] != last.get_paths()[0]


def test_without_intervals_nothing_is_said_of_them():
    assert "intervals" not in error_text([Pair(1.0, 1.2)])


@pytest.mark.parametrize("pairs", [[], [Pair(0.0, 1.0)], [Pair(1.0, float("nan"))]])
def test_what_has_no_place_on_a_logarithmic_axis_is_an_error(pairs):
    with pytest.raises(InputError, match="positive values"):
        plot_accuracy(pairs)


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_figure_is_written_whole(tmp_path, suffix):
    path = save_figure(plot_speedup(POINTS), tmp_path / "new" / f"a{suffix}")
    assert path.stat().st_size > 1000
    assert [path.name for path in path.parent.iterdir()] == [f"a{suffix}"]


def test_a_figure_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FileError, match="file"):
        save_figure(plot_speedup(POINTS), tmp_path / "file" / "a.png")
    with pytest.raises(FileError, match=r"\.png, \.svg, \.pdf"):
        save_figure(plot_speedup(POINTS), tmp_path / "a.bmp")


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'scalemodel\[plot\]'"):
        plot_speedup(POINTS)
