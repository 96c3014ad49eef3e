"""Full heads of pictures and videos: drawn, in the 3D view, and as files that are read again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import trimesh

from demo_app.actions.full_head import export_video_heads
from demo_app.actions.head_drawing import with_full_heads
from demo_app.actions.options import PoseOptions
from demo_app.actions.predict_picture import PICTURE, NothingToDoError, predict_picture
from demo_app.actions.predict_video import VIDEO, predict_video
from demo_app.actions.view_update import build_view, restyle
from demo_app.inference.full_heads import FullHeads
from demo_app.inference.live_link import (
    ARKIT_COLUMNS,
    HEADER,
    FaceMoment,
    LiveLinkError,
    timecode,
    write_live_link_csv,
)
from demo_app.services import Services, Visitor
from models.flame.assets import open_head_assets
from models.flame.flame_files import FlameFileError
from models.flame.layer import FlameLayer
from models.flame.open_head import load_open_head
from models.geometry.rotations import about_x, about_y, about_z

HEAD = PoseOptions(mesh="head")


@pytest.fixture
def world(head_world: Any, straight_path: Any) -> Any:
    """Two open heads as trg-mini sees them, 1 nearer and turned, with a smile."""
    head = load_open_head()
    own_m = head.landmarks_468_m(
        head.vertices_m(head.shape_samples[2], {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7})
    )
    T = open_head_assets().T_head_from_flame
    made = head_world(
        {
            "near": straight_path((-130.0, 0.0, 700.0), yaw_deg=20.0),
            "far": straight_path((190.0, -30.0, 1000.0), (20.0, 0.0, 0.0)),
        },
        noise=0.0,
        mesh=own_m @ T[:3, :3].T + T[:3, 3],
        landmark_68_ids=head.landmark_68_of_468,
    )
    made.detector = type("Detector", (), {"detect": lambda _, image, **__: made.detect(image)})()
    mesh = type("Mesh", (), {"template_vertices_m": made.mesh})
    made.model = type("Model", (), {"label": "made-up (test)", "mesh": mesh})
    return made


def shown_vertices_m(npz: Path) -> np.ndarray:
    """The layer's heads for the parameters of a file; in glTF's axes."""
    with np.load(npz, allow_pickle=False) as file:
        names = ("shape", "expression", "pose_rad", "translation_m")
        parameters = [torch.tensor(file[name]) for name in names]
    layer = FlameLayer(open_head_assets(), dtype=torch.float64)
    return layer(*parameters).vertices_flame_m.numpy()


def test_no_shoulders_are_drawn_over_a_photo(
    services: Services, visitor: Visitor, photo: Path, world: Any
) -> None:
    """Their turn under the head is not known; the files have them."""
    predict_picture(services, visitor, str(photo), "stripes.png", HEAD)
    frame = visitor.results[PICTURE].frame(0, with_picture=True)
    shown = with_full_heads(frame, HEAD, visitor.full_heads)
    assert len(shown.heads) == 2
    below = load_open_head().head_vertex_count
    assert shown.head_triangles.max() < below < len(shown.heads[0].fit.vertices_cam_m)


def test_the_heads_of_a_picture_as_shown_and_as_files(
    services: Services, visitor: Visitor, photo: Path, world: Any
) -> None:
    predict_picture(services, visitor, str(photo), "stripes.png", HEAD)
    view = build_view(visitor, PICTURE, 0, HEAD)
    assert view.heads is not None and "open head" in view.heads.note and "mm" in view.heads.note
    assert "Drawn by" in view.heads.note
    files = view.heads.files
    wanted = shown_vertices_m(files["npz"])
    assert wanted.shape == (2, 5297, 3)
    true_m = world.mesh  # the far head is not turned
    found = load_open_head().landmarks_468_m(wanted[1]) * [1, -1, -1]
    off_mm = 1000 * np.linalg.norm(found - true_m - found.mean(0) + true_m.mean(0), axis=1)
    assert off_mm.mean() < 0.5

    for kind, tolerance in (("obj", 2e-7), ("ply", 1e-6)):
        read = trimesh.load(files[kind], force="mesh", process=False, maintain_order=True)
        np.testing.assert_allclose(read.vertices, wanted.reshape(-1, 3), atol=tolerance)
    glb = files["glb"].read_bytes()
    document = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    scene = trimesh.load(files["glb"])
    for k, mesh in enumerate(document["meshes"]):
        assert mesh["extras"]["targetNames"] == list(open_head_assets().expression_names)
        T, name = scene.graph[f"head_{k + 1}"]
        offsets = _targets(document, glb, mesh)
        own = scene.geometry[name].vertices + np.tensordot(mesh["weights"], offsets, 1)
        np.testing.assert_allclose(own @ T[:3, :3].T + T[:3, 3], wanted[k], atol=2e-6)


def _targets(document: dict, glb: bytes, mesh: dict) -> np.ndarray:
    data = glb[28 + int.from_bytes(glb[12:16], "little") :]
    found = []
    for target in mesh["primitives"][0]["targets"]:
        one = document["accessors"][target["POSITION"]]
        start = document["bufferViews"][one["bufferView"]]["byteOffset"]
        found.append(np.frombuffer(data, "<f4", 3 * one["count"], start).reshape(-1, 3))
    return np.array(found)


def test_another_style_changes_the_picture_and_the_3d_view(
    services: Services, visitor: Visitor, photo: Path
) -> None:
    predict_picture(services, visitor, str(photo), "stripes.png", PoseOptions())
    plain = build_view(visitor, PICTURE, 0, PoseOptions())
    assert plain.heads is None
    heads = restyle(visitor, PICTURE, 0, HEAD)
    pictures = [cv2.imread(str(one.picture)).astype(int) for one in (plain.drawing, heads.drawing)]
    changed = np.abs(pictures[0] - pictures[1]).max(2) > 40
    assert 0.02 < changed.mean() < 0.5 and "full head" in heads.drawing.legend
    assert len(heads.figure) > 2 * len(plain.figure) and heads.heads is not None
    mirrored = restyle(visitor, PICTURE, 0, HEAD._replace(mirror=True, layers=()))
    flipped = cv2.imread(str(mirrored.drawing.picture)).astype(int)[:, ::-1]
    bare = cv2.imread(str(restyle(visitor, PICTURE, 0, HEAD._replace(layers=())).drawing.picture))
    assert np.abs(flipped - bare).mean() < 2
    assert restyle(visitor, PICTURE, 0, PoseOptions()).heads is None


def test_a_video_gives_parameters_and_arkits_csv(
    services: Services, visitor: Visitor, make_video: Any
) -> None:
    with pytest.raises(NothingToDoError):
        list(export_video_heads(visitor))
    path = make_video(frames=14, size_wh_px=(640, 480))
    list(predict_video(services, visitor, str(path), "talk.mp4", HEAD))
    annotated = visitor.results[VIDEO].annotated
    assert annotated is not None and annotated.stat().st_size > 0
    made = list(export_video_heads(visitor))[-1]
    assert made.blendshapes.suffix == ".zip" and "28 heads in 14 frames" in made.note
    with np.load(made.parameters, allow_pickle=False) as file:
        assert len(file["shape"]) == 28 and sorted(set(file["track_id"].tolist())) == [1, 2]
        last = [file["shape"][k] for k in np.flatnonzero(file["track_id"] == 1)[-3:]]
        assert file["expression_names"].astype(str).tolist()[0] == "browDownLeft"
    np.testing.assert_array_equal(last[0], last[2])
    with (made.blendshapes.parent / "talk_arkit_1.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == HEADER and len(rows) == 14
    assert rows[3]["Timecode"] == "00:00:00:03.000" and rows[0]["BlendShapeCount"] == "61"
    assert float(rows[5]["MouthSmileLeft"]) > 0.2 and float(rows[5]["JawOpen"]) < 0.2
    assert np.degrees(float(rows[5]["HeadYaw"])) == pytest.approx(20.0, abs=3.0)


def test_the_csv_has_live_links_columns(tmp_path: Path) -> None:
    assert len(HEADER) == 63 and len(set(HEADER)) == 63
    names = [name[0].lower() + name[1:] for name in ARKIT_COLUMNS]
    assert set(names) == set(open_head_assets().expression_names)
    turns = np.stack([about_z(5.0) @ about_y(20.0) @ about_x(-10.0), about_y(8.0), about_y(-8.0)])
    weights = np.linspace(0, 1, 52)
    weights[:14] = 0
    path = write_live_link_csv(
        tmp_path / "a.csv", [FaceMoment(0.5, weights[::-1], turns)], names[::-1], 60.0
    )
    with path.open(newline="") as file:
        header, row = csv.reader(file)
    assert tuple(header) == HEADER and row[0] == "00:00:00:30.000"
    values = np.array(row[2:], float)
    np.testing.assert_allclose(values[:52], weights, atol=1e-8)
    np.testing.assert_allclose(np.degrees(values[52:55]), [-20.0, -10.0, -5.0], atol=1e-5)
    np.testing.assert_allclose(np.degrees(values[[55, 58]]), [-8.0, 8.0], atol=1e-5)
    with pytest.raises(LiveLinkError, match="no expression"):
        write_live_link_csv(tmp_path / "b.csv", [], names[1:], 60.0)


def test_eye_columns_of_the_csv_as_the_app_records_them(tmp_path: Path) -> None:
    """A person who looks up and to the own left; numbers of the size that recordings have."""
    weights = dict.fromkeys(ARKIT_COLUMNS, 0.0)
    weights |= {"EyeLookOutLeft": 0.37, "EyeLookInRight": 0.47}
    weights |= {"EyeLookUpLeft": 0.374, "EyeLookUpRight": 0.369}
    moment = FaceMoment(0.0, np.array(list(weights.values())), np.stack([np.eye(3)] * 3))
    path = write_live_link_csv(tmp_path / "a.csv", [moment], list(weights), 60.0)
    with path.open(newline="") as file:
        row = next(csv.DictReader(file))
    assert float(row["LeftEyeYaw"]) == pytest.approx(-0.22, abs=0.01)
    assert float(row["RightEyeYaw"]) == pytest.approx(-0.28, abs=0.01)
    for side in ("Left", "Right"):
        assert float(row[f"{side}EyePitch"]) == pytest.approx(-0.167, abs=0.005)


@pytest.mark.parametrize(
    ("time_s", "fps", "text"),
    [
        (0.0, 30.0, "00:00:00:00.000"),
        (0.9999999, 30.0, "00:00:01:00.000"),
        (3723.5, 29.97, "01:02:03:14.985"),
    ],
)
def test_timecode(time_s: float, fps: float, text: str) -> None:
    assert timecode(time_s, fps) == text


def test_a_damaged_flame_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "generic_model.pkl").write_bytes(b"not a pickle")
    with pytest.raises(FlameFileError, match="generic_model"):
        _ = FullHeads(tmp_path).assets
