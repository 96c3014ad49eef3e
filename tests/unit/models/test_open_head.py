"""The bundled head: what the file holds, that it is a head, and what its blendshapes do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.flame.open_head import OPEN_HEAD_PATH, HeadAssets, HeadAssetsError, load_open_head
from models.geometry.rotations import about_x, about_y


@pytest.fixture(scope="module")
def head() -> HeadAssets:
    return load_open_head()


def test_file_is_small_and_holds_no_pickle() -> None:
    assert OPEN_HEAD_PATH.stat().st_size < 2_500_000
    with np.load(OPEN_HEAD_PATH, allow_pickle=False) as file:
        assert all(file[key].dtype != object for key in file.files)


def test_counts(head: HeadAssets) -> None:
    assert head.template_vertices_m.shape == (5297, 3)
    assert head.triangles.shape == (10358, 3)
    assert len(head.shape_directions_m) == 60
    assert len(head.expression_names) == len(set(head.expression_names)) == 52
    assert head.joint_names == ("neck", "head", "jaw", "eye_l", "eye_r")
    parts = ("skin", "eye_l", "eye_r", "teeth_up", "teeth_low", "tongue", "shoulders")
    assert head.part_names == parts
    np.testing.assert_allclose(head.skinning_weights.sum(1), 1.0, atol=2e-3)
    np.testing.assert_allclose(head.landmark_468_weights.sum(1), 1.0, atol=1e-5)


def test_shoulders_come_last_and_hang_on_the_neck(head: HeadAssets) -> None:
    """One surface: the head's vertices first, and every edge of the seam between two triangles."""
    n_head, template = head.head_vertex_count, head.template_vertices_m
    assert n_head == 4834 and len(head.head_triangles) == 9528
    np.testing.assert_array_equal(head.triangles[:9528], head.head_triangles)
    shoulders = head.triangles_of("shoulders")
    assert set(range(n_head, len(template))) <= set(shoulders.ravel().tolist())
    surface = np.concatenate([head.triangles_of("skin"), shoulders])
    edges = np.concatenate([surface[:, [0, 1]], surface[:, [1, 2]], surface[:, [2, 0]]])
    directed = {tuple(edge) for edge in edges.tolist()}
    assert len(directed) == len(edges), "neighbours are wound alike"
    open_ends = [edge for edge in directed if edge[::-1] not in directed]
    assert len(open_ends) > 50 and min(min(edge) for edge in open_ends) >= n_head
    lower = template[n_head:]
    assert 0.30 < np.ptp(lower[:, 0]) < 0.45, "a bust, not whole arms"
    assert lower[:, 1].max() < template[:n_head, 1].min() + 0.05


def test_the_body_turns_the_shoulders_as_one_piece(head: HeadAssets) -> None:
    turn = about_y(30.0) @ about_x(-10.0)
    straight = head.vertices_m(np.linspace(-1, 1, 60), {"jawOpen": 1.0})
    bent = head.with_body_turned(straight, turn)
    joint = head.joint_regressor[0] @ straight
    own = slice(head.head_vertex_count, None)
    np.testing.assert_allclose(bent[own], (straight[own] - joint) @ turn.T + joint, atol=1e-9)
    closed = head.vertices_m(np.linspace(-1, 1, 60))
    np.testing.assert_allclose(straight[own], closed[own], atol=1e-9)


def test_frame_and_size(head: HeadAssets) -> None:
    """x to the subject's left, y up, z out of the face, metres."""
    points = head.landmarks_68_m(head.template_vertices_m)
    eyes, nose_tip, chin = points[36:48].mean(0), points[30], points[8]
    assert nose_tip[2] == points[17:68, 2].max()
    assert eyes[1] > nose_tip[1] > points[48:68, 1].mean() > chin[1]
    subjects_right_eye, subjects_left_eye = points[36:42].mean(0), points[42:48].mean(0)
    assert subjects_left_eye[0] > 0.02 > -0.02 > subjects_right_eye[0]
    assert 0.078 < np.linalg.norm(points[45] - points[36]) < 0.098
    assert points[0, 0] < -0.05 < 0.05 < points[16, 0]
    joints = dict(
        zip(head.joint_names, head.joint_regressor @ head.template_vertices_m, strict=True)
    )
    assert joints["neck"][1] < joints["jaw"][1] < joints["eye_l"][1]
    np.testing.assert_allclose(joints["eye_l"], joints["eye_r"] * [-1, 1, 1], atol=1e-3)


def test_landmarks_are_weighted_vertices(head: HeadAssets) -> None:
    vertices = head.vertices_m(np.array([1.0, -1.0]))
    points_468, points_68 = head.landmarks_468_m(vertices), head.landmarks_68_m(vertices)
    for landmark, number in ((30, 4), (8, 152), (36, 33), (45, 263), (57, 17)):
        assert head.landmark_68_of_468[landmark] == number
        ids = head.landmark_468_vertex_ids[head.landmark_68_of_468[landmark]]
        weights = head.landmark_468_weights[head.landmark_68_of_468[landmark]]
        expected = sum(w * vertices[i] for i, w in zip(ids, weights, strict=True))
        np.testing.assert_allclose(points_68[landmark], expected, atol=1e-12)
    np.testing.assert_array_equal(points_68, points_468[head.landmark_68_of_468])


