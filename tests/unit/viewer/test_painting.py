"""OpenCV's painting: on the right pixels, on a copy, anti-aliased."""

from __future__ import annotations

import numpy as np
import pytest

from viewer.render.painting import draw_overlay
from viewer.render.shapes import Dots, DrawList, Label, Segments, Shape, Triangles

SIZE = (120, 80)
WHITE = (255, 255, 255)


def paint(*shapes: Shape, size: tuple[int, int] = SIZE) -> np.ndarray:
    return draw_overlay(np.zeros((size[1], size[0], 3), np.uint8), DrawList(shapes, size))


def centroid_px(image_rgb: np.ndarray) -> np.ndarray:
    """Of brightness, in continuous coordinates: the first pixel's centre is 0.5."""
    weight = image_rgb.astype(float).sum(2)
    y, x = np.mgrid[: image_rgb.shape[0], : image_rgb.shape[1]] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def one_triangle(corners: list[list[float]], colour: tuple[int, int, int]) -> Triangles:
    return Triangles(np.array([corners], np.float64), np.array([colour], np.uint8), 1.0)


@pytest.mark.parametrize("at", [(0.5 + 30, 20.5), (30.0, 20.0), (71.3, 40.8), (60.75, 33.25)])
@pytest.mark.parametrize("radius", [1.3, 4.0])
def test_a_dot_lands_where_it_says(at: tuple[float, float], radius: float) -> None:
    seen = centroid_px(paint(Dots(np.array([at]), WHITE, radius)))
    assert np.abs(seen - at).max() < 0.25


@pytest.mark.parametrize("width", [1.0, 2.0, 3.0, 6.0])
@pytest.mark.parametrize("line", [((20.0, 30.3), (90.0, 30.3)), ((15.2, 12.7), (99.4, 66.1))])
def test_a_line_lands_where_it_says(line: tuple, width: float) -> None:
    seen = centroid_px(paint(Segments(np.array([line]), WHITE, width)))
    assert np.abs(seen - np.mean(line, 0)).max() < 0.25


def test_a_triangle_lands_where_it_says_and_has_its_area() -> None:
    corners = np.array([[[20.0, 10.0], [100.0, 20.0], [50.0, 70.0]]])
    image = paint(Triangles(corners, np.full((1, 3), 255, np.uint8), 1.0))
    assert np.abs(centroid_px(image) - corners[0].mean(0)).max() < 0.25
    (a, b), (c, d) = corners[0, 1] - corners[0, 0], corners[0, 2] - corners[0, 0]
    assert image[..., 0].sum() / 255 == pytest.approx(abs(a * d - b * c) / 2, rel=0.05)


def test_neighbouring_triangles_leave_no_seam_and_soft_rims() -> None:
    corners = np.array(
        [[[20, 10], [100, 13], [100, 70]], [[20, 10], [100, 70], [20, 67]]], np.float64
    )
    image = paint(Triangles(corners, np.full((2, 3), 255, np.uint8), 0.5))
    assert np.ptp(image[15:65, 22:98].astype(int)) <= 1
    assert int(image[40, 60, 0]) == pytest.approx(127, abs=1)
    assert len(np.unique(image[..., 0])) > 3


def test_lines_are_anti_aliased() -> None:
    image = paint(Segments(np.array([[[10.0, 10.0], [100.0, 43.0]]]), WHITE, 2.0))
    assert len(np.unique(image)) > 10


def test_overlaps_within_a_shape_do_not_add_up() -> None:
    cross = np.array([[[20.0, 40.5], [100.0, 40.5]], [[60.5, 10.0], [60.5, 70.0]]])
    image = paint(Segments(cross, WHITE, 5.0, 0.5))
    assert int(image[40, 60, 0]) == pytest.approx(int(image[40, 30, 0]), abs=1)
    assert int(image[40, 60, 0]) == pytest.approx(127, abs=2)


def test_a_line_thinner_than_a_pixel_is_fainter() -> None:
    line = np.array([[[10.0, 40.5], [100.0, 40.5]]])
    thin = int(paint(Segments(line, WHITE, 0.4)).max())
    assert thin == pytest.approx(0.4 * 255, abs=12)


