import io
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.text import Text

from yolo_synth.analysis.activations.structure import Structure, structure_of
from yolo_synth.analysis.figures.similarity import (
    MOST_SHARED,
    SVG_SETTINGS,
    ribbon_figure,
    similarity_curves,
    similarity_heatmap,
)
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.networks.yolov3.network import YOLOv3

LAYERS = 107
NAMES = ("U-Real/0", "F-Synthetic/0")
PAIRS = ("U-Real vs U-Synthetic", "U-Real vs F-Synthetic", "U-Synthetic vs F-Synthetic")


@pytest.fixture(scope="module")
def structure():
    return structure_of(YOLOv3(width=0.02), backbone_end=75)


@pytest.fixture(scope="module")
def curves():
    random = np.random.default_rng(0)
    return {name: LayerSeries(random.uniform(0.1, 0.9, LAYERS)) for name in PAIRS}


@pytest.fixture(scope="module")
def matrix():
    return np.random.default_rng(1).uniform(0, 1, (LAYERS, LAYERS))


@pytest.fixture(scope="module")
def draw_all(structure, curves, matrix):
    """Draw each kind of figure with all that it can show."""
    low = np.full(LAYERS, 0.1)
    judged = {
        name: LayerSeries(
            *(one.value, one.value - 0.1, one.value + 0.1),
            **{"null": low, "untrained": low + 0.1, "ceiling": low + 0.8},
        )
        for name, one in curves.items()
    }
    some = {"title": "What the figure shows\nand on which images", "image_size": 416}
    square = (matrix - 0.01, structure, structure)

    def draw():
        return {
            "curves": similarity_curves(judged, structure, **some),
            "heatmap": similarity_heatmap(*square, names=NAMES, **some),
            "heatmap with ribbon": similarity_heatmap(*square, names=NAMES, ribbon=True, **some),
            "ribbon": ribbon_figure(judged, structure, **some),
            "share": ribbon_figure(judged, structure, share=True, **some),
        }

    return draw


def saved(figures):
    return {kind: (save(figure, "png"), save(figure, "svg")) for kind, figure in figures.items()}


@pytest.fixture(scope="module")
def everything(draw_all):
    return draw_all()


@pytest.fixture(scope="module")
def files(everything):
    return saved(everything)


def line(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


def panels(figure):
    """Return the axes that show values, without those for ribbon and headings."""
    return [axes for axes in figure.axes if axes.get_frame_on()]


def save(figure, suffix):
    file = io.BytesIO()
    metadata = {"Date": None} if suffix == "svg" else {}
    with matplotlib.rc_context(SVG_SETTINGS):
        figure.savefig(file, format=suffix, metadata=metadata)
    return file.getvalue()


def test_curves_show_the_values_given(structure, curves):
    low, high = np.full(LAYERS, 0.05), np.full(LAYERS, 0.95)
    judged_by = {"null": low, "untrained": low + 0.2, "ceiling": high}
    given = {name: replace(one, **judged_by) for name, one in curves.items()}
    figure = similarity_curves(given, structure, title="t")
    (axes,) = panels(figure)
    for name, one in curves.items():
        np.testing.assert_array_equal(line(axes, name).get_xdata(), np.arange(LAYERS))
        np.testing.assert_array_equal(line(axes, name).get_ydata(), one.value)
    for name, values in judged_by.items():
        np.testing.assert_array_equal(line(axes, name).get_ydata(), values)


def test_curves_are_told_apart_without_colour(structure, curves):
    (axes,) = panels(similarity_curves(curves, structure, title="t"))
    dashes = {str(line(axes, name)._unscaled_dash_pattern) for name in curves}
    assert len(dashes) == len(curves)


def test_marks_sit_on_shortcut_route_and_detection_layers(structure, curves):
    (axes,) = panels(similarity_curves({"pair": curves[PAIRS[0]]}, structure, title="t"))
    marked = {
        mark.get_marker(): list(mark.get_xdata())
        for mark in axes.lines
        if mark.get_marker() in ("D", "s", "o")
    }
    assert marked["D"] == [83, 86, 95, 98]
    assert marked["s"] == [82, 94, 106]
    assert len(marked["o"]) == 23
    assert marked["o"][0] == 4
    assert marked["o"][-1] == 74


def test_a_band_spans_its_bounds(structure, curves):
    values = curves[PAIRS[0]].value
    band = LayerSeries(values, values - 0.05, values + 0.02)
    (axes,) = panels(similarity_curves({"pair": band}, structure, title="t"))
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    at_layer_40 = corners[corners[:, 0] == 40, 1]
    np.testing.assert_allclose(
        [at_layer_40.min(), at_layer_40.max()], [values[40] - 0.05, values[40] + 0.02]
    )


def test_guides_run_where_the_resolution_changes(structure, curves):
    (axes,) = panels(similarity_curves(curves, structure, title="t"))
    guides = [guide.get_xdata()[0] for guide in axes.lines if len(guide.get_xdata()) == 2]
    assert guides == [0.5, 4.5, 11.5, 36.5, 61.5, 84.5, 96.5]


def test_undefined_values_are_gaps_with_a_cross_and_negative_ones_are_in_sight(structure):
    values = np.full(LAYERS, 0.5)
    values[7], values[80] = np.nan, -0.27
    figure = similarity_curves({"pair": LayerSeries(values)}, structure, title="t")
    (axes,) = panels(figure)
    assert np.isnan(line(axes, "pair").get_ydata()[7])
    (cross,) = [mark for mark in axes.lines if mark.get_marker() == "x"]
    assert list(cross.get_xdata()) == [7]
    assert axes.get_ylim()[0] < -0.27
    assert "not defined" in [text.get_text() for text in figure.findobj(Text)]


def test_heatmap_shows_the_values_given_row_by_row_from_below(structure, matrix):
    small = Structure(("conv",) * 3, ((-1,), (0,), (1,)), (1, 2, 2), 3)
    figure = similarity_heatmap(
        torch.from_numpy(matrix[:3]), small, structure, names=NAMES, title="t"
    )
    axes = figure.axes[1]
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array(), matrix[:3])
    assert image.origin == "lower"
    assert axes.get_ylim() == (-0.5, 2.5)
    assert axes.get_xlim() == (-0.5, 106.5)
    assert (image.norm.vmin, image.norm.vmax) == (0, 1)
    assert axes.get_ylabel() == "layer of U-Real/0"
    assert axes.get_xlabel() == "layer of F-Synthetic/0"