def test_template_is_symmetric(head: HeadAssets) -> None:
    points = head.landmarks_468_m(head.template_vertices_m)
    mirrored = points * [-1, 1, 1]
    nearest = np.linalg.norm(points[:, None] - mirrored[None], axis=-1).min(1)
    assert np.median(nearest) < 0.001


def test_triangles_face_outwards(head: HeadAssets) -> None:
    """The skin's signed volume, and that of each eye, is positive."""
    for part in ("skin", "eye_l", "eye_r"):
        corners = head.template_vertices_m[head.triangles_of(part)]
        corners = corners - corners.mean((0, 1))
        volume_l = 1000 * np.linalg.det(corners).sum() / 6
        assert volume_l > (2.0 if part == "skin" else 0.003), part


def test_shape_is_linear_and_truncates(head: HeadAssets) -> None:
    coefficients = np.array([1.5, -0.5, 0.25])
    expected = head.template_vertices_m + sum(
        c * d for c, d in zip(coefficients, head.shape_directions_m, strict=False)
    )
    np.testing.assert_allclose(head.vertices_m(coefficients), expected, atol=1e-12)
    np.testing.assert_array_equal(head.vertices_m(), head.template_vertices_m)


def test_shape_unit_is_a_standard_deviation(head: HeadAssets) -> None:
    np.testing.assert_allclose(head.shape_samples.std(0), 1.0, atol=1e-3)
    np.testing.assert_allclose(head.shape_samples.mean(0), 0.0, atol=1e-3)


# expression -> (landmark of the 68, axis, sign of its movement)
MOVEMENTS = {
    "jawOpen": (8, 1, -1),
    "mouthSmileLeft": (54, 1, 1),
    "mouthSmileRight": (48, 1, 1),
    "browInnerUp": (21, 1, 1),
    "eyeBlinkLeft": (43, 1, -1),
    "eyeBlinkRight": (37, 1, -1),
    "mouthPucker": (57, 2, 1),
}


@pytest.mark.parametrize("name", MOVEMENTS)
def test_expression_moves_its_landmark(head: HeadAssets, name: str) -> None:
    landmark, axis, sign = MOVEMENTS[name]
    neutral = head.landmarks_68_m(head.vertices_m())
    moved = head.landmarks_68_m(head.vertices_m(expression={name: 1.0}))
    assert sign * (moved - neutral)[landmark, axis] > 0.0015
    if name.endswith(("Left", "Right")):
        other_side = {54: 48, 48: 54, 43: 38, 37: 44}[landmark]
        assert np.abs((moved - neutral)[other_side]).max() < 0.001
    half = head.landmarks_68_m(head.vertices_m(expression={name: 0.5}))
    np.testing.assert_allclose(half, (neutral + moved) / 2, atol=1e-12)


def test_eyes_turn_about_their_joints(head: HeadAssets) -> None:
    """Yaw to the subject's left, pitch upwards, each eye for itself; nothing else moves."""
    straight = head.vertices_m()
    turned = head.vertices_m(eye_angles_deg=np.array([[30.0, 0.0], [0.0, 20.0]]))
    moved = np.flatnonzero(np.abs(turned - straight).max(1) > 1e-9)
    eyes = [np.unique(head.triangles_of(part)) for part in ("eye_l", "eye_r")]
    assert np.isin(moved, np.concatenate(eyes)).all()
    for joint, ids, gaze in (
        (3, eyes[0], (np.sin(np.pi / 6), 0.0, np.cos(np.pi / 6))),
        (4, eyes[1], (0.0, np.sin(np.pi / 9), np.cos(np.pi / 9))),
    ):
        centre = head.joint_regressor[joint] @ straight
        before, after = straight[ids] - centre, turned[ids] - centre
        np.testing.assert_allclose(
            np.linalg.norm(after, axis=1), np.linalg.norm(before, axis=1), atol=1e-9
        )
        R = np.linalg.lstsq(before, after, rcond=None)[0].T
        np.testing.assert_allclose(R @ [0.0, 0.0, 1.0], gaze, atol=1e-6)


def test_unknown_expression_and_too_many_coefficients(head: HeadAssets) -> None:
    with pytest.raises(HeadAssetsError, match="jawOpen"):
        head.vertices_m(expression={"grin": 1.0})
    with pytest.raises(HeadAssetsError, match="60"):
        head.vertices_m(np.zeros(61))


def test_arrays_cannot_be_changed(head: HeadAssets) -> None:
    with pytest.raises(ValueError, match="read-only"):
        head.template_vertices_m[0, 0] = 1.0
    assert head.vertices_m().flags.writeable


def test_ids_out_of_range_are_refused(head: HeadAssets) -> None:
    with pytest.raises(HeadAssetsError, match="triangles"):
        replace(head, triangles=head.triangles + 1)


def test_bad_files_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(HeadAssetsError, match="missing"):
        load_open_head(tmp_path / "no.npz")
    whole = OPEN_HEAD_PATH.read_bytes()
    for name, content in {
        "cut": whole[: len(whole) // 2],
        "page": b"<!DOCTYPE html><html>",
        "empty": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(HeadAssetsError, match="assets/"):
            load_open_head(tmp_path / name)
    np.savez(tmp_path / "other.npz", v_template=np.zeros((3, 3)))
    with pytest.raises(HeadAssetsError, match="assets/"):
        load_open_head(tmp_path / "other.npz")
    np.savez(tmp_path / "pickle.npz", v_template=np.array([{}], dtype=object))
    with pytest.raises(HeadAssetsError, match="assets/"):
        load_open_head(tmp_path / "pickle.npz")
