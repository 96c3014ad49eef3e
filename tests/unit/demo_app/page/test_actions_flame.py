"""What the FLAME tab does behind its page: parameters, addresses, sampling, files, animation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo_app.actions.flame_clip import between, interpolated, known_assets, read_fitted
from demo_app.actions.flame_desk import FlameDesk, desk_of, model_message, new_desk
from demo_app.actions.flame_files import arkit_csv, head_file, parameters_npz
from demo_app.actions.flame_parameters import FlameTabError, HeadParameters
from demo_app.actions.flame_route import MAX_MESSAGE_BYTES, build_flame_routes
from demo_app.actions.flame_sampling import mirror_ids, sample
from demo_app.actions.flame_sliders import slider_groups
from demo_app.config import AppConfig
from demo_app.services import Services
from models.flame.assets import FLAME_JOINTS, FlameAssets, open_head_assets
from models.geometry.rotations import geodesic_deg, matrix_from_rotation_vector

TURN = 1


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(AppConfig(cache_dir=tmp_path / "cache", flame_dir=tmp_path / "flame"))


@pytest.fixture
def desk(services: Services) -> FlameDesk:
    return desk_of(services, services.visitors.get("a"))


def smiling(assets: FlameAssets) -> HeadParameters:
    neutral = HeadParameters.neutral(assets)
    expression = neutral.expression.copy()
    expression[assets.expression_names.index("mouthSmileLeft")] = 0.7
    pose = neutral.pose_rad.copy()
    pose[TURN] = 0.4
    return replace(neutral, expression=expression, pose_rad=pose)


def as_flame(name: str = "FLAME 2020") -> FlameAssets:
    """The open head under FLAME's names, without names of expressions."""
    return replace(
        open_head_assets(),
        name=name,
        is_open_head=False,
        expression_names=(),
        joint_names=FLAME_JOINTS,
        joint_parents=np.array([-1, 0, 1, 1, 1]),
    )


def test_every_slider_sets_an_entry_of_its_array_once() -> None:
    for assets in (open_head_assets(), as_flame(), as_flame("FLAME 2023 no jaw")):
        sliders = [one for group in slider_groups(assets) for one in group["sliders"]]
        places = [(one["array"], one["index"]) for one in sliders]
        assert len(set(places)) == len(places)
        for array, index in places:
            assert 0 <= index < len(getattr(HeadParameters.neutral(assets), array))
    titles = [group["title"] for group in slider_groups(open_head_assets())]
    assert titles[0] == "Shape" and titles[-1] == "Global pose" and "Jaw joint" in titles
    assert "Jaw joint" not in [g["title"] for g in slider_groups(as_flame("FLAME 2023 no jaw"))]
    labels = [one["label"] for one in sliders]
    assert "Expression 1" in labels and "Left eye turn" in labels and "Right eye nod" in labels


def test_parameters_must_fit_the_model() -> None:
    assets = open_head_assets()
    message = HeadParameters.neutral(assets).message()
    assert HeadParameters.from_message(assets, message).shape.shape == (60,)
    for change in (
        {"shape": [0.0]},
        {"shape": "x"},
        {"shape": [[0.0] * 60]},
        {"expression": [float("nan")] * 52},
        {"pose_rad": [1e9] * 15},
        {"translation_m": None},
        {"translation_m": [[0, 1], [2]]},
    ):
        with pytest.raises(FlameTabError):
            HeadParameters.from_message(assets, message | change)
    assert len(HeadParameters.of_model(assets, shape=np.zeros(300)).shape) == 60
    with pytest.raises(FlameTabError, match="There are 300 numbers for shape"):
        HeadParameters.of_model(assets, shape=np.ones(300))


def test_the_addresses_answer_the_desk_s_own_visitor(services: Services, desk: FlameDesk) -> None:
    client = TestClient(Starlette(routes=build_flame_routes(services)))
    parameters = smiling(desk.assets)
    message = {"desk": desk.token, **parameters.message()}
    answer = client.post("/studio/flame/mesh", json=message)
    numbers = np.frombuffer(answer.content, "<f4").reshape(-1, 3)
    head = desk.head(parameters)
    assert np.abs(numbers[:-68] - head.vertices_flame_m).max() < 1e-6
    assert np.abs(numbers[-68:] - head.landmarks_68_flame_m).max() < 1e-6
    drawn = client.post("/studio/flame/sample", json=message | {"kind": "shape"}).json()
    assert drawn["expression"] == message["expression"] and drawn["shape"] != message["shape"]
    made = client.post("/studio/flame/file", json=message | {"kind": "obj"})
    assert made.headers["content-disposition"] == 'attachment; filename="head.obj"'
    assert made.content.count(b"\nv ") == 5297
    for wrong, sentence in (
        ({"desk": "unknown"}, "no longer has this head"),
        ({"desk": ["x"]}, "no longer has this head"),
        ({"shape": []}, "shape has shape"),
    ):
        answer = client.post("/studio/flame/mesh", json=message | wrong)
        assert answer.status_code == 400 and sentence in answer.text
    for path in ("sample", "file"):
        answer = client.post(f"/studio/flame/{path}", json=message | {"kind": "../etc/passwd"})
        assert answer.status_code == 400 and answer.text.startswith("There is no")
    for body in (b"[1]", b"{", b"[" * 30000, b" " * (MAX_MESSAGE_BYTES + 1)):
        assert client.post("/studio/flame/mesh", content=body).status_code == 400
    assert client.get("/studio/flame/mesh").status_code == 405


