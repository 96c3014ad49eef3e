"""Where FaceMesh's 468 landmarks lie on a head's mesh: rendered, shown to FaceMesh, found again.

The head is painted from its geometry alone: skin, hair by `head_paint.hair_weight`, eyeballs,
teeth, tongue. Several views of it are shown to FaceMesh; of many places on the skin, a landmark's
is the one whose projections lie nearest to where the views show it. Places that no view sees well
are no candidates; those of a landmark and of its mirror image are made symmetric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float, Int, UInt8
from scipy.spatial import cKDTree

from models.face_landmarks.face_mesh import FaceLandmarks468, load_face_landmarks
from models.face_landmarks.in_picture import (
    TurnedSquare,
    landmarks_in_square,
    square_of_landmarks,
)
from models.geometry.cameras import Camera, camera_from_intrinsics
from models.geometry.rotations import GL_FROM_CV, about_x, about_y
from models.weights import load_pose_model
from viewer.synthesis.head_paint import hair_weight
from viewer.synthesis.painted_head import vertex_normals
from viewer.synthesis.rasterizer import Raster, rasterize

Array = np.ndarray

LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
"""Landmarks that are found on an open mouth, where both lips are seen."""

LANDMARK_68_OF_468 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""iBUG's 68 landmarks (0 at image left of a frontal face): the landmark of FaceMesh at each."""

SHUT_VIEWS = (
    *((0, 0), (-15, 0), (15, 0), (-28, 0), (28, 0), (-40, 0), (40, 0)),
    *((0, 10), (0, -10), (0, 20), (0, -20)),
)
"""Yaw and pitch of the head in degrees, mouth shut."""
OPEN_VIEWS = ((0, 0), (-12, 0), (12, 0))
"""The same for the lips, mouth open."""
JAW_OPEN = 0.6

PICTURE_PX, FOCAL_PX, DISTANCE_M = 640, 1500.0, 0.75
SKIN_RGB, HAIR_RGB = (225, 190, 170), (60, 50, 40)
PART_RGB = {"teeth_up": (235, 230, 220), "teeth_low": (235, 230, 220), "tongue": (150, 80, 80)}
FACE_FROM_EYES_M = np.array([0.0, 0.03, 0.05])
IRIS_M, PUPIL_M = 0.0075, 0.003

FACE_DEPTH_M = 0.085
"""Candidates lie no further behind the eyes than this."""
VISIBLE_WITHIN_M = 0.003
SEEN_AT_LEAST = 1.5
"""Sum over the views of the cosine under which each sees a candidate."""
FAR_PX = 10.0
"""Beyond this a view's distance counts once, not squared: it may be wrong. It still counts, or else
a landmark that turned views misplace would go to any place that a few of them see near by."""
NEAREST = 60
"""Triangles, by their middles, among which the nearest point is looked for."""


@dataclass(frozen=True)
class FacelessHead:
    """A head that knows no landmarks yet: v vertices, y up, z out of the face, metres.

    part_of_triangle: index into part_names, which has skin, eye_l and eye_r.
    expressions_m: offsets by ARKit's names.
    """

    vertices_m: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]
    part_of_triangle: Int[Array, "f"]
    part_names: tuple[str, ...]
    expressions_m: Mapping[str, Float[Array, "v 3"]]

    def vertices_of(self, part: str) -> Int[Array, "n"]:
        """The numbers of a part's vertices."""
        return np.unique(self.triangles[self.part_of_triangle == self.part_names.index(part)])


@dataclass(frozen=True)
class _Seen:
    """A view: posed vertices, FaceMesh's points in it, the picture's camera and depth (inf: none).

    R_cam: rotation of the mesh into the view.
    """

    R_cam: Float[Array, "3 3"]
    camera: Camera
    points_px: Float[Array, "468 2"]
    depth_m: Float[Array, "h w"]


def find_landmark_embedding(head: FacelessHead) -> dict[str, Array]:
    """lmk468_tri (468, 3) vertex ids, lmk468_bary (468, 3) weights, lmk68_from_468 (68,)."""
    opened_m = head.vertices_m + JAW_OPEN * head.expressions_m["jawOpen"]
    corners, weights = _embedded(head, head.vertices_m, SHUT_VIEWS)
    lips = list(LIPS)
    of_open = _embedded(head, opened_m, OPEN_VIEWS)
    corners[lips], weights[lips] = of_open[0][lips], of_open[1][lips]
    return {
        "lmk468_tri": corners,
        "lmk468_bary": weights.astype(np.float32),
        "lmk68_from_468": np.array(LANDMARK_68_OF_468),
    }


