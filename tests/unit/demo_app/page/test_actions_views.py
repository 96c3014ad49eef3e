"""What the page shows of a frame: table, picture, legend, matrix, files."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from demo_app.actions.drawing import draw_list_of, mirrored
from demo_app.actions.options import PoseOptions
from demo_app.actions.predict_picture import PICTURE, NothingToDoError, predict_picture
from demo_app.actions.view_update import build_view, clear_zero, redraw, renumber, set_zero
from demo_app.actions.views import (
    MAX_PREVIEW_SIDE_PX,
    camera_text,
    code_to_copy,
    legend_html,
    matrix_html,
    notice_html,
    preview_image,
)
from demo_app.services import Services, Visitor
from models.geometry.cameras import camera_from_horizontal_fov, camera_from_intrinsics
from models.geometry.conventions import CONVENTIONS
from viewer.render.shapes import Label, Segments

OPTIONS = PoseOptions().checked()


@pytest.fixture
def shown(services: Services, visitor: Visitor, photo: Path) -> Any:
    """The picture's results on screen."""
    return predict_picture(services, visitor, str(photo), "stripes.png", OPTIONS)


def _cells(table: str, field: str) -> list[float]:
    return [float(text) for text in re.findall(rf'data-field="{field}">[± ]*([-\d.]+)<', table)]


def test_the_table_says_what_the_poses_say(shown: Any, visitor: Visitor) -> None:
    table = build_view(visitor, PICTURE, 0, OPTIONS).numbers.table
    poses = [face.pose for face in shown.result.faces]
    assert len(poses) == 2
    assert _cells(table, "yaw") == pytest.approx([p.ypr_deg.yaw_deg for p in poses], abs=0.051)
    assert _cells(table, "z") == pytest.approx([p.t_cam_from_head_mm[2] for p in poses], abs=0.51)
    assert _cells(table, "distance") == pytest.approx([p.distance_mm for p in poses], abs=0.51)
    assert "made up" in table, "the uncertainty says where it comes from"


@pytest.mark.parametrize("key", CONVENTIONS)
def test_angles_matrix_and_label_follow_the_convention(
    shown: Any, visitor: Visitor, key: str
) -> None:
    options = OPTIONS._replace(convention=key)
    numbers = renumber(visitor, PICTURE, 0, options, None)
    face = shown.result.faces[0]
    angles = CONVENTIONS[key].ypr_deg(face.pose.R_cam_from_head)
    assert _cells(numbers.table, "yaw")[0] == pytest.approx(angles.yaw_deg, abs=0.051)
    assert escape(CONVENTIONS[key].label) in numbers.matrix
    size = 4 if CONVENTIONS[key].unit else 3
    assert numbers.matrix.count("<tr>") == size and numbers.matrix.count("<td>") == size**2
    drawn = draw_list_of(shown.result.faces, shown.triangles, options, {}, (640, 480))
    labels = [shape.text for shape in drawn.shapes if isinstance(shape, Label)]
    assert any(f"Y {angles.yaw_deg:+.0f}°" in label for label in labels)


def test_the_code_gives_the_matrix_that_is_shown(shown: Any) -> None:
    face = shown.result.faces[0]
    for convention in CONVENTIONS.values():
        code = code_to_copy(face, OPTIONS._replace(convention=convention.key))
        names: dict[str, Any] = {}
        exec(code, names)
        expected = convention.matrix(face.pose.R_cam_from_head, face.pose.t_cam_from_head_mm)
        assert np.allclose(names["matrix"], expected, atol=1e-5)


def test_zero_is_zero_and_can_be_cleared(shown: Any, visitor: Visitor) -> None:
    before = renumber(visitor, PICTURE, 0, OPTIONS, None).table
    set_zero(visitor, PICTURE, 0)
    zeroed = renumber(visitor, PICTURE, 0, OPTIONS, None).table
    for field in ("yaw", "pitch", "roll", "x", "y", "z"):
        assert [abs(value) for value in _cells(zeroed, field)] == [0.0, 0.0]
    assert _cells(zeroed, "distance") == _cells(before, "distance")
    clear_zero(visitor, PICTURE)
    assert renumber(visitor, PICTURE, 0, OPTIONS, None).table == before


def test_a_new_picture_keeps_the_zero_and_no_old_files(
    services: Services, shown: Any, visitor: Visitor, photo: Path
) -> None:
    set_zero(visitor, PICTURE, 0)
    view = build_view(visitor, PICTURE, 0, OPTIONS)
    predict_picture(services, visitor, str(photo), "again.png", OPTIONS)
    assert not view.drawing.annotated.exists()
    again = build_view(visitor, PICTURE, 0, OPTIONS)
    assert again.drawing.annotated.name == "again_annotated.jpg"
    assert again.numbers.table.count('class="zeroed"') == 2