def test_a_desk_goes_with_its_visitor(services: Services) -> None:
    client = TestClient(Starlette(routes=build_flame_routes(services)))
    desk = desk_of(services, services.visitors.get("gone"))
    message = {"desk": desk.token, **HeadParameters.neutral(desk.assets).message()}
    folder = desk.folder
    assert client.post("/studio/flame/mesh", json=message).status_code == 200
    del desk
    services.visitors.close("gone")
    assert client.post("/studio/flame/mesh", json=message).status_code == 400
    assert not folder.exists()


def test_the_open_head_is_never_called_flame(desk: FlameDesk, services: Services) -> None:
    message = model_message(desk, HeadParameters.neutral(desk.assets))
    assert message["title"] == "The open head" and "flame" not in message["name"].lower()
    other = new_desk(services, services.visitors.get("b"), as_flame())
    assert model_message(other, HeadParameters.neutral(other.assets))["title"] == "FLAME 2020"


def test_a_symmetric_head_has_two_equal_halves(desk: FlameDesk) -> None:
    assets, rng = desk.assets, np.random.default_rng(1)
    neutral = HeadParameters.neutral(assets)
    partner = mirror_ids(assets)
    assert (partner >= 0).mean() > 0.99 and (partner[partner[partner >= 0]] >= 0).mean() > 0.99

    def unevenness(parameters: HeadParameters) -> float:
        moved = desk.head(parameters).vertices_flame_m - assets.template_vertices_m
        gaps = moved - moved[partner] * [-1, 1, 1]
        return float(np.linalg.norm(gaps[partner >= 0]) / np.linalg.norm(moved))

    even = sample(assets, neutral, "symmetric", rng, lambda: partner)
    odd = sample(assets, neutral, "shape", rng, lambda: partner)
    assert np.linalg.norm(even.shape) > 0.5 and even.expression.any()
    assert unevenness(even) < 0.15 < 0.25 < unevenness(odd)
    posed = sample(assets, neutral, "pose", rng, lambda: partner).pose_rad.reshape(-1, 3)
    left, right = (assets.joint_names.index(name) for name in ("eye_l", "eye_r"))
    assert np.array_equal(posed[left], posed[right]) and posed[left].any()
    numbered = as_flame()
    flame = HeadParameters.neutral(numbered)
    drawn = sample(numbered, flame, "symmetric", rng, lambda: partner)
    assert drawn.expression.shape == (52,) and drawn.checked(numbered) is drawn


def test_between_two_heads() -> None:
    assets = open_head_assets()
    first, last = HeadParameters.neutral(assets), smiling(assets)
    middle = between(first, last, 0.5)
    assert np.allclose(middle.expression, last.expression / 2)
    R, goal = (matrix_from_rotation_vector(p.pose_rad.reshape(-1, 3)) for p in (middle, last))
    assert geodesic_deg(R[0], goal[0]) == pytest.approx(np.degrees(0.2), abs=1e-6)
    clip = interpolated(first, last, 2.0)
    assert len(clip.frames) == 60
    assert np.allclose(clip.frames[0].pose_rad, 0) and np.allclose(
        clip.frames[30].pose_rad, last.pose_rad, atol=1e-9
    )
    for seconds in (0.0, 1e9, float("nan")):
        with pytest.raises(FlameTabError, match="must last"):
            interpolated(first, last, seconds)


def test_fitted_frames_come_back_and_others_are_refused(tmp_path: Path) -> None:
    ours, flame = open_head_assets(), as_flame()
    frames = [smiling(ours), HeadParameters.neutral(ours)]
    path = tmp_path / "clip.npz"
    path.write_bytes(parameters_npz(ours, frames, 25.0))
    assets, clip = read_fitted(path, lambda name: known_assets(name, flame, ours))
    assert assets is ours and clip.fps == pytest.approx(25.0) and len(clip.frames) == 2
    assert np.array_equal(clip.frames[0].expression, frames[0].expression)
    path.write_bytes(parameters_npz(flame, [HeadParameters.neutral(flame)], 25.0))
    with pytest.raises(FlameTabError, match="of FLAME 2020, the model is the open head"):
        read_fitted(path, lambda name: known_assets(name, ours, ours))
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    for name, array in (
        ("shape", np.array([{}], object)),
        ("shape", np.zeros((7, 3))),
        ("pose_rad", np.full((1, 15), np.nan)),
        ("time_s", np.zeros((1, 2))),
        ("track_id", np.array(1)),
        ("model", np.array("FLAME 2020")),
    ):
        np.savez(path, **arrays | {name: array})
        with pytest.raises(FlameTabError):
            read_fitted(path, lambda name: known_assets(name, flame, ours))


def test_files_of_the_head(desk: FlameDesk, services: Services) -> None:
    parameters = smiling(desk.assets)
    png = head_file(desk, parameters, "png", {"yaw_deg": 20, "pitch_deg": float("inf")})
    assert png.name == "head.png" and png.content.startswith(b"\x89PNG")
    rows = head_file(desk, parameters, "csv").content.decode().splitlines()
    names, values = (line.strip().split(",") for line in rows)
    numbers = dict(zip(names, values, strict=True))
    assert float(numbers["MouthSmileLeft"]) == pytest.approx(0.7)
    assert abs(float(numbers["HeadYaw"])) == pytest.approx(0.4, abs=0.01)
    other = new_desk(services, services.visitors.get("b"), as_flame())
    with pytest.raises(FlameTabError, match="no expression"):
        arkit_csv(other, [HeadParameters.neutral(other.assets)], 30.0)
    glb = head_file(other, HeadParameters.neutral(other.assets), "glb").content
    document = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    assert document["meshes"][0]["extras"]["targetNames"][0] == "expression_001"
