"""One model on one sample: what it says, how far that is from the label, what was stored before."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from demo_app.actions.dataset_annotation import SecondPose
from demo_app.actions.views import notice_html
from demo_app.inference.pipeline import PoseEstimator
from models.estimator import DETECTOR_BOX_SCALE, HeadPose
from models.geometry.boxes import ray_box_from_xyxy
from models.geometry.cameras import Camera, camera_from_horizontal_fov
from models.geometry.rotations import geodesic_deg
from models.trg.looks import VIEWS
from viewer.datasets.sample import Sample
from viewer.index.predictions import Prediction, read_predictions

Array = np.ndarray

LEAST_BOX_PX = 8.0


def predict_sample(estimator: PoseEstimator, sample: Sample) -> Prediction:
    """The model looks where the label says that the head is, or where the detector finds one.

    The camera is the data set's where it has one that fits the picture; otherwise the default
    field of view, and the translation is then not kept. One view of the face is looked at twice,
    which gives the answer of the Pose tab. Raises: UnreadablePictureError.
    """
    image_rgb = sample.read_image_rgb()
    size_wh_px = (image_rgb.shape[1], image_rgb.shape[0])
    own = sample.camera is not None and tuple(sample.camera.size_wh_px) == size_wh_px
    camera = sample.camera if own else camera_from_horizontal_fov(size_wh_px)
    pose = _look(estimator, image_rgb, camera, sample.box_xyxy_px)
    if pose is None:
        return Prediction(sample.key, None)
    R, t_mm = pose.R_cam_from_head, pose.t_cam_from_head_mm
    true_R, true_t_mm = sample.R_cam_from_head, sample.t_cam_from_head_mm
    metric = own and true_t_mm is not None
    return Prediction(
        key=sample.key,
        R_cam_from_head=R,
        t_cam_from_head_mm=t_mm if own else None,
        geodesic_deg=None if true_R is None else float(geodesic_deg(R, true_R)),
        t_error_mm=float(np.linalg.norm(t_mm - true_t_mm)) if metric else None,
    )


def _look(
    estimator: PoseEstimator, image_rgb: Array, camera: Camera, box_xyxy_px: Array | None
) -> HeadPose | None:
    box = box_xyxy_px
    if box is not None and np.isfinite(box).all() and (box[2:] - box[:2]).min() >= LEAST_BOX_PX:
        ray_box = ray_box_from_xyxy(camera, box, DETECTOR_BOX_SCALE)
        return estimator.predict_boxes(image_rgb, camera, ray_box[None], views=VIEWS[:1])[0]
    poses = estimator.predict(image_rgb, camera)
    return poses[0] if poses else None


def stored_prediction(folder: Path, model: str, key: str) -> Prediction | None:
    """What the model said of a sample when it was last run. Raises: PredictionError."""
    return read_predictions(folder, model, [key]).get(key) if model else None


def second_pose(found: Prediction | None) -> SecondPose | None:
    """For drawing; None where the model was not run, or saw no head."""
    if found is None or found.R_cam_from_head is None:
        return None
    return SecondPose(found.R_cam_from_head, found.t_cam_from_head_mm)


def errors_html(found: Prediction | None, model: str) -> str:
    """A line with the errors of one sample; "" where the model was not run on it."""
    if found is None:
        return ""
    if found.R_cam_from_head is None:
        return notice_html(f"{model} finds no head in this picture.", "warning")
    parts = [f"<b>{escape(model)}</b>"]
    if found.geodesic_deg is not None:
        parts.append(f"rotation {found.geodesic_deg:.2f}° from the label")
    if found.t_error_mm is not None:
        parts.append(f"position {found.t_error_mm:.1f} mm from the label")
    else:
        parts.append("no metric position to compare")
    return f'<p class="status">{" · ".join(parts)}</p>'
