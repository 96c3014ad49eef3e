"""What a rendered picture shows: who is in front, opacity, wires, heat maps, views all around."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from models.flame.open_head import load_open_head
from models.geometry.cameras import camera_from_horizontal_fov
from models.geometry.rotations import GL_FROM_CV, about_y
from viewer.render.heat_map import UNKNOWN, HeatScale, draw_legend, legend_width_px, scale_of
from viewer.render.mesh_image import MeshRenderer, RenderMesh, live_renderer
from viewer.render.palette import LIGHT
from viewer.render.turntable import portrait, turntable_frames

Array = np.ndarray

SIZE = (320, 240)
CAMERA = camera_from_horizontal_fov(SIZE)
FACES = np.array([[0, 1, 2], [0, 2, 3]])
RED, BLUE = (255, 0, 0), (0, 0, 255)
MIDDLE = (120, 160)
AT_60_CM, AT_80_CM = np.array([0, 0, 0.6]), np.array([0, 0, 0.8])


@pytest.fixture(scope="module")
def renderer() -> MeshRenderer:
    return MeshRenderer(())


@pytest.fixture(scope="module")
def head() -> RenderMesh:
    head = load_open_head()
    return RenderMesh(head.template_vertices_m @ GL_FROM_CV, head.triangles)


def square(centre_px, side_px: float, z_m: float, **fields: object) -> RenderMesh:
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1.0]]) * side_px / 2 + centre_px
    rays = np.concatenate([CAMERA.normalise(corners), np.ones((4, 1))], 1)
    return RenderMesh(rays * z_m, FACES, shading=0.0, **fields)


def test_the_nearest_is_in_front_whatever_the_order(renderer: MeshRenderer) -> None:
    near = square((160, 120), 40, 1.0, colour=RED)
    far = square((160, 120), 80, 2.0, colour=BLUE)
    for meshes in ([near, far], [far, near]):
        drawn = renderer.draw(None, meshes, CAMERA)
        assert tuple(drawn.rgb[MIDDLE]) == RED and tuple(drawn.rgb[120, 190]) == BLUE
        assert tuple(drawn.rgb[0, 0]) == LIGHT
        assert drawn.depth_m[MIDDLE] == pytest.approx(1.0, rel=1e-4)


def test_meshes_that_cross_are_parted_where_they_cross(renderer: MeshRenderer) -> None:
    flat = square((160, 120), 100, 1.0, colour=RED)
    z_m = np.array([0.8, 0.8, 1.2, 1.2])[:, None]
    slanted = RenderMesh(flat.vertices_cam_m * z_m, FACES, colour=BLUE, shading=0.0)
    drawn = renderer.draw(None, [flat, slanted], CAMERA).rgb
    assert tuple(drawn[120, 130]) == BLUE and tuple(drawn[120, 200]) == RED


def test_a_mesh_is_one_sheet_over_the_photo(renderer: MeshRenderer) -> None:
    photo = np.full((240, 320, 3), 100, np.uint8)
    near = square((160, 120), 40, 1.0, colour=RED, opacity=0.6)
    far = square((160, 120), 80, 2.0, colour=BLUE, opacity=0.5)
    drawn = renderer.draw(photo, [near, far], CAMERA)
    assert drawn.rgb[120, 190].tolist() == [50, 50, 178]
    assert np.abs(drawn.rgb[MIDDLE].astype(int) - [173, 20, 71]).max() <= 1
    assert drawn.alpha[MIDDLE] == pytest.approx(0.8)
    assert (photo == 100).all(), "a copy is drawn on"
    both = [square((160, 120), 40, z, colour=RED, opacity=0.5) for z in (1.0, 1.1)]
    assert renderer.draw(photo, both, CAMERA).alpha[MIDDLE] == pytest.approx(0.5)


@pytest.mark.parametrize("is_live", [False, True])
def test_rims_are_smooth_and_carry_no_colour_of_the_ground(is_live: bool) -> None:
    renderer = MeshRenderer((), is_live=is_live)
    drawn = renderer.draw(None, [square((160.3, 120), 40.1, 1.0, colour=RED)], CAMERA)
    rgba = drawn.rgba
    rim = (rgba[..., 3] > 0) & (rgba[..., 3] < 255)
    assert rim.sum() > 50
    assert np.abs(rgba[rim][:, :3].astype(int) - RED).max() <= 8
    png = np.array(Image.open(io.BytesIO(drawn.transparent_png())))
    assert np.array_equal(png, rgba) and png[0, 0, 3] == 0 and png[MIDDLE][3] == 255


def test_the_inside_of_an_open_mesh_is_dark(renderer: MeshRenderer) -> None:
    outside = square((160, 120), 40, 1.0, colour=(200, 200, 200))
    box = np.concatenate([outside.vertices_cam_m, outside.vertices_cam_m + 0.5 * AT_60_CM])
    back = np.array([[4, 6, 5], [4, 7, 6]])
    sides = np.array([[0, 4, 5], [0, 5, 1], [2, 6, 7], [2, 7, 3], [1, 5, 6], [1, 6, 2]])
    bowl = RenderMesh(box, np.concatenate([back, sides]), colour=(200, 200, 200), shading=0.0)
    assert renderer.draw(None, [bowl], CAMERA).rgb[MIDDLE].tolist() == [60, 60, 60]


def test_triangles_wound_either_way_look_the_same(renderer, head: RenderMesh) -> None:
    vertices = head.vertices_cam_m + AT_80_CM
    one = renderer.draw(None, [RenderMesh(vertices, head.triangles)], CAMERA).rgb
    other = renderer.draw(None, [RenderMesh(vertices, head.triangles[:, ::-1])], CAMERA).rgb
    assert np.abs(one.astype(int) - other).mean() < 0.05


def test_wires_lie_on_edges_and_hidden_ones_are_left_out(renderer, head: RenderMesh) -> None:
    vertices = head.vertices_cam_m @ about_y(40.0).T + [0, 0, 0.6]
    wires = RenderMesh(vertices, head.triangles, colour=RED, is_wireframe=True)
    drawn = renderer.draw(None, [wires], CAMERA)
    solid = renderer.draw(None, [RenderMesh(vertices, head.triangles)], CAMERA)
    assert 0.2 < drawn.alpha.sum() / solid.alpha.sum() < 0.9
    lines = drawn.alpha > 0.5
    assert np.abs(drawn.depth_m[lines] - solid.depth_m[lines])[solid.alpha[lines] == 1].max() < 0.06
    behind = square((160, 120), 300, 1.5, colour=BLUE)
    over = renderer.draw(None, [wires, behind], CAMERA).rgb
    assert (over[lines][:, 0] > 100).mean() > 0.95
    before = square((160, 120), 400, 0.3, colour=BLUE)
    assert (renderer.draw(None, [wires, before], CAMERA).rgb == BLUE).all()
    plain = square((160.5, 120.5), 60, 1.0, colour=RED, is_wireframe=True)
    alpha = renderer.draw(None, [plain], CAMERA).alpha
    assert alpha[120, 130] > 0.9 and alpha[90, 150] > 0.9 and alpha[110, 170] == 0


def test_wires_can_be_drawn_over_their_own_surface(renderer, head: RenderMesh) -> None:
    vertices = head.vertices_cam_m + AT_60_CM
    surface = RenderMesh(vertices, head.triangles, colour=BLUE, shading=0.0)
    wires = RenderMesh(vertices, head.triangles, colour=RED, is_wireframe=True)
    lines = renderer.draw(None, [wires], CAMERA).alpha > 0.9
    both = renderer.draw(None, [surface, wires], CAMERA).rgb
    assert (both[lines][:, 0] > 180).mean() > 0.97


def test_what_cannot_be_drawn_is_left_out(renderer: MeshRenderer) -> None:
    good = square((160, 120), 40, 1.0, colour=RED)
    bad = RenderMesh(np.full((3, 3), np.nan), FACES[:1])
    empty = RenderMesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    wanted = renderer.draw(None, [good], CAMERA).rgb
    assert np.array_equal(renderer.draw(None, [bad, empty, good], CAMERA).rgb, wanted)
    nothing = renderer.draw(None, [bad, empty], CAMERA)
    assert (nothing.rgb == LIGHT).all() and nothing.rgba.max() == 0 and nothing.alpha.max() == 0


def test_what_does_not_fit_together_is_refused(renderer: MeshRenderer) -> None:
    with pytest.raises(ValueError, match="10 x 20, the camera's picture 320 x 240"):
        renderer.draw(np.zeros((20, 10, 3), np.uint8), [], CAMERA)
    with pytest.raises(ValueError, match="0 to 2"):
        RenderMesh(np.zeros((3, 3)), np.array([[0, 1, 3]]))
    # a ValueError; where shapes are checked, as in tests, that comes first
    with pytest.raises((ValueError, TypeError), match=r"3 vertices need as many colours|v 3"):
        RenderMesh(np.zeros((3, 3)), FACES[:1], vertex_colours=np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="opacity must be 0 to 1, got 2"):
        RenderMesh(np.zeros((3, 3)), FACES[:1], opacity=2.0)


def test_live_drawing_is_fast(head: RenderMesh) -> None:
    """Measured 9 ms of processor time on a 2-core machine; busy machines get more."""
    camera = camera_from_horizontal_fov((640, 480), 60.0)
    photo = np.zeros((480, 640, 3), np.uint8)
    spans = []
    for k in range(12):
        vertices = head.vertices_cam_m @ about_y(3.0 * k).T + [0, 0, 0.6]
        start = time.thread_time()
        live_renderer().draw(photo, [RenderMesh(vertices, head.triangles)], camera)
        spans.append(time.thread_time() - start)
    assert min(spans) < 0.030


def test_a_scales_colours_run_from_low_to_high() -> None:
    scale = HeatScale(0.0, 10.0)
    colours = scale.colours(np.array([-5.0, 0.0, 5.0, 10.0, 99.0, np.nan]))
    assert (colours[0] == colours[1]).all() and (colours[3] == colours[4]).all()
    assert tuple(colours[5]) == UNKNOWN
    brightness = scale.colours(np.linspace(0, 10, 50)) @ [0.3, 0.59, 0.11]
    assert (np.diff(brightness) > 0).all(), "also in grey prints"
    with pytest.raises(ValueError, match="must rise"):
        HeatScale(1.0, 1.0)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 10.0, [0, 2, 4, 6, 8, 10]),
        (0.0, 2.5, [0, 0.5, 1, 1.5, 2, 2.5]),
        (-3.0, 3.0, [-3, -2, -1, 0, 1, 2, 3]),
        (0.0, 0.07, [0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert np.allclose(HeatScale(low, high).ticks(), ticks)


def test_a_scale_is_found_for_values() -> None:
    found = scale_of(np.array([*np.linspace(0, 3.3, 100), np.nan, 40.0]), "distance")
    assert (found.low, found.high, found.text(1.5)) == (0.0, 3.5, "1.5 mm")
    assert scale_of(np.zeros(4)).high == 1.0 and scale_of(np.full(3, np.nan)).high == 1.0
    assert scale_of(np.array([-2.2, 1.0])).low <= -2.2


def test_a_legend_stands_in_the_corner_with_the_scales_colours() -> None:
    picture, scale = np.full((300, 400, 3), 255, np.uint8), HeatScale(0.0, 4.0, "distance")
    drawn = draw_legend(picture, scale)
    changed = np.argwhere((drawn != 255).any(2))
    assert changed.min(0)[1] >= 400 - legend_width_px(scale, (400, 300))
    assert changed.max(0)[0] < 300 and (picture == 255).all()
    part = drawn[changed.min(0)[0] :, changed.min(0)[1] :].reshape(-1, 3).astype(int)
    for value in (0.05, 2.0, 3.95):
        colour = scale.colours(np.array([value]))[0]
        assert np.abs(part - colour).max(1).min() <= 6
    tiny = np.zeros((20, 20, 3), np.uint8)
    assert np.array_equal(draw_legend(tiny, scale), tiny), "no room"


@pytest.mark.parametrize("size", [(240, 240), (320, 180), (150, 300)])
def test_a_head_fits_into_its_portrait_from_every_side(renderer, head, size: tuple) -> None:
    fills = []
    for yaw_deg, pitch_deg in [(0, 0), (45, 8), (90, 0), (180, -20), (-60, 70)]:
        placed, camera = portrait([head], size, float(yaw_deg), float(pitch_deg))
        alpha = renderer.draw(None, placed, camera).alpha
        assert max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) == 0
        rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        fills.append(max(np.ptp(columns) / size[0], np.ptp(rows) / size[1]))
    assert max(fills) > 0.75


def test_the_sides_of_a_portrait(renderer: MeshRenderer, head: RenderMesh) -> None:
    """Yaw turns the nose to image left; a positive pitch looks down on the head."""
    nose = head.vertices_cam_m[:, 2].argmin()
    (left,), camera = portrait([head], (200, 200), 60.0)
    assert camera.project(left.vertices_cam_m[nose])[0] < 60
    (above,), _ = portrait([head], (200, 200), 0.0, 30.0)
    top, chin = head.vertices_cam_m[:, 1].argmin(), head.vertices_cam_m[:, 1].argmax()
    assert above.vertices_cam_m[top, 2] < above.vertices_cam_m[chin, 2] - 0.05


def test_a_turntable_goes_once_around_beside_its_legend(renderer, head: RenderMesh) -> None:
    scale = HeatScale(0.0, 1.0, "distance")
    frames = list(turntable_frames(renderer, [head], (260, 200), 4, legend=scale))
    assert len(frames) == 4 and all(frame.shape == (200, 260, 3) for frame in frames)
    room = legend_width_px(scale, (260, 200))
    plates = [frame[:, 260 - room + 4 :] for frame in frames]
    assert all(np.array_equal(plate, plates[0]) for plate in plates), "the head stays beside it"
    assert not np.array_equal(frames[0], frames[2])
