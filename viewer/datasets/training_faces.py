"""What each data set offers to training: labelled faces by number, each with what is known of it.

No picture is decoded here: how its crop is cut decides at which size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from models.face_landmarks.face_mesh import FaceLandmarks468, load_face_landmarks
from models.face_landmarks.in_picture import TurnedSquare, landmarks_in_square, square_of_landmarks
from models.flame.open_head import load_open_head
from models.geometry.cameras import Camera, camera_from_horizontal_fov, camera_from_intrinsics
from models.geometry.rotations import matrix_from_rotation_vector
from models.weights import T_HEAD_FROM_TRG
from viewer.datasets.arkitface import ArkitFace
from viewer.datasets.biwi import Biwi
from viewer.datasets.biwi_box_file import read_boxes
from viewer.datasets.mat_file import read_mat
from viewer.datasets.sample import decode_rgb
from viewer.datasets.scaled_picture import Picture, picture_bytes, size_wh_px_of
from viewer.datasets.synthetic import SyntheticDataset
from viewer.datasets.three_hundred_w_lp import FLIP, ThreeHundredWLp, mirrored_68_px
from viewer.datasets.weak_perspective import read_points_px

Array = np.ndarray

RELEASED_FOCAL_PX = 5000.0
"""Of pictures whose camera is not known: TRG was trained with it."""

SCAN_BOX_SCALE = 0.6
"""BIWI without detected points: TRG's box of a scan is 0.45 of its extent each way, not 0.75."""

MIN_FACE_MESH_PRESENCE = 0.5


@dataclass(frozen=True)
class TrainingFace:
    """A head in a picture; None: not known. Frame `head`, and pixels of the picture.

    name: for messages. vertices_head_m: the data set's mesh, in a topology of so many vertices.
    box_points_px: what the crop goes around where neither mesh nor landmarks are known.
    is_flat: there are no poses in the data set, and it is varied as a set of landmarks.
    """

    name: str
    picture: Picture
    camera: Camera
    is_face: bool = True
    R_cam_from_head: Float[Array, "3 3"] | None = None
    t_cam_from_head_m: Float[Array, "3"] | None = None
    vertices_head_m: Float[Array, "v 3"] | None = None
    landmarks_68_px: Float[Array, "68 2"] | None = None
    box_points_px: Float[Array, "n 2"] | None = None
    is_flat: bool = False


@runtime_checkable
class TrainingFaces(Protocol):
    """Faces by number."""

    def __len__(self) -> int: ...

    def face(self, number: int) -> TrainingFace:
        """Raises: DatasetError, UnreadablePictureError."""
        ...

    def prepare(self) -> None:
        """Read what all processes share, before workers are forked."""
        ...


@dataclass(frozen=True)
class ArkitFaces:
    """ARKitFace: mesh, pose, camera; landmarks where they are files or the mesh's ids are known."""

    dataset: ArkitFace
    keys: Sequence[str]

    def __len__(self) -> int:
        return len(self.keys)

    def prepare(self) -> None:
        self.face(0)

    def face(self, number: int) -> TrainingFace:
        """The data set's axes are TRG's own, of which `head` is turned a little."""
        sample, vertices_arkit_m = self.dataset.read_with_mesh(self.keys[number])
        R, R_head_from_arkit = sample.R_cam_from_head, T_HEAD_FROM_TRG[:3, :3]
        return TrainingFace(
            name=f"arkitface/{sample.key}",
            picture=sample.image,
            camera=sample.camera,
            R_cam_from_head=R @ R_head_from_arkit.T,
            t_cam_from_head_m=sample.t_cam_from_head_mm / 1000.0,
            vertices_head_m=vertices_arkit_m @ R_head_from_arkit.T,
            landmarks_68_px=sample.landmarks_68_px,
            box_points_px=_corners(sample.box_xyxy_px),
        )


@dataclass(frozen=True)
class WeakFaces:
    """300W-LP: 68 landmarks, and a rotation as weak perspective sees it, but neither camera nor
    distance.

    as_released: the camera is TRG's 5000 px and the rotation is not used. Otherwise the camera is
    the one that is assumed for any picture, and the rotation is that of a head seen along its ray.
    """

    dataset: ThreeHundredWLp
    keys: Sequence[str]
    as_released: bool

    def __len__(self) -> int:
        return len(self.keys)

    def prepare(self) -> None:
        self.face(0)

    def face(self, number: int) -> TrainingFace:
        key = self.keys[number]
        sample = self.dataset.read(key)
        encoded = picture_bytes(sample.image)
        size = size_wh_px_of(encoded, str(sample.image))
        landmarks = self._landmarks_px(key, size[0])
        landmarks = sample.landmarks_68_px if landmarks is None else landmarks
        camera, R = _released_camera(size), None
        if not self.as_released:
            camera = camera_from_horizontal_fov(size)
            middle = (landmarks.min(0) + landmarks.max(0)) / 2
            R = rotation_to_ray(camera.normalise(middle)) @ sample.R_cam_from_head
        return TrainingFace(
            name=f"300w-lp/{key}",
            picture=encoded,
            camera=camera,
            R_cam_from_head=R,
            landmarks_68_px=landmarks,
            is_flat=True,
        )

    def _landmarks_px(self, key: str, width_px: int) -> Float[Array, "68 2"] | None:
        """pts_3d of landmarks/SET/NAME_pts.mat, which TRG reads; None where there is no file."""
        own = key.replace(FLIP + "/", "/")
        path = self.dataset.root / "landmarks" / f"{own}_pts.mat"
        if not path.is_file():
            return None
        points = read_points_px(read_mat(path, frozenset({"pts_3d"})), "pts_3d", 68, path)
        return points if own == key else mirrored_68_px(points, width_px)