def test_nothing_yet_is_a_sentence(visitor: Visitor) -> None:
    with pytest.raises(NothingToDoError, match="nothing to show"):
        build_view(visitor, PICTURE, 0, OPTIONS)
    with pytest.raises(NothingToDoError):
        set_zero(visitor, PICTURE, 0)


def test_redrawing_runs_no_network(shown: Any, visitor: Visitor, world: Any) -> None:
    first = build_view(visitor, PICTURE, 0, OPTIONS)
    crops, detections = world.crops, world.detections
    plain = redraw(visitor, PICTURE, 0, OPTIONS._replace(layers=()))
    assert (world.crops, world.detections) == (crops, detections)
    assert plain.picture != first.drawing.picture, "a browser would keep the old one"
    drawn, bare = cv2.imread(str(first.drawing.picture)), cv2.imread(str(plain.picture))
    assert (np.abs(drawn.astype(int) - bare) > 40).any()


def test_old_views_are_deleted(shown: Any, visitor: Visitor) -> None:
    first = build_view(visitor, PICTURE, 0, OPTIONS).drawing.picture
    for _ in range(20):
        redraw(visitor, PICTURE, 0, OPTIONS)
    assert not first.exists()
    assert len(list((shown.folder / "views").iterdir())) <= 6


def test_mirroring_twice_is_nothing_and_labels_stay_readable(shown: Any) -> None:
    drawn = draw_list_of(shown.result.faces, shown.triangles, OPTIONS, {}, (640, 480))
    once, twice = mirrored(drawn), mirrored(mirrored(drawn))
    for a, b, c in zip(drawn.shapes, once.shapes, twice.shapes, strict=True):
        if isinstance(a, Label):
            assert a.text == b.text
        elif isinstance(a, Segments):
            assert np.allclose(a.points_px[..., 0], 640 - b.points_px[..., 0])
            assert np.allclose(a.points_px, c.points_px)


def test_the_mirrored_preview_is_the_mirror_image_without_labels(
    shown: Any, visitor: Visitor
) -> None:
    frame = shown.frame()
    plain = preview_image(frame, OPTIONS._replace(layers=()), {})
    turned = preview_image(frame, OPTIONS._replace(layers=(), mirror=True), {})
    below_labels = slice(400, 480)
    assert np.array_equal(turned[below_labels], plain[below_labels, ::-1])


def test_a_large_picture_is_shown_small_and_kept_large(
    services: Services, visitor: Visitor, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    cv2.imwrite(str(large), np.full((1500, 4000, 3), 90, np.uint8))
    predict_picture(services, visitor, str(large), "large.png", OPTIONS)
    drawing = build_view(visitor, PICTURE, 0, OPTIONS).drawing
    assert cv2.imread(str(drawing.picture)).shape[1] == MAX_PREVIEW_SIDE_PX
    assert cv2.imread(str(drawing.annotated)).shape[:2] == (1500, 4000)


def test_names_from_visitors_are_escaped(services: Services, visitor: Visitor, photo: Path) -> None:
    name = "<script>alert(1)</script>/../../x.png"
    result = predict_picture(services, visitor, str(photo), name, OPTIONS)
    view = build_view(visitor, PICTURE, 0, OPTIONS)
    assert "<script" not in view.status + view.numbers.table
    assert view.drawing.annotated.is_relative_to(result.folder)
    assert "<b>" not in notice_html("<b>")


def test_a_picture_without_a_face(
    services: Services, visitor: Visitor, photo: Path, world: Any
) -> None:
    world.heads.clear()
    predict_picture(services, visitor, str(photo), "empty.png", OPTIONS)
    view = build_view(visitor, PICTURE, 0, OPTIONS)
    assert "No face" in view.status and "No face" in view.numbers.table
    assert view.glb is None and view.numbers.face_ids == () and view.numbers.code == ""
    assert matrix_html(None, OPTIONS)
    assert view.tables["json"].read_text() == "[]\n"


def test_the_legend_names_what_is_drawn() -> None:
    assert "landmarks" not in legend_html(OPTIONS)
    everything = OPTIONS._replace(layers=("axes", "box", "landmarks"), mesh="shaded")
    for word in ("nose", "box", "shaded mesh", "68 landmarks"):
        assert word in legend_html(everything)


def test_the_camera_is_stated() -> None:
    assumed = camera_from_horizontal_fov((640, 480), 60.0)
    assert camera_text(assumed) == "assumed horizontal field of view 60.0°, f 554 px"
    two = camera_from_intrinsics((640, 480), 500.0, 520.0, 320.0, 240.0)
    assert camera_text(two) == "given K, fx 500, fy 520 px, 65.2° wide"
