"""Rendered heads: the labels are true of the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.flame.open_head import HeadAssets
from models.geometry.rotations import matrix_from_ypr_300wlp
from models.weights import T_HEAD_FROM_TRG_MINI
from viewer.synthesis.hair import HairBuilder, HairStyle
from viewer.synthesis.head_renderer import HeadRenderer
from viewer.synthesis.portraits import PortraitAsset
from viewer.synthesis.rasterizer import rasterize
from viewer.synthesis.scene import Light, Scene

Plain = Callable[..., PortraitAsset]

NOSE_TIP, MOUTH, LEFT_EYE, RIGHT_EYE = 4, 13, 263, 33
WHITE = np.ones(3)


def _scene(yaw: float = 0.0, **changed: object) -> Scene:
    bald = HairStyle("bald", 0.01, 0.1, 100.0, 0.0, 8.0, np.full(3, 60.0))
    flat = Light(np.array([0.0, 0.0, -1.0]), np.zeros(3), WHITE, 0.0, False)
    scene = Scene(
        person="plain/1",
        negative=None,
        R_cam_from_head=matrix_from_ypr_300wlp(yaw, 0.0, 0.0),
        t_cam_from_head_m=np.array([0.02, -0.01, 0.6]),
        whole_focal_px=2000.0,
        identity=np.zeros(60),
        expression=np.zeros(52),
        eye_angles_deg=np.zeros((2, 2)),
        hair=bald,
        body_from_head=np.eye(3),
        light=flat,
        things=(),
    )
    return replace(scene, **changed)


@pytest.fixture
def renderer(plain_portrait: Plain) -> HeadRenderer:
    return HeadRenderer([plain_portrait()], 192)


def _render(renderer: HeadRenderer, scene: Scene, seed: int = 0):
    return renderer.render(scene, "test/0/0", np.random.default_rng(seed))


@pytest.mark.parametrize("landmark", [NOSE_TIP, 61, 291, 10, 152])
def test_a_mark_on_the_skin_is_where_its_label_projects(
    head: HeadAssets, plain_portrait: Plain, landmark: int
) -> None:
    """The mark's middle, to 0.1 px, as the plain rasterizer draws it with the labels alone."""
    corners = head.landmark_468_vertex_ids[landmark]
    around = np.linalg.norm(
        head.template_vertices_m - head.template_vertices_m[corners].mean(0), axis=1
    )
    fill = np.where((around < 0.008)[:, None], [250.0, 0.0, 0.0], [0.0, 80.0, 0.0])
    renderer = HeadRenderer([plain_portrait(fill_rgb=fill)], 320)
    scene = _scene(15.0, t_cam_from_head_m=np.array([0.1, 0.05, 0.4]))
    made = _render(renderer, scene)
    column, row = np.floor(made.landmarks_468_px()[landmark]).astype(int)
    assert made.visible_468[landmark] and made.image_rgb[row, column, 0] > 100
    T = T_HEAD_FROM_TRG_MINI
    vertices = head.template_vertices_m @ T[:3, :3].T + T[:3, 3]
    vertices = vertices @ made.R_cam_from_head.T + made.t_cam_from_head_mm / 1000.0
    plain = rasterize(vertices, head.triangles, made.camera)
    expected = np.zeros((320, 320))
    expected[plain.rows, plain.columns] = plain.interpolate(head.triangles, fill)[:, 0]
    near = (slice(row - 24, row + 25), slice(column - 24, column + 25))
    found = made.image_rgb[near][..., 0] * (made.image_rgb[near][..., 1] < 70.0)
    gap = _middle(found) - _middle(expected[near] * (expected[near] > 32.0))
    assert np.linalg.norm(gap) < 0.1


@pytest.mark.parametrize("landmark", [58, 288])
def test_a_bent_neck_takes_the_labels_of_the_jaw_along(
    head: HeadAssets, plain_portrait: Plain, landmark: int
) -> None:
    """The skin at the jaw's corner follows the neck a little: the label lies where it is drawn."""
    near = np.linalg.norm(
        head.template_vertices_m - head.landmarks_468_m(head.template_vertices_m)[landmark], axis=1
    )
    fill = np.where((near < 0.008)[:, None], [250.0, 0.0, 0.0], [0.0, 80.0, 0.0])
    renderer = HeadRenderer([plain_portrait(fill_rgb=fill)], 320)
    side = -60.0 if landmark == 58 else 60.0
    body = Rotation.from_euler("YX", [55, 30], degrees=True).as_matrix()
    straight, bent = (
        _render(renderer, _scene(side, body_from_head=turn)) for turn in (np.eye(3), body)
    )
    moved_mm = 1000 * (bent.landmarks_468_head_m - straight.landmarks_468_head_m)[landmark]
    assert np.linalg.norm(moved_mm) > 3
    gaps_mm = []
    for made in (straight, bent):
        red = (made.mask > 0) & (made.image_rgb[..., 0] > 100) & (made.image_rgb[..., 1] < 70)
        gap_px = _middle(red.astype(float)) + 0.5 - made.landmarks_468_px()[landmark]
        gaps_mm.append(gap_px * made.t_cam_from_head_mm[2] / made.camera.fx_px)
    assert np.linalg.norm(gaps_mm[1] - gaps_mm[0]) < 2.0, "mark and label move together"


