"""Charts' counts against NumPy's, and a model's results joined to the index."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from viewer.index.build_table import publish
from viewer.index.predictions import (
    Prediction,
    PredictionError,
    predicted_keys,
    read_predictions,
    write_predictions,
)
from viewer.index.query import FilterError, Filters, Index, Sort
from viewer.index.stats import histogram, nose_directions, yaw_pitch_density

FILTERS = Filters(ranges={"pitch_deg": (-10.0, 15.0)}, values={"split": ("train",)})


@pytest.fixture(scope="module")
def index(made_up_folder: Path) -> Index:
    return Index(made_up_folder)


def kept(table: pa.Table) -> pa.Table:
    pitch = table["pitch_deg"].to_numpy().astype(np.float32)
    mask = (pitch >= -10) & (pitch <= 15) & (np.array(table["split"].to_pylist()) == "train")
    return table.filter(pa.array(mask))


@pytest.mark.parametrize("column", ["yaw_deg", "distance_mm", "frame", "check_rotation"])
def test_a_histogram_is_numpys(index: Index, made_up_table: pa.Table, column: str) -> None:
    found = histogram(index, column, FILTERS, 37)
    everything = made_up_table[column].drop_null().to_numpy()
    assert (found.edges[0], found.edges[-1]) == (everything.min(), everything.max())
    expected, _ = np.histogram(kept(made_up_table)[column].drop_null().to_numpy(), found.edges)
    assert found.counts.sum() == expected.sum() > 1000
    assert np.abs(found.counts - expected).sum() <= 4  # single precision at the bins' edges


def test_equal_and_absent_numbers_have_histograms_too(
    tmp_path: Path, made_up_table: pa.Table
) -> None:
    publish(made_up_table.slice(0, 80), tmp_path, {}, [], [])
    one = Index(tmp_path)
    found = histogram(one, "width_px", Filters(), 5)
    assert found.counts.sum() == 80 and found.counts.max() == 80
    assert histogram(one, "check_betas_sd", Filters(), 5).counts.size == 0
    with pytest.raises(FilterError):
        histogram(one, "key", Filters())
    with pytest.raises(FilterError):
        histogram(one, "yaw_deg", Filters(), 10**6)


def test_a_density_is_numpys(index: Index, made_up_table: pa.Table) -> None:
    found = yaw_pitch_density(index, FILTERS, mean_of="distance_mm")
    rows = kept(made_up_table)
    pitch, yaw = rows["pitch_deg"].to_numpy(), rows["yaw_deg"].to_numpy()
    distance = rows["distance_mm"].to_numpy(zero_copy_only=False)
    known = np.isfinite(distance)
    edges = [found.pitch_edges_deg, found.yaw_edges_deg]
    expected, _, _ = np.histogram2d(pitch[known], yaw[known], edges)
    np.testing.assert_array_equal(found.counts, expected)
    sums, _, _ = np.histogram2d(pitch[known], yaw[known], edges, weights=distance[known])
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found.mean, sums / expected, rtol=1e-5)
    assert (np.diff(found.yaw_edges_deg) == 5).all() and found.yaw_edges_deg[0] % 5 == 0
    plain = yaw_pitch_density(index, FILTERS)
    assert plain.mean is None and plain.counts.sum() == rows.num_rows


def test_noses_point_where_the_rotation_says(index: Index, made_up_table: pa.Table) -> None:
    rows = kept(made_up_table)
    yaw, pitch = (np.radians(rows[n].to_numpy()) for n in ("yaw_deg", "pitch_deg"))
    expected = -np.stack([np.sin(yaw), np.sin(pitch) * np.cos(yaw), np.cos(pitch) * np.cos(yaw)], 1)
    np.testing.assert_allclose(nose_directions(index, FILTERS, 10**6), expected, atol=1e-6)
    some = nose_directions(index, FILTERS, 50)
    assert some.shape == (50, 3)
    np.testing.assert_allclose(np.linalg.norm(some, axis=1), 1.0)
    assert nose_directions(index, Filters(text="nobody")).shape == (0, 3)


@pytest.fixture
def folder(tmp_path: Path, made_up_table: pa.Table) -> Path:
    (tmp_path / "index").mkdir()
    publish(made_up_table.slice(0, 1000), tmp_path / "index", {}, [], [])
    return tmp_path / "index"


def test_errors_of_a_model_can_be_sorted_filtered_and_charted(
    folder: Path, made_up_table: pa.Table
) -> None:
    keys = made_up_table["key"].to_pylist()[:1000]
    index = Index(folder)
    with pytest.raises(FilterError, match="no stored results"):
        index.page(Filters(), Sort("geodesic_deg"), offset=0, limit=3, model="trg-mini")
    with pytest.raises(FilterError, match="model chosen"):
        index.count(Filters(ranges={"geodesic_deg": (1.0, None)}))
    answers = [
        Prediction(keys[n], np.eye(3), np.array([1.0, 2.0, 3.0]), float(n % 50), None)
        for n in range(0, 1000, 4)
    ]
    assert write_predictions(folder, "trg-mini", answers) == 250
    worst = Sort("geodesic_deg", descending=True)
    page = index.page(Filters(), worst, offset=0, limit=1000, model="trg-mini")
    assert len(page) == 1000 and page[0]["geodesic_deg"] == 48.0
    assert page[0]["key"] == keys[48] and page[0]["t_error_mm"] is None
    assert [row["geodesic_deg"] for row in page[250:]] == [None] * 750
    large = Filters(ranges={"geodesic_deg": (40.0, None)})
    expected = sum(answer.geodesic_deg >= 40 for answer in answers)
    assert index.count(large, model="trg-mini") == expected > 0
    counts = histogram(index, "geodesic_deg", Filters(), 10, model="trg-mini").counts
    assert counts.sum() == 250
    mean = yaw_pitch_density(index, Filters(), model="trg-mini", mean_of="geodesic_deg")
    assert mean.counts.sum() == 250
    write_predictions(folder, "trg-mini", [Prediction(keys[3], None), answers[0]])
    assert index.row(keys[3], "trg-mini")["geodesic_deg"] is None
    write_predictions(folder, "trg-mini", [Prediction(keys[3], np.eye(3), None, 99.0)])
    assert index.page(Filters(), worst, offset=0, limit=1, model="trg-mini")[0]["key"] == keys[3]


def test_predictions_come_back_as_they_were(folder: Path) -> None:
    R = np.diag([1.0, -1.0, -1.0])
    write_predictions(folder, "m", [Prediction("a", R, None, 3.5), Prediction("b", None)])
    write_predictions(folder, "m", [Prediction("c", R, np.array([1.0, 2.0, 3.0]), None, 4.0)])
    found = read_predictions(folder, "m")
    assert set(found) == predicted_keys(folder, "m") == {"a", "b", "c"}
    np.testing.assert_array_equal(found["a"].R_cam_from_head, R)
    assert found["a"].t_cam_from_head_mm is None and found["a"].geodesic_deg == 3.5
    assert found["b"].R_cam_from_head is None and found["c"].t_error_mm == 4.0
    assert set(read_predictions(folder, "m", ["c", "x"])) == {"c"}
    assert read_predictions(folder, "other") == {} and predicted_keys(folder, "other") == set()


@pytest.mark.parametrize("model", ["", "../x", "a/b", "a\\b", ".hidden", "a" * 70, "a\0"])
def test_a_model_name_is_no_path(folder: Path, model: str) -> None:
    with pytest.raises(PredictionError):
        write_predictions(folder, model, [Prediction("a", None)])
    assert not list(folder.parent.glob("x*"))


def test_damaged_results_are_refused(folder: Path) -> None:
    write_predictions(folder, "m", [Prediction("a", None)])
    (folder / "predictions" / "m.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(PredictionError, match="cannot be read"):
        read_predictions(folder, "m")
    with pytest.raises(PredictionError):
        Index(folder).page(Filters(), Sort("geodesic_deg"), offset=0, limit=1, model="m")


def _write_some(folder: Path, writer: int) -> None:
    for n in range(10):
        write_predictions(folder, "m", [Prediction(f"{writer}-{n}", None, None, float(n))])


def test_processes_that_write_results_at_once_lose_nothing(folder: Path) -> None:
    with ProcessPoolExecutor(3, get_context("spawn")) as pool:
        for job in [pool.submit(_write_some, folder, writer) for writer in range(3)]:
            job.result()
    assert len(read_predictions(folder, "m")) == 30