def test_heatmap_tells_undefined_and_negative_cells_from_zero(structure, matrix):
    cells = matrix.copy()
    cells[3, 5], cells[0, 0], cells[1, 1] = np.nan, -0.2, 0
    figure = similarity_heatmap(cells, structure, structure, names=NAMES, title="t")
    (image,) = figure.axes[1].images
    undefined, negative, zero = image.to_rgba(image.get_array())[[3, 0, 1], [5, 0, 1]]
    assert undefined[3] == 0  # the hatched ground is seen through it
    assert len({tuple(undefined), tuple(negative), tuple(zero)}) == 3
    words = " ".join(text.get_text() for text in figure.texts)
    assert f"1 of {LAYERS**2} cells, lowest −0.20" in words  # noqa: RUF001
    assert f"not defined (1 of {LAYERS**2} cells)" in words
    assert np.isnan(cells[3, 5])


def test_heatmap_lines_run_at_scale_regions_and_at_the_head(structure, matrix):
    axes = similarity_heatmap(matrix, structure, structure, names=NAMES, title="t").axes[1]
    places = sorted(guide.get_xdata()[0] for guide in axes.lines if guide.get_ydata()[0] == 0)
    assert places == [0.5, 4.5, 11.5, 36.5, 61.5, 74.5, 84.5, 96.5]


def bars(axes):
    """Return the ribbon's bars in an axes, one per layer."""
    found = [c for c in axes.collections if len(c.get_paths()) == LAYERS]
    return [path.get_extents() for path in found[0].get_paths()] if found else []


def test_ribbon_bars_are_aligned_with_the_cells_of_the_heatmap(structure, matrix):
    figure = similarity_heatmap(matrix, structure, structure, names=NAMES, title="t", ribbon=True)
    heatmap = next(axes for axes in figure.axes if axes.images)
    below, beside = (axes for axes in figure.axes if bars(axes))
    assert below.get_xlim() == heatmap.get_xlim()
    assert beside.get_ylim() == heatmap.get_ylim()
    assert below.get_position().intervalx == pytest.approx(heatmap.get_position().intervalx)
    assert beside.get_position().intervaly == pytest.approx(heatmap.get_position().intervaly)
    heights = [bar.height for bar in bars(below)]
    assert heights == [bar.width for bar in bars(beside)]
    assert [bar.x0 for bar in bars(below)] == [bar.y0 for bar in bars(beside)]
    assert [bar.x0 for bar in bars(below)] == [layer - 0.5 for layer in range(LAYERS)]
    assert heights[0] > heights[1] > heights[5] > heights[12] > heights[37] > heights[62]
    assert heights[62] == heights[84] < heights[85] == heights[37] < heights[97] == heights[12]


def test_tracks_are_aligned_under_the_ribbon_and_show_the_values_given(structure, curves):
    figure = ribbon_figure(curves, structure, title="t")
    ribbon, *tracks = figure.axes
    assert len(tracks) == len(curves)
    for axes, (name, one) in zip(tracks, curves.items(), strict=True):
        np.testing.assert_array_equal(line(axes, name).get_ydata(), one.value)
        assert axes.get_xlim() == ribbon.get_xlim()
        assert axes.get_position().intervalx == pytest.approx(ribbon.get_position().intervalx)
    bottoms = [axes.get_position().y0 for axes in figure.axes]
    assert bottoms == sorted(bottoms, reverse=True)