def test_outside_pixels_keep_their_values_and_the_input_is_not_changed() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (80, 120, 3), dtype=np.uint8)
    before = image.copy()
    shapes = (
        Segments(np.array([[[40.0, 30.0], [60.0, 50.0]]]), (9, 200, 30), 3.0, 0.37),
        Triangles(np.array([[[42.0, 32], [58, 34], [50, 48]]]), np.full((1, 3), 9, np.uint8), 0.6),
        Dots(np.array([[50.0, 40.0]]), (1, 2, 3), 4.0, 0.81),
        Label(36.0, 46.0, "1", 9.0, (200, 10, 10)),
    )
    out = draw_overlay(image, DrawList(shapes, SIZE))
    np.testing.assert_array_equal(image, before)
    assert not np.shares_memory(out, image)
    assert (out[25:55, 32:68] != image[25:55, 32:68]).any()
    out[24:56, 30:70] = image[24:56, 30:70]
    np.testing.assert_array_equal(out, image)


def test_a_new_picture_even_when_there_is_nothing_to_draw() -> None:
    image = np.full((80, 120, 3), 7, np.uint8)
    out = draw_overlay(image, DrawList((), SIZE))
    assert not np.shares_memory(out, image)
    np.testing.assert_array_equal(out, image)


def test_read_only_and_strided_pictures_can_be_drawn_on() -> None:
    image = np.full((80, 120, 3), 7, np.uint8)[:, ::-1]
    image.flags.writeable = False
    out = draw_overlay(image, DrawList((Dots(np.array([[5.0, 5.0]]), WHITE, 3.0),), SIZE))
    assert out[5, 5, 0] == 255


def test_colours_are_rgb() -> None:
    image = paint(
        Dots(np.array([[20.5, 20.5]]), (255, 0, 0), 4.0),
        Triangles(
            np.array([[[40.0, 40], [80, 40], [60, 70]]]), np.array([[0, 0, 255]], np.uint8), 1.0
        ),
        Label(90.0, 30.0, "1", 10.0, (0, 255, 0)),
    )
    assert image[20, 20].tolist() == [255, 0, 0]
    assert image[50, 60].tolist() == [0, 0, 255]
    assert image[22, 91].tolist() == [0, 255, 0]


def test_shapes_partly_and_wholly_outside() -> None:
    image = paint(
        Segments(np.array([[[-50.0, 40.5], [20.0, 40.5]]]), WHITE, 3.0),
        Dots(np.array([[120.0, 80.0], [500.0, 500.0]]), WHITE, 4.0),
        Triangles(
            np.array([[[100.0, -30], [140, -30], [120, 20]]]), np.full((1, 3), 99, np.uint8), 1.0
        ),
        Label(-10.0, 5.0, "12", 13.0, (9, 9, 9)),
        Label(500.0, 500.0, "12", 13.0, (9, 9, 9)),
        Segments(np.array([[[-50.0, -40.0], [-20.0, -40.0]]]), WHITE, 3.0),
        Segments(np.zeros((0, 2, 2)), WHITE, 3.0),
    )
    assert image[40, 0, 0] == 255
    assert image[79, 119, 0] == 255
    assert image[0, 119, 0] == 99


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(120, 80\).*\(80, 120\)"):
        draw_overlay(np.zeros((120, 80, 3), np.uint8), DrawList((), SIZE))


def test_the_plate_stands_on_its_point_and_holds_its_letters() -> None:
    image = paint(Label(20.0, 60.0, "8 Y +3°", 20.0, (0, 255, 0)))
    ys, xs = np.nonzero(image.sum(2))
    assert (xs.min(), ys.max() + 1, ys.max() + 1 - ys.min()) == (20, 60, 28)
    letters_y, letters_x = np.nonzero(image.min(2) > 150)
    assert letters_x.min() > 26
    assert letters_x.max() < xs.max() - 3
    assert abs((letters_y.min() + letters_y.max()) / 2 - 45.5) < 1.5


def test_the_degree_sign_is_a_ring_not_the_box_of_a_missing_letter() -> None:
    def letter(text: str) -> np.ndarray:
        return paint(Label(0.0, 56.0, text, 40.0, (0, 0, 0)))[:, 12:].min(2) > 120

    degree, missing, blank = letter("°"), letter("\ue123"), letter(" ")
    assert not blank.any()
    assert degree.any()
    assert (degree != missing).any()
    ys, xs = np.nonzero(degree)
    middle = degree[round(ys.mean()), round(xs.mean())]
    assert not middle, "a ring is empty in the middle"
    assert ys.max() < 46, "it stands high"


def test_a_huge_shaded_region_is_painted_without_supersampling() -> None:
    size = (1600, 1200)
    corners = np.array([[[-300.0, -300], [4000, -300], [-300, 4000]]])
    image = paint(Triangles(corners, np.full((1, 3), 80, np.uint8), 1.0), size=size)
    assert (image[:1000, :1500] == 80).all()