@dataclass(frozen=True)
class BiwiFaces:
    """BIWI: pose in the calibrated RGB camera; landmarks of the box file where it is there.

    Its scans have another topology than any network, so it teaches pose alone.
    """

    dataset: Biwi
    keys: Sequence[str]

    def __len__(self) -> int:
        return len(self.keys)

    def prepare(self) -> None:
        self.face(0)

    def face(self, number: int) -> TrainingFace:
        key = self.keys[number]
        sample, file = self.dataset.read(key), self.dataset.layout.box_file
        landmarks = None if file is None else read_boxes(file).points_px.get(key)
        return TrainingFace(
            name=f"biwi/{key}",
            picture=sample.image,
            camera=sample.camera,
            R_cam_from_head=sample.R_cam_from_head,
            t_cam_from_head_m=sample.t_cam_from_head_mm / 1000.0,
            landmarks_68_px=landmarks,
            box_points_px=_corners(sample.box_xyxy_px, SCAN_BOX_SCALE),
        )


@dataclass(frozen=True)
class MicaFaces:
    """The crops of a prepared MICA set.

    MICA knows a neutral shape of each actor in FLAME's topology; neither pose, camera, expression
    nor landmarks of a picture. No term of TRG's loss can use that shape. What these pictures teach
    is where 68 landmarks are: those that FaceMesh finds in them, which are no measurement. There is
    no pose among the labels, and a picture where FaceMesh sees no face teaches nothing.
    """

    crops: Sequence[Path]

    def __len__(self) -> int:
        return len(self.crops)

    def prepare(self) -> None:
        self.face(0)

    @cached_property
    def _face_mesh(self) -> FaceLandmarks468:
        return load_face_landmarks()

    def face(self, number: int) -> TrainingFace:
        path = self.crops[number]
        image = decode_rgb(picture_bytes(path), str(path))
        height, width = image.shape[:2]
        square = TurnedSquare(np.array([width, height]) / 2, float(max(width, height)), 0.0)
        found = landmarks_in_square(self._face_mesh, image, square)
        found = landmarks_in_square(self._face_mesh, image, square_of_landmarks(found.points_px))
        ids = _landmark_68_of_468()
        sees = found.presence >= MIN_FACE_MESH_PRESENCE
        return TrainingFace(
            name=f"mica/{path.parent.name}/{path.name}",
            picture=image,
            camera=_released_camera((width, height)),
            landmarks_68_px=found.points_px[ids, :2] if sees else None,
            box_points_px=np.array([[0.1, 0.1], [0.9, 0.9]]) * [width, height],
            is_flat=True,
        )


@dataclass(frozen=True)
class SyntheticFaces:
    """Rendered heads: pose, camera, FaceMesh's 468 points and among them the 68 landmarks."""

    dataset: SyntheticDataset
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def prepare(self) -> None:
        self.dataset.preload()

    def face(self, number: int) -> TrainingFace:
        row = int(self.rows[number])
        picture = self.dataset.posed_picture(row)
        face = TrainingFace(
            name=f"synthetic/{self.dataset.root.name}/{row}",
            picture=picture.image_rgb,
            camera=picture.camera,
            is_face=picture.is_face,
        )
        if not picture.is_face:
            return face
        R, t_m = np.float64(picture.R_cam_from_head), picture.t_cam_from_head_mm / 1000.0
        points = picture.landmarks_468_head_m.astype(np.float64)
        landmarks_cam = points[_landmark_68_of_468()] @ R.T + t_m
        return replace(
            face,
            R_cam_from_head=R,
            t_cam_from_head_m=t_m,
            vertices_head_m=points,
            landmarks_68_px=picture.camera.project(landmarks_cam),
        )


@lru_cache(maxsize=1)
def _landmark_68_of_468() -> Int[Array, "68"]:
    return load_open_head().landmark_68_of_468


def _released_camera(size_wh_px: tuple[int, int]) -> Camera:
    width, height = size_wh_px
    f_px = RELEASED_FOCAL_PX
    return camera_from_intrinsics(size_wh_px, f_px, f_px, width / 2, height / 2, "assumed by TRG")


def rotation_to_ray(ray: Float[Array, "2"]) -> Float[Array, "3 3"]:
    """The shortest rotation that takes the optical axis to a ray (x / z, y / z)."""
    length = float(np.hypot(*ray))
    axis = np.array([-ray[1], ray[0], 0.0]) / max(length, 1e-12)
    return matrix_from_rotation_vector(axis * np.arctan(length))


def _corners(
    box_xyxy_px: Float[Array, "4"] | None, scale: float = 1.0
) -> Float[Array, "2 2"] | None:
    """Of a box scaled about its middle."""
    if box_xyxy_px is None:
        return None
    corners = np.asarray(box_xyxy_px, np.float64).reshape(2, 2)
    middle = corners.mean(0)
    return middle + scale * (corners - middle)
