"""A made-up world of heads with known poses, and videos that are made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from models.estimator import HeadPose
from models.face_detection.base import FaceDetections
from models.geometry.boxes import bounding_box_xyxy, ray_box_from_points, ray_box_from_xyxy
from models.geometry.cameras import Camera, camera_from_horizontal_fov
from models.geometry.rotations import matrix_from_rotation_vector, matrix_from_ypr_300wlp

Array = np.ndarray
Path3 = Callable[[float], tuple[Array, Array] | None]
"""Time in s -> (R_cam_from_head, t_cam_from_head_mm), None while out of sight."""


def _face_mesh() -> Array:
    """(60, 3) metres: the front half of an ellipsoid, 15 cm wide and 20 cm high."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(60, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points[:4] = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]
    points[:, 2] = -abs(points[:, 2])
    return points * [0.075, 0.10, 0.08] + [0, 0, 0.05]


@dataclass
class HeadWorld:
    """Heads that move, seen by an imperfect detector and network.

    As the real network does, the fake one answers with the face that is best seen near the middle
    of a crop, so the crop of a face that goes behind another slides over to the one in front, with
    full confidence. `now_s` is the time of the picture that is being looked at.
    """

    heads: dict[str, Path3]
    size_wh_px: tuple[int, int] = (640, 480)
    noise: float = 1.0
    now_s: float = 0.0
    detections: int = 0
    crops: int = 0
    batches: list[int] = field(default_factory=list)
    name: str = "made-up"
    min_confidence: float = 0.5
    mesh: Array = field(default_factory=_face_mesh)
    triangles: Array = field(default_factory=lambda: np.array([[0, 1, 2], [0, 1, 3]]))
    landmark_68_ids: Array = field(default_factory=lambda: np.arange(68) % 60)

    def __post_init__(self) -> None:
        self.camera = camera_from_horizontal_fov(self.size_wh_px, 60.0)
        self._rng = np.random.default_rng(5)

    def picture(self, time_s: float) -> Array:
        self.now_s = time_s
        width, height = self.size_wh_px
        return np.zeros((height, width, 3), np.uint8)

    def pose(
        self, R: Array, t_mm: Array, camera: Camera, confidence: float, noise: float = 0.0
    ) -> HeadPose:
        R = R @ matrix_from_rotation_vector(noise * self._rng.normal(size=3) * 0.005)
        t_mm = t_mm * (1.0 + noise * self._rng.normal() * 0.01)
        t_mm = t_mm * [1, 1, camera.fx_px / self.camera.fx_px]
        projected = camera.project(self.mesh @ R.T + t_mm / 1000)
        return HeadPose(
            R,
            t_mm,
            camera.K_image_from_cam,
            bounding_box_xyxy(projected),
            confidence,
            2.0,
            "made up",
            self.mesh,
            self.mesh[self.landmark_68_ids],
            self.name,
        )

    def visible(self, camera: Camera) -> list[tuple[str, HeadPose, float]]:
        """(name, true pose, part of its box that no nearer head covers)."""
        now = {name: path(self.now_s) for name, path in self.heads.items()}
        poses = {name: self.pose(*at, camera, 1.0) for name, at in now.items() if at is not None}
        found = []
        for name, pose in poses.items():
            nearer = [
                other.box_xyxy_px
                for other in poses.values()
                if other.t_cam_from_head_mm[2] < pose.t_cam_from_head_mm[2]
            ]
            found.append((name, pose, _uncovered(pose.box_xyxy_px, nearer)))
        return found

    def detect(self, image_rgb: Array) -> FaceDetections:
        self.detections += 1
        camera = camera_from_horizontal_fov((image_rgb.shape[1], image_rgb.shape[0]), 60.0)
        boxes = [pose.box_xyxy_px for _, pose, part in self.visible(camera) if part > 0.55]
        n = len(boxes)
        return FaceDetections(np.reshape(boxes, (n, 4)), np.full(n, 0.99), np.zeros((n, 5, 2)))

    def ray_boxes_from_detections(self, camera: Camera, found: FaceDetections) -> Array:
        crops = [ray_box_from_xyxy(camera, box, 1.4) for box in found.boxes_xyxy_px]
        return np.reshape(crops, (-1, 3))

    def ray_box_from_pose(self, pose: HeadPose) -> Array:
        points = pose.vertices_cam_m()
        return ray_box_from_points(points[:, :2] / points[:, 2:], 1.5)

    def roll_from_pose(self, pose: HeadPose) -> float:
        return 0.0

    def predict_boxes(
        self,
        image_rgb: Array,
        camera: Camera,
        ray_boxes: Array,
        *,
        passes: int = 2,
        views: Array | None = None,
        scores: Array | None = None,
        rolls_deg: Array | None = None,
        average_mirror: bool = False,
    ) -> list[HeadPose]:
        if len(ray_boxes) == 0:
            return []
        self.crops += len(ray_boxes) * passes
        self.batches.append(len(ray_boxes))
        return [self._answer(camera, ray_box) for ray_box in ray_boxes]

    def predict(
        self, image_rgb: Array, camera: Camera | None = None, average_mirror: bool = False
    ) -> list[HeadPose]:
        camera = camera or self.camera
        crops = self.ray_boxes_from_detections(camera, self.detect(image_rgb))
        poses = self.predict_boxes(image_rgb, camera, crops)
        return sorted(poses, key=lambda pose: pose.t_cam_from_head_mm[2])

    def _answer(self, camera: Camera, ray_box: Array) -> HeadPose:
        """A mixture of the faces near the middle of the crop, mostly the one that is seen best."""
        near = []
        for _, pose, part in self.visible(camera):
            at = self.ray_box_from_pose(pose)
            away = np.linalg.norm(at[:2] - ray_box[:2]) / ray_box[2]
            size = abs(np.log(at[2] / ray_box[2]))
            near.append((part * np.exp(-((away / 0.3) ** 2) - (size / 0.6) ** 2), part, pose))
        weight, part, best = max(near, key=lambda one: one[0], default=(0.0, 0.0, None))
        if best is None or weight < 0.05:
            z_m = 0.3 / ray_box[2]
            R = matrix_from_rotation_vector(self._rng.normal(size=3))
            return self.pose(R, np.array([*(ray_box[:2] * z_m), z_m]) * 1000, camera, 0.1)
        shares = np.array([one[0] for one in near]) ** 2
        t_mm = shares / shares.sum() @ np.array([one[2].t_cam_from_head_mm for one in near])
        t_mm = t_mm / [1, 1, camera.fx_px / self.camera.fx_px]
        confidence = float(np.clip(0.2 + part, 0, 0.97))
        return self.pose(best.R_cam_from_head, t_mm, camera, confidence, self.noise)

    def name_at(self, pose: HeadPose) -> str:
        """Whose pose this is: the nearest head."""
        at = {name: path(self.now_s) for name, path in self.heads.items()}
        distances = {
            name: float(np.linalg.norm(place[1] - pose.t_cam_from_head_mm))
            for name, place in at.items()
            if place is not None
        }
        return min(distances, key=distances.__getitem__)