def _embedded(
    head: FacelessHead, vertices_m: Float[Array, "v 3"], views: Sequence[tuple[int, int]]
) -> tuple[Int[Array, "468 3"], Float[Array, "468 3"]]:
    """Corners and weights of all landmarks from views of one expression."""
    network, rgb = load_face_landmarks(), _painted(head)
    eyes = _between_the_eyes(head, vertices_m)
    triangles = head.triangles[head.part_of_triangle == head.part_names.index("skin")]
    triangles = triangles[vertices_m[triangles].mean(1)[:, 2] > eyes[2] - FACE_DEPTH_M]
    within = np.array([[1, 1, 4], [1, 4, 1], [4, 1, 1], [2, 2, 2], [1, 2.5, 2.5], [2.5, 1, 2.5]])
    within = np.concatenate([within, [[2.5, 2.5, 1]]]) / 6
    normals = vertex_normals(vertices_m, head.triangles)
    places, facing = (np.einsum("kc,fcx->fkx", within, a[triangles]) for a in (vertices_m, normals))
    places, facing = places.reshape(-1, 3), facing.reshape(-1, 3)
    off_px2 = np.zeros((468, len(places)), np.float32)
    seen = np.zeros(len(places), np.float32)
    for yaw_deg, pitch_deg in views:
        view = _view(network, head, vertices_m - eyes, rgb, float(yaw_deg), float(pitch_deg))
        weight, at_px = _looked_at(view, places - eyes, facing)
        apart = at_px[None] - view.points_px[:, None].astype(np.float32)
        off_px2 += weight * _misfit_px2(apart)
        seen += weight
    well = np.flatnonzero(seen > min(SEEN_AT_LEAST, 0.5 * len(views)))
    best = places[well[(off_px2[:, well] / seen[well]).argmin(1)]]
    mirrored = best[_mirrored_landmarks()]
    mirrored[:, 0] = 2 * eyes[0] - mirrored[:, 0]
    return _nearest_on(vertices_m, triangles, 0.5 * (best + mirrored))


def _between_the_eyes(head: FacelessHead, vertices_m: Float[Array, "v 3"]) -> Float[Array, "3"]:
    return np.mean([vertices_m[head.vertices_of(name)].mean(0) for name in ("eye_l", "eye_r")], 0)


def _painted(head: FacelessHead) -> Float[Array, "v 3"]:
    """A colour for every vertex, RGB 0 to 255."""
    rgb = np.tile(np.array(SKIN_RGB, np.float64), (len(head.vertices_m), 1))
    # the paint's hairline is drawn for a face whose eyes are at this height and depth
    placed_m = head.vertices_m - _between_the_eyes(head, head.vertices_m) + [0.0, 0.029, 0.0226]
    rgb += hair_weight(placed_m)[:, None] * (np.array(HAIR_RGB) - rgb)
    for part, colour in PART_RGB.items():
        rgb[head.vertices_of(part)] = colour
    for name in ("eye_l", "eye_r"):
        ids = head.vertices_of(name)
        ball = head.vertices_m[ids]
        middle, front = ball.mean(0), ball[:, 2].max()
        ahead = ball[:, 2] > middle[2] + 0.3 * (front - middle[2])
        off_axis_m = np.linalg.norm((ball - middle)[:, :2], axis=1)
        rgb[ids] = (235, 238, 240)
        rgb[ids[ahead & (off_axis_m < IRIS_M)]] = (90, 70, 60)
        rgb[ids[ahead & (off_axis_m < PUPIL_M)]] = (15, 15, 15)
    return rgb


def _placed(points_m: Float[Array, "n 3"], R_cam: Float[Array, "3 3"]) -> Float[Array, "n 3"]:
    """Points relative to the eyes, before the camera: the face's middle is in the picture's."""
    return (points_m + FACE_FROM_EYES_M) @ R_cam.T + np.array([0.0, 0.0, DISTANCE_M])


