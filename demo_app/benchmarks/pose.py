"""`benchmark pose`: the way from a frame to a pose, end to end and by stage.

End to end is what a user waits for, the detector included: `detect` looks for faces in every frame
as a still picture does; `tracked` follows them as a video does, with the detector at its usual
pace, uncertainty of every frame included.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from demo_app.benchmarks.timing import machine, p50_p95, time_calls_ms
from demo_app.inference.images import read_image
from demo_app.inference.pipeline import FramePipeline
from models.estimator import HeadPoseEstimator
from models.face_detection.mtcnn import MIN_FACE_FRACTION_WEBCAM
from models.geometry.cameras import WEBCAM_HORIZONTAL_FOV_DEG, Camera, camera_from_horizontal_fov
from models.trg.config import TrgConfig
from models.trg.looks import TRACKING_VIEWS
from models.trg.network import Trg
from models.trg.pose_model import PoseMesh, PoseModel
from models.trg.preprocess import cut_crop
from models.weights import MODELS, REPOSITORY_ROOT, describe_models
from viewer.render.overlay import OverlayOptions, build_draw_list, draw_overlay

SIZE_WH_PX = (640, 480)
FACE_CENTRE_PX, FACE_SCALE = (224.0, 118.0), 1.6


def moving_frames(count: int) -> list[np.ndarray]:
    """The bundled photo rocking and shifting in front of a 640x480 camera, RGB."""
    photo = read_image(REPOSITORY_ROOT / "assets" / "examples" / "astronaut.jpg").image_rgb
    frames = []
    for i in range(count):
        phase = 2 * np.pi * i / count
        warp = cv2.getRotationMatrix2D(FACE_CENTRE_PX, 20 * np.sin(phase), FACE_SCALE)
        warp[:, 2] += (
            SIZE_WH_PX[0] / 2 - FACE_CENTRE_PX[0] + 60 * np.sin(2 * phase),
            SIZE_WH_PX[1] / 2 - FACE_CENTRE_PX[1],
        )
        frames.append(cv2.warpAffine(photo, warp, SIZE_WH_PX, borderMode=cv2.BORDER_REPLICATE))
    return frames


def run_pose_benchmark(threads: int = 2, frames: int = 150) -> dict[str, object]:
    """Measure and print; returns what the last line says."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    pictures = moving_frames(frames)
    camera = camera_from_horizontal_fov(SIZE_WH_PX, WEBCAM_HORIZONTAL_FOV_DEG)
    estimator = HeadPoseEstimator.load("trg-mini", device="cpu")
    result: dict[str, object] = {
        "benchmark": "pose",
        "machine": machine(),
        "threads": threads,
        "size_wh_px": list(SIZE_WH_PX),
        "model": "trg-mini",
    }
    result |= _end_to_end(estimator, pictures, camera)
    result["stages_p50_p95_ms"] = _stages(estimator, pictures[0], camera)
    result["trg"] = _released(pictures[0], camera, estimator)
    return result


def _end_to_end(
    estimator: HeadPoseEstimator, pictures: list[np.ndarray], camera: Camera
) -> dict[str, object]:
    detector = estimator.detector.with_min_face_fraction(MIN_FACE_FRACTION_WEBCAM)
    pipeline = FramePipeline(estimator, detector)
    clock = iter(range(10**9))

    def track() -> None:
        i = next(clock)
        found = pipeline.process(pictures[i % len(pictures)], i, i / 30, camera)
        if len(found.faces) != 1:
            raise RuntimeError(f"Frame {i} of the benchmark has {len(found.faces)} faces, not 1.")

    tracked_ms = time_calls_ms(track, len(pictures), budget_s=60)
    clock_still = iter(range(10**9))

    def detect() -> None:
        pipeline.process_still(pictures[next(clock_still) % len(pictures)], camera)

    detect_ms = time_calls_ms(detect, len(pictures), budget_s=40)
    tracked, detected = p50_p95(tracked_ms), p50_p95(detect_ms)
    return {
        "tracked_p50_ms": tracked[0],
        "tracked_p95_ms": tracked[1],
        "detect_p50_ms": detected[0],
        "detect_p95_ms": detected[1],
        "frames_per_s": round(1000.0 / float(tracked_ms.mean()), 1),
        "frames_per_s_detecting": round(1000.0 / float(detect_ms.mean()), 1),
    }


def _stages(
    estimator: HeadPoseEstimator, picture: np.ndarray, camera: Camera
) -> dict[str, tuple[float, float]]:
    pose = estimator.predict(picture, camera)[0]
    box = estimator.ray_box_from_pose(pose)
    webcam_detector = estimator.detector.with_min_face_fraction(MIN_FACE_FRACTION_WEBCAM)
    options = OverlayOptions(mesh="wireframe")

    def draw() -> None:
        shapes = build_draw_list([pose], [1], estimator.triangles, options, SIZE_WH_PX)
        draw_overlay(picture, shapes)

    calls = {
        "detect_still": lambda: estimator.detector.detect(picture),
        "detect_webcam": lambda: webcam_detector.detect(picture),
        "crop": lambda: cut_crop(picture, camera, box, estimator.model.config),
        "network_1_crop": lambda: estimator.model.predict(picture, camera, box[None]),
        "network_2_crops": lambda: estimator.predict_boxes(
            picture, camera, box[None], passes=1, views=TRACKING_VIEWS
        ),
        "draw_wireframe": draw,
    }
    return {name: p50_p95(time_calls_ms(call, 60, budget_s=8)) for name, call in calls.items()}


def _released(
    picture: np.ndarray, camera: Camera, estimator: HeadPoseEstimator
) -> dict[str, object]:
    """Time of the released network: its own weights where they are, random ones elsewhere."""
    present = [s.name for s in describe_models() if s.present and not MODELS[s.name].is_bundled]
    if present:
        model = HeadPoseEstimator.load(present[0], device="cpu").model
        weights = MODELS[present[0]].weights_file
    else:
        model, weights = _untrained_trg(), "random (speed only; the checkpoint is not here)"
    box = estimator.ray_box_from_pose(estimator.predict(picture, camera)[0])[None]
    both = {
        "network_1_crop": lambda: model.predict(picture, camera, box),
        "network_2_crops": lambda: model.predict(
            picture, camera, np.repeat(box, 2, 0), np.array([False, True])
        ),
    }
    timed = {name: p50_p95(time_calls_ms(call, 40, budget_s=12)) for name, call in both.items()}
    return {"weights": weights, "stages_p50_p95_ms": timed}


def _untrained_trg() -> PoseModel:
    config = TrgConfig.released()
    torch.manual_seed(0)
    network = Trg(config, np.linspace(0, config.n_vertices - 1, 305).astype(np.int64))
    mesh = PoseMesh(
        template_vertices_m=np.zeros((config.n_vertices, 3)),
        triangles=np.zeros((0, 3), np.int64),
        landmark_68_ids=np.arange(68),
        mirror_vertex_ids=None,
        crop_vertex_ids=np.arange(68),
        crop_scale=1.5,
    )
    return PoseModel("trg", "TRG, untrained", network, mesh, np.eye(4), torch.device("cpu"))
