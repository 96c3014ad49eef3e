"""One sample on the page: its pose in every convention, its readings, and a model beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo_app.actions import dataset_open
from demo_app.actions.dataset_annotation import (
    SecondPose,
    annotation_of,
    figure_content,
    other_pose,
)
from demo_app.actions.dataset_charts import build_charts
from demo_app.actions.dataset_exports import export_samples
from demo_app.actions.dataset_filters import filter_choices
from demo_app.actions.dataset_model import (
    compare_sample,
    comparison_state,
    model_report,
    start_comparison,
)
from demo_app.actions.dataset_open import open_dataset, start_index
from demo_app.actions.dataset_page import read_page
from demo_app.actions.dataset_picture import picture_jpeg
from demo_app.actions.dataset_sample import conventions_html, play_addresses, view_sample
from demo_app.actions.dataset_shelf import DatasetActionError, shelf_of
from demo_app.services import Services, Visitor
from models.geometry.conventions import CONVENTIONS
from tests.unit.demo_app.page.made_dataset import (
    BROKEN_KEY,
    CAMERA,
    FACE_M,
    FRAMES,
    SIZE,
    T_MM,
    MadeDataset,
)
from viewer.datasets.sample import Sample
from viewer.datasets.source import SampleDetail, SampleMesh
from viewer.index.filters import Filters, Sort
from viewer.index.predictions import read_predictions

KEY, MODEL = "01/frame_00003", "trg-mini"


@pytest.fixture
def opened(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    services.config = replace(services.config, data_dir=tmp_path / "data")
    made = MadeDataset(tmp_path / "hpdb")
    made.write()
    monkeypatch.setattr(dataset_open, "open_registered", lambda name, root: MadeDataset(root))
    monkeypatch.setattr(dataset_open, "INDEX_WORKERS", 0)
    data_id = open_dataset(services, "biwi", str(made.root)).data_id
    start_index(services, data_id)
    assert shelf_of(services).jobs[data_id, "index"].wait(60)
    yield data_id


def test_a_sample_with_all_that_is_known_of_it(services: Services, opened: str) -> None:
    view = view_sample(services, opened, KEY)
    assert view.layers == ("box", "axes", "mesh", "depth")
    assert view.poses == ("", "turned", "other origin")
    assert (view.previous_key, view.next_key) == ("01/frame_00002", "01/frame_00004")
    assert view.frames == FRAMES and view.shown == ("box", "axes")
    assert "&lt;R&gt;" in view.raw_html and "1 2 &amp; 3" in view.raw_html
    figure = json.loads(view.figure)
    assert {"scan", "camera", "depth", "nose"} <= {trace["name"] for trace in figure["data"]}
    played = play_addresses(services, opened, KEY, ("box", "model"), model=MODEL)
    assert [key for key, _ in played] == [f"01/frame_{i:05d}" for i in range(FRAMES)]
    assert all("layers=box&" in address and MODEL in address for _, address in played)
    assert view_sample(services, opened, "01/frame_00000").previous_key is None


def test_every_convention_says_its_own_angles(services: Services, opened: str) -> None:
    detail = shelf_of(services).get(opened).dataset.detail(KEY)
    html = conventions_html(detail)
    R = detail.sample.R_cam_from_head
    for convention in CONVENTIONS.values():
        angles = "".join(f"<td>{angle:.3f}</td>" for angle in convention.ypr_deg(R))
        assert angles.replace("-0.000", "0.000") in html
    assert "-100.0, 0.0, 700.0 mm" in html and "-0.1000, 0.0000, -0.7000 m" in html
    mirrored = replace(detail.sample, R_cam_from_head=np.diag([-1.0, 1.0, 1.0]))
    assert "no rotation" in conventions_html(SampleDetail(mirrored))


def test_a_damaged_sample_does_not_tell_where_it_lies(services: Services, opened: str) -> None:
    with pytest.raises(DatasetActionError, match="is damaged") as caught:
        view_sample(services, opened, BROKEN_KEY)
    assert str(shelf_of(services).get(opened).dataset.root) not in str(caught.value)


def test_another_reading_moves_the_mesh_only_where_it_turns(
    services: Services, opened: str
) -> None:
    detail = shelf_of(services).get(opened).dataset.detail(KEY)
    own = annotation_of(detail, SIZE)
    np.testing.assert_allclose(own.mesh_cam_m, detail.meshes[0].vertices_m)
    turned = annotation_of(detail, SIZE, other_pose(detail, "turned"))
    R = other_pose(detail, "turned").R_cam_from_head
    np.testing.assert_allclose(turned.mesh_cam_m, FACE_M @ R.T + T_MM / 1000, atol=1e-12)
    origin = other_pose(detail, "other origin")
    same = annotation_of(detail, SIZE, origin)
    np.testing.assert_allclose(same.mesh_cam_m, own.mesh_cam_m)
    np.testing.assert_allclose(same.pose.t_cam_from_head_mm, T_MM + 20.0)
    content = figure_content(detail, origin)
    np.testing.assert_allclose(content.meshes[0].vertices_m, own.mesh_cam_m)
    np.testing.assert_allclose(content.t_cam_from_head_m, (T_MM + 20.0) / 1000)


def test_two_meshes_without_a_picture_are_compared() -> None:
    """A registration and a mesh 2 mm behind it."""
    side = np.linspace(-0.1, 0.1, 5)
    plane = np.array([[x, y, 0.0] for y in side for x in side])
    ids = np.arange(25).reshape(5, 5)
    corners = [ids[:-1, :-1], ids[:-1, 1:], ids[1:, :-1], ids[1:, 1:]]
    a, b, c, d = (part.ravel() for part in corners)
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    sample = Sample("mica", "x", "x", None, None, None, None, None, None)
    detail = SampleDetail(
        sample,
        meshes=(
            SampleMesh("registration", "head", plane, triangles),
            SampleMesh("FLAME", "head", plane + np.array([0.0, 0.0, 0.002]), triangles),
        ),
    )
    content = figure_content(detail)
    assert content.side_by_side and content.meshes[0].heat_mm is None
    np.testing.assert_allclose(content.meshes[1].heat_mm, 2.0, atol=1e-9)
    assert annotation_of(detail, (720, 720)).layers() == ("axes", "mesh")


def test_a_label_without_a_camera_shares_its_origin_with_the_models_axes() -> None:
    points = np.random.default_rng(0).uniform(100, 300, (68, 2))
    sample = Sample("300w-lp", "x", "x", b"", None, np.eye(3), None, points, None)
    second = SecondPose(np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 500.0]))
    drawn = annotation_of(SampleDetail(sample), (450, 450), second=second)
    np.testing.assert_array_equal(drawn.second.t_cam_from_head_mm, drawn.pose.t_cam_from_head_mm)
    np.testing.assert_array_equal(drawn.second.K_image_from_cam, drawn.pose.K_image_from_cam)
    assert figure_content(SampleDetail(sample)).is_empty()


def test_a_model_is_measured_against_the_labels(
    services: Services, visitor: Visitor, opened: str, world: Any
) -> None:
    """The made-up network always says 20 degrees of yaw at (-100, 0, 700) mm."""
    assert view_sample(services, opened, KEY, None, model=MODEL).errors_html == ""
    compare_sample(services, opened, KEY, MODEL)
    view = view_sample(services, opened, KEY, None, model=MODEL)
    html = view.errors_html
    assert "model" in view.shown and view.picture.endswith(MODEL)
    assert MODEL not in view_sample(services, opened, KEY, ("axes",), model=MODEL).picture
    folder = shelf_of(services).get(opened).folder
    (stored,) = read_predictions(folder, MODEL).values()
    label = shelf_of(services).get(opened).dataset.read(KEY)
    assert f"{stored.geodesic_deg:.2f}°" in html and f"{stored.t_error_mm:.1f} mm" in html
    assert stored.t_error_mm < 1.0
    drawn = picture_jpeg(services, opened, KEY, ("axes",), model=MODEL)
    plain = [picture_jpeg(services, opened, KEY, layers) for layers in (("axes",), ())]
    assert drawn not in plain and picture_jpeg(services, opened, KEY, (), model=MODEL) not in plain
    filters = Filters(ranges={"yaw_deg": (-20.0, None)})
    start_comparison(services, opened, filters, MODEL)
    assert shelf_of(services).jobs[opened, "model"].wait(60)
    state = comparison_state(services, opened)
    assert state.kind == "done" and "1 had a result already" in state.sentence, state
    report = model_report(services, opened, filters, MODEL)
    assert report.count == len(read_predictions(folder, MODEL)) == 6
    errors = {key: one.geodesic_deg for key, one in read_predictions(folder, MODEL).items()}
    assert report.worst[0].key == max(errors, key=errors.get)
    assert f"{np.mean(list(errors.values())):.2f}°" in report.html
    page = read_page(
        services, opened, Filters(), Sort("geodesic_deg", True), 0, page_size=1, model=MODEL
    )
    assert page.cards[0].key == report.worst[0].key
    assert json.loads(report.bins)["layout"]["meta"]["columns"] == ["yaw_deg", "pitch_deg"]
    assert label.camera is CAMERA
    worst = report.worst[0].key
    bad = Filters(ranges={"geodesic_deg": (errors[worst] - 1e-3, None)})
    choices = {one.column for one in filter_choices(services, opened, MODEL).ranges}
    assert {"geodesic_deg", "t_error_mm"} <= choices
    charts = build_charts(services, opened, bad, MODEL)
    assert len(json.loads(charts.sphere)["data"][1]["customdata"]) == 1
    exported = list(export_samples(services, visitor, opened, bad, "list", model=MODEL))[-1]
    assert exported.read_text() == f"{worst}_rgb.png\n"
    with pytest.raises(DatasetActionError):
        compare_sample(services, opened, BROKEN_KEY, MODEL)


def test_a_model_that_was_not_run_says_so(services: Services, opened: str) -> None:
    report = model_report(services, opened, Filters(), MODEL)
    assert report.count == 0 and not report.is_stored and "not run" in report.html