def _uncovered(box: Array, others: list[Array]) -> float:
    x = np.linspace(box[0], box[2], 21)
    y = np.linspace(box[1], box[3], 21)
    covered = np.zeros((21, 21), bool)
    for other in others:
        inside_x, inside_y = (x > other[0]) & (x < other[2]), (y > other[1]) & (y < other[3])
        covered |= inside_y[:, None] & inside_x[None]
    return float(1.0 - covered.mean())


def straight(
    start_mm: tuple[float, float, float],
    velocity_mm_s: tuple[float, float, float] = (0, 0, 0),
    from_s: float = 0.0,
    until_s: float = np.inf,
    yaw_deg: float = 0.0,
) -> Path3:
    """A head on a straight way, in sight from `from_s` until `until_s`."""

    def at(time_s: float) -> tuple[Array, Array] | None:
        if not from_s <= time_s < until_s:
            return None
        place = np.array(start_mm, np.float64) + np.array(velocity_mm_s) * time_s
        return matrix_from_ypr_300wlp(float(yaw_deg), 0.0, 0.0), place

    return at


@pytest.fixture
def head_world() -> type[HeadWorld]:
    return HeadWorld


@pytest.fixture
def straight_path() -> Callable[..., Path3]:
    return straight


def made_picture(index: int, size_wh_px: tuple[int, int]) -> Array:
    """Brighter with every frame, red at the top left and blue elsewhere."""
    width, height = size_wh_px
    image = np.full((height, width, 3), (0, 0, 120))
    image[: height // 3, : width // 3] = (200, 0, 0)
    return np.minimum(image + min(8 * index, 120), 255).astype(np.uint8)


def tone(seconds: float, rate_hz: int, silence_s: float, start_s: float) -> av.AudioFrame:
    """440 Hz, mono, after some silence; its clock starts at `start_s`."""
    times_s = np.arange(int(seconds * rate_hz)) / rate_hz
    wave = 0.3 * np.sin(2 * np.pi * 440 * times_s) * (times_s >= silence_s)
    frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
    frame.sample_rate, frame.pts = rate_hz, round(start_s * rate_hz)
    frame.time_base = Fraction(1, rate_hz)
    return frame


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a small video and returns its path."""

    def make(
        name: str = "made.mp4",
        frames: int = 10,
        fps: Fraction = Fraction(30),
        size_wh_px: tuple[int, int] = (64, 48),
        pts: Sequence[int] | None = None,
        time_base: Fraction | None = None,
        sound: str | None = None,
        sound_s: float = 1.0,
        silence_s: float = 0.0,
        sound_start_s: float = 0.0,
        sound_rate_hz: int = 44100,
        pixel_aspect: Fraction | None = None,
        key_every: int = 12,
    ) -> Path:
        path = tmp_path / name
        count = len(pts) if pts is not None else frames
        with av.open(str(path), "w") as output:
            picture = _picture_stream(output, name, fps, size_wh_px, key_every) if count else None
            if picture is not None and pixel_aspect is not None:
                picture.codec_context.sample_aspect_ratio = pixel_aspect
            if picture is not None and time_base is not None:
                picture.codec_context.time_base = time_base
            if sound:
                wave = tone(sound_s, sound_rate_hz, silence_s, sound_start_s)
                _add_sound(output, sound, wave)
            for i in range(count):
                frame = av.VideoFrame.from_ndarray(made_picture(i, size_wh_px))
                if pts is not None:
                    frame.pts, frame.time_base = pts[i], time_base
                output.mux(picture.encode(frame))
            if picture is not None:
                output.mux(picture.encode(None))
        return path

    return make


def _add_sound(output: av.container.OutputContainer, codec: str, wave: av.AudioFrame) -> None:
    voice = output.add_stream(codec, rate=wave.sample_rate)
    voice.layout = "mono"
    voice.codec_context.open()
    resampler = av.AudioResampler(voice.format, "mono", wave.sample_rate, voice.frame_size or 1024)
    for part in [*resampler.resample(wave), *resampler.resample(None)]:
        output.mux(voice.encode(part))
    output.mux(voice.encode(None))


def _picture_stream(
    output: av.container.OutputContainer,
    name: str,
    fps: Fraction,
    size_wh_px: tuple[int, int],
    key_every: int,
) -> av.VideoStream:
    odd = size_wh_px[0] % 2 or size_wh_px[1] % 2
    codec = (
        "libvpx-vp9" if name.endswith("webm") else "mpeg4" if name.endswith("avi") else "libx264"
    )
    fast = {"g": str(key_every)} | ({"preset": "ultrafast"} if codec == "libx264" else {})
    stream = output.add_stream(codec, rate=fps, options=fast)
    stream.width, stream.height = size_wh_px
    stream.pix_fmt = "yuv444p" if odd else "yuv420p"
    return stream