def _middle(weight: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(weight.shape)
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


def test_landmarks_lie_on_the_rendered_surface(renderer: HeadRenderer) -> None:
    made = _render(renderer, _scene(30.0))
    seen = np.flatnonzero(made.visible_468)
    assert len(seen) > 250
    landmarks = made.landmarks_468_head_m @ made.R_cam_from_head.T + made.t_cam_from_head_mm / 1e3
    column, row = np.floor(made.landmarks_468_px()[seen]).astype(int).T
    gap = landmarks[seen, 2] - made.depth_m[row, column]
    assert np.median(np.abs(gap)) < 0.0008 and np.quantile(np.abs(gap), 0.9) < 0.004
    hidden = np.flatnonzero(~made.visible_468)
    column, row = np.floor(made.landmarks_468_px()[hidden]).astype(int).T
    assert (landmarks[hidden, 2] > made.depth_m[row, column]).all()


def test_the_mask_is_where_there_is_depth(renderer: HeadRenderer) -> None:
    made = _render(renderer, _scene())
    assert ((made.depth_m > 0) == (made.mask == 255)).all()
    assert 0.15 < (made.mask > 0).mean() < 0.6
    points = made.landmarks_468_px()
    assert np.ptp(points, 0).max() == pytest.approx(96, abs=0.5)  # half of the picture's side


def test_turning_the_subject_to_its_left_shows_its_right_side(renderer: HeadRenderer) -> None:
    left, right = _render(renderer, _scene(50.0)), _render(renderer, _scene(-50.0))
    assert left.visible_468[RIGHT_EYE] != left.visible_468[LEFT_EYE] or (
        left.visible_468[234] != left.visible_468[454]
    )
    assert left.visible_468[234] != right.visible_468[234]


def test_things_hide_what_they_cover(renderer: HeadRenderer) -> None:
    masked = _render(renderer, _scene(things=("mask",)))
    assert not masked.visible_468[MOUTH] and masked.visible_468[10]
    assert _render(renderer, _scene()).visible_468[MOUTH]
    assert masked.tags == ("bald", "mask")


def test_negatives_have_no_labels(renderer: HeadRenderer) -> None:
    made = _render(renderer, _scene(negative="background"))
    assert not made.is_face and not made.visible_468.any() and (made.mask == 0).all()
    assert (made.landmarks_468_head_m == 0).all() and (made.t_cam_from_head_mm == 0).all()
    back = _render(renderer, _scene(180.0, negative="back of a head"))
    assert not back.is_face and (back.mask > 0).mean() > 0.1


def test_a_seed_gives_one_picture(renderer: HeadRenderer) -> None:
    scene = _scene(20.0, things=("glasses",))
    first, again, other = (_render(renderer, scene, seed) for seed in (1, 1, 2))
    assert (first.image_rgb == again.image_rgb).all()
    assert (first.image_rgb != other.image_rgb).any()


def test_eyes_turn_about_themselves(renderer: HeadRenderer, head: HeadAssets) -> None:
    straight = renderer.vertices_m(_scene())
    turned = renderer.vertices_m(_scene(eye_angles_deg=np.array([[30.0, 0.0], [0.0, 0.0]])))
    moved = np.linalg.norm(turned - straight, axis=1)
    left = np.unique(head.triangles_of("eye_l"))
    assert moved[left].max() > 0.004 and np.delete(moved, left).max() == 0
    front = left[straight[left, 2].argmax()]
    assert turned[front, 0] > straight[front, 0]  # yaw is to the subject's left


@pytest.mark.parametrize("kind", ["short", "long", "bun", "cap", "scarf"])
def test_hair_is_outside_the_skin_and_leaves_the_face_free(
    renderer: HeadRenderer, head: HeadAssets, kind: str
) -> None:
    style = HairStyle(kind, 0.012, 0.2, 110.0, 0.0, 8.0, np.array([30.0, 20.0, 10.0]))
    made = _render(renderer, _scene(hair=style))
    bald = _render(renderer, _scene())
    assert made.visible_468[[NOSE_TIP, MOUTH, LEFT_EYE, RIGHT_EYE]].all()
    assert (made.mask > 0).sum() > (bald.mask > 0).sum()
    layers = HairBuilder(head).surfaces(
        style,
        renderer.vertices_m(_scene()),
        np.zeros((len(head.template_vertices_m), 3)),
        np.random.default_rng(0),
    )
    lowest = min(layer.vertices_m[:, 1].min() for layer in layers)
    assert (lowest < -0.15) == (kind in ("long", "scarf"))


def test_it_draws_the_heads_own_vertices(renderer: HeadRenderer, head: HeadAssets) -> None:
    rng = np.random.default_rng(4)
    scene = _scene(
        identity=rng.normal(size=60),
        expression=rng.uniform(0, 1, 52),
        eye_angles_deg=np.array([[20.0, -8.0], [-15.0, 6.0]]),
    )
    weights = dict(zip(head.expression_names, scene.expression, strict=True))
    expected = head.vertices_m(scene.identity, weights, scene.eye_angles_deg)
    assert np.abs(renderer.vertices_m(scene) - expected).max() < 2e-6