def _view(
    network: FaceLandmarks468,
    head: FacelessHead,
    vertices_m: Float[Array, "v 3"],
    rgb: Float[Array, "v 3"],
    yaw_deg: float,
    pitch_deg: float,
) -> _Seen:
    """Rendered and looked at. vertices_m: relative to the eyes."""
    R_cam = GL_FROM_CV @ about_x(pitch_deg) @ about_y(yaw_deg)
    cam_m = _placed(vertices_m, R_cam)
    size = (PICTURE_PX, PICTURE_PX)
    camera = camera_from_intrinsics(size, FOCAL_PX, FOCAL_PX, PICTURE_PX / 2, PICTURE_PX / 2)
    raster = rasterize(cam_m, head.triangles, camera)
    normals = raster.interpolate(head.triangles, vertex_normals(cam_m, head.triangles))
    image = _shaded(raster, raster.interpolate(head.triangles, rgb), normals)
    depth_m = np.full((PICTURE_PX, PICTURE_PX), np.inf)
    depth_m[raster.rows, raster.columns] = raster.depth_m
    skin_cam_m = cam_m[head.vertices_of("skin")]
    return _Seen(R_cam, camera, _found(network, image, camera, skin_cam_m), depth_m)


def _looked_at(
    view: _Seen, places_m: Float[Array, "n 3"], facing: Float[Array, "n 3"]
) -> tuple[Float[Array, "n"], Float[Array, "n 2"]]:
    """The cosine under which a view sees each place, 0 if it is hidden, and where."""
    cam_m = _placed(places_m, view.R_cam)
    at_px = view.camera.project(cam_m)
    column, row = np.floor(at_px).astype(int).clip(0, PICTURE_PX - 1).T
    is_seen = cam_m[:, 2] < view.depth_m[row, column] + VISIBLE_WITHIN_M
    towards = -((facing @ view.R_cam.T) * cam_m).sum(1) / np.linalg.norm(cam_m, axis=1)
    return (towards.clip(0, None) * is_seen).astype(np.float32), at_px.astype(np.float32)


def _misfit_px2(apart_px: Float[Array, "n m 2"]) -> Float[Array, "n m"]:
    """Huber's: the square of a distance up to FAR_PX, its tangent beyond."""
    squared = (apart_px**2).sum(2)
    return np.where(squared < FAR_PX**2, squared, 2 * FAR_PX * np.sqrt(squared) - FAR_PX**2)


def _shaded(
    raster: Raster, rgb: Float[Array, "n 3"], normals_cam: Float[Array, "n 3"]
) -> UInt8[Array, "h w 3"]:
    """Lit from above and a little from the side, on gray."""
    to_light = np.array([0.3, -0.5, -0.8]) / np.linalg.norm([0.3, -0.5, -0.8])
    lit = rgb * (0.55 + 0.5 * np.clip(normals_cam @ to_light, 0, 1))[:, None]
    image = np.full((*raster.size_wh_px[::-1], 3), 120, np.uint8)
    image[raster.rows, raster.columns] = lit.clip(0, 255)
    return image


def _found(
    network: FaceLandmarks468,
    image_rgb: UInt8[Array, "h w 3"],
    camera: Camera,
    skin_cam_m: Float[Array, "n 3"],
) -> Float[Array, "468 2"]:
    """FaceMesh's points, looked for in the head's square first, then in their own."""
    front = camera.project(skin_cam_m[skin_cam_m[:, 2] < np.median(skin_cam_m[:, 2])])
    low, high = front.min(0), front.max(0)
    square = TurnedSquare((low + high) / 2, float((high - low).max()), 0.0)
    for _ in range(3):
        points = landmarks_in_square(network, image_rgb, square).points_px
        square = square_of_landmarks(points)
    return points[:, :2]


def _mirrored_landmarks() -> Int[Array, "468"]:
    """The landmark at the mirror image of each, on MediaPipe's canonical face."""
    face = load_pose_model("trg-mini", device="cpu").mesh.template_vertices_m
    return cKDTree(face).query(face * [-1, 1, 1])[1]


def _nearest_on(
    vertices_m: Float[Array, "v 3"],
    triangles: Int[Array, "f 3"],
    points_m: Float[Array, "n 3"],
) -> tuple[Int[Array, "n 3"], Float[Array, "n 3"]]:
    """Corners and weights of the nearest point of the triangles to each point."""
    corners_m = vertices_m[triangles]
    near = cKDTree(corners_m.mean(1)).query(points_m, NEAREST)[1]
    pairs = corners_m[near.ravel()], np.repeat(points_m, NEAREST, 0)
    on_triangle = trimesh.triangles.closest_point(*pairs).reshape(-1, NEAREST, 3)
    best = np.linalg.norm(on_triangle - points_m[:, None], axis=2).argmin(1)
    rows = np.arange(len(points_m))
    chosen = near[rows, best]
    weights = trimesh.triangles.points_to_barycentric(corners_m[chosen], on_triangle[rows, best])
    weights = weights.clip(0, 1)
    return triangles[chosen], weights / weights.sum(1, keepdims=True)
