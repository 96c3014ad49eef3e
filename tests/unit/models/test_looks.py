"""Several looks at one head: their calibration finds what is true, and the estimator uses it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from scipy.spatial.transform import Rotation

from models.estimator import HeadPoseEstimator
from models.face_detection.base import FaceDetections
from models.geometry.cameras import camera_from_horizontal_fov
from models.geometry.rotations import matrix_from_rotation_vector
from models.training.looks_calibration import LookedAt, calibrate_looks
from models.trg.bundle import read_looks, write_bundle, write_looks
from models.trg.checkpoints import CheckpointError
from models.trg.looks import (
    VIEWS,
    LooksCalibration,
    PresenceFactors,
    Spread,
    agreement,
    covariance_of_views,
    presence_of_looks,
    spread_of_views,
)
from models.trg.pose_model import PoseModel, PosePrediction
from models.trg.uncertainty import expected_geodesic_deg
from models.weights import load_pose_model
from tests.unit.models.small_trg import small_basis, small_network

CALIBRATION = LooksCalibration(
    PresenceFactors(1.2, 0.7, 0.0, -0.8), PresenceFactors(1.0, 0.5, 0.3, -4.0), 0.75, 0.4
)


def random_rotations(vectors: np.ndarray) -> np.ndarray:
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape, 3)


def looked(rng: np.random.Generator, is_face: bool, claimed: float, hidden: float) -> LookedAt:
    """Errors that all views share (sigma `claimed`) and those of each view (sigma `hidden`); the
    network claims a little more than the former and knows nothing of the latter."""
    true = Rotation.random(random_state=rng.integers(1 << 30)).as_matrix()
    shared, own = rng.normal(0, claimed, 3), rng.normal(0, hidden, (4, 3))
    R = matrix_from_rotation_vector(own) @ matrix_from_rotation_vector(shared) @ true
    t_m = np.tile([0.0, 0.0, 0.6], (4, 1)) * np.exp(rng.normal(0, 0.01, (4, 1)))
    logit = rng.normal(1.2 if is_face else -1.0, 1.0, 5) + 2.0
    return LookedAt(
        true if is_face else None,
        R if is_face else random_rotations(rng.normal(0, 0.5, (4, 3))),
        t_m,
        np.tile(np.eye(3) * (1.1 * claimed) ** 2, (4, 1, 1)),
        1 / (1 + np.exp(-logit)),
    )


@pytest.fixture(scope="module")
def finds() -> list[LookedAt]:
    """Of the detector: whether they are faces shows in the score alone."""
    rng = np.random.default_rng(3)
    made = [looked(rng, True, 0.03, 0.01) for _ in range(300)]
    right = rng.random(300) < 0.8
    return [
        replace(one, R_true=one.R_true if r else None, score=rng.normal(0.9 if r else 0.6, 0.05))
        for one, r in zip(made, right, strict=True)
    ]


@pytest.fixture(scope="module")
def sources() -> list[list[LookedAt]]:
    rng = np.random.default_rng(0)
    heads = [looked(rng, i % 2 == 0, 0.03, 10.0 ** rng.uniform(-2.5, -1.3)) for i in range(3000)]
    return [heads, [looked(rng, False, 0.03, 0.0) for _ in range(500)]]


def test_the_spread_is_that_of_scipy_s_angles() -> None:
    rng = np.random.default_rng(1)
    R = random_rotations(rng.normal(0, 0.2, (4, 3)))
    t_m = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0.55], [0, 0, 0.4]])
    angles = (Rotation.from_matrix(R[1:]) * Rotation.from_matrix(R[0]).inv()).magnitude()
    spread = spread_of_views(R, t_m)
    assert spread.rotation_deg == pytest.approx(np.degrees(np.sqrt((angles**2).mean())))
    assert spread.depth == pytest.approx(np.log(0.5 / 0.4))
    assert spread_of_views(R[:1], t_m[:1]) == Spread(0.0, 0.0)
    assert agreement(Spread(1.0, 0.01), None) > 0.8 > 0.1 > agreement(Spread(30.0, 0.01), None)
    assert agreement(Spread(9.0, 0.01), 0.999) > agreement(Spread(9.0, 0.01), 0.8)


def test_presence_and_covariance_are_what_the_formula_says() -> None:
    presence, spread = np.array([0.9, 0.8]), Spread(10.0, 0.06)  # a disagreement of 2
    logit = 1.2 * (np.log(9) + np.log(4)) / 2 - 0.7 * np.log(3.0) - 0.8
    found = presence_of_looks(presence, spread, None, CALIBRATION)
    assert found == pytest.approx(1 / (1 + np.exp(-logit)))
    logit = (np.log(9) + np.log(4)) / 2 - 0.5 * np.log(3.0) + 0.3 * np.log(4.0) - 4.0
    detected = presence_of_looks(presence, spread, 0.8, CALIBRATION)
    assert detected == pytest.approx(1 / (1 + np.exp(-logit)))
    assert presence_of_looks(np.array([1.0, 1.0]), spread, None, CALIBRATION) < 1.0
    R = random_rotations(np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.2, 0]]))
    claimed = np.stack([np.eye(3), 2 * np.eye(3), 3 * np.eye(3)]) * 0.01
    wanted = 0.75 * 0.02 * np.eye(3) + 0.4 * np.diag([0.005, 0.02, 0.0])
    assert np.allclose(covariance_of_views(R, claimed, CALIBRATION), wanted)


def test_calibration_makes_the_claims_true(
    sources: list[list[LookedAt]], finds: list[LookedAt]
) -> None:
    found = calibrate_looks(sources, finds)
    faces = [one for one in sources[0] if one.R_true is not None]
    squared = []
    for one in faces:
        error = Rotation.from_matrix(one.R_true @ one.R[0].T).as_rotvec()
        C = covariance_of_views(one.R, one.claimed, found)
        squared.append(error @ np.linalg.solve(C, error))
    assert np.mean(np.array(squared) < 3.53) == pytest.approx(0.683, abs=0.04)
    assert np.mean(np.array(squared) < 8.02) == pytest.approx(0.954, abs=0.02)
    assert found.spread_factor > 0.3, "what differs between the views is the error here"
    of = [
        [presence_of_looks(o.presence, spread_of_views(o.R, o.t_m), o.score, found) for o in group]
        for group in (faces, [o for s in sources for o in s if o.R_true is None])
    ]
    assert np.mean(np.array(of[0]) < 0.5) < 0.06 and np.mean(np.array(of[1]) > 0.5) < 0.06
    single = [np.mean([o.presence[0] > 0.5 for o in group]) for group in sources[1:]]
    assert single[0] > 0.7, "a single look takes most of them for faces"
    assert found.crop.score == 0.0 and found.find.score > 1.0


def test_too_few_are_refused(sources: list[list[LookedAt]], finds: list[LookedAt]) -> None:
    with pytest.raises(ValueError, match="too few crops"):
        calibrate_looks([sources[0][:150]], finds)
    with pytest.raises(ValueError, match="too few finds"):
        calibrate_looks(sources, finds[:60])


def test_a_calibration_is_kept_in_the_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_bundle(path, small_network(), small_basis().bundle_arrays(), {"origin": "a test"})
    assert read_looks(path) is None
    before = _tensors(path)
    write_looks(path, CALIBRATION)
    assert read_looks(path) == CALIBRATION
    after = _tensors(path)
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)
    with safe_open(str(path), framework="pt") as file:
        assert file.metadata()["origin"] == "a test"
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "3", "{}", '{"crop": {}, "find": {}}'),
        CALIBRATION.to_json().replace("1.2", "NaN"),
        CALIBRATION.to_json().replace("0.75", '"much"'),
        CALIBRATION.to_json().replace('"spread_factor"', '"more": 1, "spread_factor"'),
    ],
)
def test_a_damaged_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "w.safetensors"
    write_bundle(path, small_network(), small_basis().bundle_arrays(), {"looks": text})
    with pytest.raises(CheckpointError, match="Get the file again"):
        read_looks(path)


class NoDetector:
    def detect(self, image_rgb: np.ndarray) -> FaceDetections:
        raise AssertionError("not asked for")


class OneSaying(PoseModel):
    """A network whose views say what they are told."""

    name, typical_error_deg = "made up", 4.0
    landmark_68_ids = np.zeros(68, int)

    def __init__(self, looks: LooksCalibration | None, presence: float, spread_deg: float) -> None:
        self.looks, self.presence, self.spread_deg = looks, presence, spread_deg

    def predict(self, _: Any, __: Any, boxes: np.ndarray, mirror: Any, turn_deg: Any) -> Any:
        n = len(boxes)
        vectors = np.zeros((n, 3))
        vectors[1:, 1] = np.radians(self.spread_deg)
        R = random_rotations(vectors)
        return PosePrediction(
            R,
            np.tile([0.0, 0, 0.6], (n, 1)),
            np.zeros((n, 5, 3)),
            R[None],
            np.full(n, self.presence),
            np.tile(np.eye(3) * np.radians(3.0) ** 2, (n, 1, 1)),
            np.full((n, 3), 0.01),
        )


def test_views_that_differ_make_the_answer_less_sure_not_no_face() -> None:
    """A hard head: the network is sure of the face, its views differ by 12 degrees."""
    camera, image = camera_from_horizontal_fov((64, 64)), np.zeros((64, 64, 3), np.uint8)
    box = np.array([[0.0, 0.0, 0.3]])

    def answer(looks: LooksCalibration | None, presence: float, views: np.ndarray = VIEWS) -> Any:
        estimator = HeadPoseEstimator(OneSaying(looks, presence, 12.0), NoDetector())
        return estimator.predict_boxes(image, camera, box, passes=1, views=views)[0]

    sure, unsure = answer(CALIBRATION, 0.999), answer(CALIBRATION, 0.6)
    assert sure.confidence > 0.9 and unsure.confidence < 0.5
    claim_deg = float(expected_geodesic_deg(np.eye(3) * np.radians(3.0) ** 2))
    assert sure.uncertainty_deg > 1.2 * claim_deg
    assert sure.uncertainty_source == "the network and its views"
    assert sure.uncertainty_deg == pytest.approx(
        float(expected_geodesic_deg(sure.rotation_covariance_cam))
    )
    unknown, alone = answer(None, 0.999), answer(CALIBRATION, 0.999, VIEWS[:1])
    assert unknown.confidence < 0.5, "not calibrated: the contradiction overrules the network"
    assert unknown.uncertainty_deg == pytest.approx(claim_deg)
    assert alone.confidence == pytest.approx(0.999)
    assert alone.uncertainty_source == "the network itself"


class KnowsUprightHeads(PoseModel):
    """Understands a head that hangs upside down only in a crop that is turned by 180 degrees."""

    name, typical_error_deg, looks = "made up", 4.0, CALIBRATION
    landmark_68_ids = np.zeros(68, int)

    def __init__(self, upside_down: bool) -> None:
        self.upside_down, self.crops = upside_down, 0

    def predict(
        self, _: Any, __: Any, boxes: np.ndarray, mirror: Any = 0, turn_deg: Any = 0
    ) -> Any:
        n = len(boxes)
        self.crops += n
        turned = np.abs(np.broadcast_to(turn_deg, (n,))) == 180.0
        sigma = np.radians(np.where(turned == self.upside_down, 1.0, 15.0))
        R = np.where(turned[:, None, None], np.diag([-1.0, -1.0, 1.0]), np.eye(3))
        return PosePrediction(
            R,
            np.tile([0.0, 0, 0.6], (n, 1)),
            np.zeros((n, 5, 3)),
            R[None],
            np.where(turned == self.upside_down, 0.999, 0.9),
            np.eye(3) * sigma[:, None, None] ** 2,
            np.full((n, 3), 0.01),
        )

    def ray_box_of(self, vertices_cam_m: np.ndarray) -> np.ndarray:
        return np.array([0.0, 0.0, 0.3])

    def upright_turn_deg(self, R_cam_from_head: np.ndarray, t_cam_from_head: np.ndarray) -> Any:
        return np.where(R_cam_from_head[:, 0, 0] < 0, 180.0, 0.0)


@pytest.mark.parametrize(("upside_down", "crops"), [(False, 1 + 4), (True, 5 + 4 + 3 + 3 * 4)])
def test_a_head_that_is_not_understood_is_looked_at_the_other_way_up(
    upside_down: bool, crops: int
) -> None:
    model = KnowsUprightHeads(upside_down)
    camera, image = camera_from_horizontal_fov((64, 64)), np.zeros((64, 64, 3), np.uint8)
    estimator = HeadPoseEstimator(model, NoDetector())
    (pose,) = estimator.predict_boxes(image, camera, np.array([[0.0, 0.0, 0.3]]))
    assert (pose.R_cam_from_head[0, 0] < 0) == upside_down
    assert pose.uncertainty_deg < 2.0 and model.crops == crops
    estimator.predict_boxes(image, camera, np.array([[0.0, 0.0, 0.3]]), passes=1)
    assert model.crops == crops + 4, "a face that is followed gets no second thoughts"


class SurerAtTheThirdLook(KnowsUprightHeads):
    """Whose first five crops tell it little; later ones more, if it may learn."""

    def __init__(self, learns: bool) -> None:
        super().__init__(upside_down=False)
        self.learns = learns

    def predict(self, *arguments: Any, **choices: Any) -> Any:
        found = super().predict(*arguments, **choices)
        if self.crops > 5 and self.learns:
            return found
        return replace(
            found,
            presence=np.full(len(found.presence), 0.7),
            rotation_covariance_cam=100.0 * found.rotation_covariance_cam,
        )


def test_a_third_look_refines_the_pose_and_says_nothing_of_presence() -> None:
    camera, image = camera_from_horizontal_fov((64, 64)), np.zeros((64, 64, 3), np.uint8)
    poses = []
    for learns in (False, True):
        estimator = HeadPoseEstimator(SurerAtTheThirdLook(learns), NoDetector())
        poses += estimator.predict_boxes(image, camera, np.array([[0.0, 0.0, 0.3]]))
    without, with_third = poses
    assert with_third.uncertainty_deg < 2.0 < 8.0 < without.uncertainty_deg
    assert with_third.confidence == pytest.approx(without.confidence)


def test_a_roll_that_is_not_understood_does_not_turn_the_next_crop() -> None:
    estimator = HeadPoseEstimator(load_pose_model("trg-mini", device="cpu"), NoDetector())
    camera, image = camera_from_horizontal_fov((64, 64)), np.zeros((64, 64, 3), np.uint8)
    (pose,) = estimator.predict_boxes(image, camera, np.array([[0.0, 0.0, 0.3]]))
    R = Rotation.from_euler("z", 50, degrees=True).as_matrix()
    known = replace(
        pose,
        R_cam_from_head=R,
        t_cam_from_head_mm=np.array([0.0, 0, 600]),
        confidence=0.99,
        uncertainty_deg=4.0,
    )
    assert estimator.roll_from_pose(known) == pytest.approx(50.0, abs=0.01)
    assert estimator.roll_from_pose(replace(known, uncertainty_deg=30.0)) == 0.0
    assert estimator.roll_from_pose(replace(known, confidence=0.6)) == 0.0


def _tensors(path: Path) -> dict[str, Any]:
    with safe_open(str(path), framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def test_the_shipped_weights_know_how_looks_count() -> None:
    assert load_pose_model("trg-mini", device="cpu").looks is not None