def test_a_track_can_have_its_own_scale_and_the_seeds_that_it_is_the_mean_of(structure):
    mean, gap = np.full(LAYERS, 0.5), np.full(LAYERS, 7.0)
    each = np.stack([mean - 0.2, mean + 0.2])
    figure = ribbon_figure(
        {"cka": LayerSeries(mean), "gap": LayerSeries(gap)},
        structure,
        title="t",
        highest={"gap": 8.0},
        singles={"cka": each},
    )
    _, cka, apart = figure.axes
    assert cka.get_ylim()[1] == pytest.approx(1.03)
    assert apart.get_ylim()[1] == pytest.approx(8.24)
    thin = [one for one in cka.lines if one.get_label() == "single"]
    np.testing.assert_array_equal([one.get_ydata() for one in thin], each)
    assert not [one for one in apart.lines if one.get_label() == "single"]


def test_ribbon_has_an_arc_per_shortcut_and_per_route_to_an_earlier_layer(structure, curves):
    ribbon = ribbon_figure(curves, structure, title="t").axes[0]
    ends = [
        (patch.get_path().vertices[0, 0], patch.get_path().vertices[-1, 0])
        for patch in ribbon.patches
        if not patch.get_fill()
    ]
    assert len(ends) == 27
    assert {(79, 83), (61, 86), (91, 95), (36, 98), (1, 4), (71, 74)} <= set(ends)


def test_tracks_name_the_means_over_backbone_and_head(structure):
    values = np.where(np.arange(LAYERS) < 75, 0.6925, 0.3379)
    values[3] = np.nan
    figure = ribbon_figure({"pair": LayerSeries(values)}, structure, title="t")
    assert "mean: backbone 0.69, head 0.34" in [text.get_text() for text in figure.texts]


def test_share_picture_is_1200_by_630_pixels(files):
    png, _ = files["share"]
    width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
    assert (width, height) == (1200, 630)


def test_nothing_is_cut_off_and_no_tick_labels_overlap(everything):
    for kind, figure in everything.items():
        figure.draw_without_rendering()
        page = figure.bbox
        for text in figure.findobj(Text):
            if text.get_visible() and text.get_text():
                box = text.get_window_extent()
                assert page.contains(box.x0, box.y0), (kind, text.get_text())
                assert page.contains(box.x1, box.y1), (kind, text.get_text())
        for axes in figure.axes:
            for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
                boxes = [label.get_window_extent() for label in labels if label.get_text()]
                assert not any(first.overlaps(second) for first, second in pairwise(boxes)), kind


def test_the_same_values_give_the_same_bytes_whatever_the_users_style(draw_all, files):
    with matplotlib.rc_context({"axes.grid": True, "lines.linewidth": 9, "image.cmap": "jet"}):
        others = draw_all()
    again = saved(others)
    assert [kind for kind in files if files[kind] != again[kind]] == []


def test_an_svg_keeps_its_text_as_text(files):
    for kind, (_, svg) in files.items():
        texts = {element.text for element in ElementTree.fromstring(svg).iter()}
        assert {"backbone, layers 0–74", "What the figure shows"} <= texts, kind  # noqa: RUF001


def test_names_are_shown_as_they_are(structure, curves):
    figure = ribbon_figure({"a $x$ vs b_1": curves[PAIRS[0]]}, structure, title="5 $ or 6 $\n%")
    texts = {element.text for element in ElementTree.fromstring(save(figure, "svg")).iter()}
    assert {"a $x$ vs b_1", "5 $ or 6 $"} <= texts


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({}, "there is no curve"),
        ({"value": np.zeros(106)}, r"pair: value has shape \[106\].* \[107\]"),
        ({"high": np.zeros(1)}, r"pair: high has shape \[1\]"),
        ({"null": np.zeros((107, 1))}, r"null has shape \[107, 1\]"),
        ({"ceiling": np.zeros(5)}, r"ceiling has shape \[5\]"),
    ],
)
def test_curves_of_another_network_are_refused_in_one_line(structure, wrong, complaint):
    curves = {"pair": LayerSeries(**{"value": np.zeros(LAYERS), **wrong})} if wrong else {}
    with pytest.raises(ValueError, match=complaint) as error:
        similarity_curves(curves, structure, title="t")
    assert "\n" not in str(error.value)


def test_a_matrix_of_other_networks_is_refused_in_one_line(structure):
    complaint = r"U-Real/0 and F-Synthetic/0 has shape \[107, 3\].*\[107, 107\]"
    with pytest.raises(ValueError, match=complaint) as error:
        similarity_heatmap(np.zeros((107, 3)), structure, structure, names=NAMES, title="t")
    assert "\n" not in str(error.value)


def test_more_tracks_than_a_share_picture_holds_are_refused(structure):
    curves = {str(number): LayerSeries(np.zeros(LAYERS)) for number in range(MOST_SHARED + 1)}
    with pytest.raises(ValueError, match=f"room for {MOST_SHARED} tracks, not {MOST_SHARED + 1}"):
        ribbon_figure(curves, structure, title="t", share=True)


def test_drawing_leaves_no_global_state(draw_all):
    before = dict(matplotlib.rcParams)
    draw_all()
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == before
