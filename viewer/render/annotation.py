"""The annotation of one head on its picture: what a data set says, exactly where it says it.

Axes and meshes are drawn as those of a predicted head (`viewer.render.overlay`); boxes and points
are not moved, widened or cut, so that a wrong label looks wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int, UInt8

from models.estimator import HeadPose
from models.geometry.boxes import bounding_box_xyxy
from viewer.render.mesh_shapes import NEAR_M, project_px, shaded_mesh, wireframe
from viewer.render.overlay import AXES_HEAD, LANDMARK_LINES, OverlayOptions, build_draw_list
from viewer.render.palette import DARK, LIGHT, RGB, TRACK_COLOURS, track_colour
from viewer.render.shapes import Dots, DrawList, Segments, Shape, within_reach

Array = np.ndarray

LAYERS = ("box", "axes", "landmarks", "points", "mesh", "depth")

BOX_COLOUR = track_colour(1)
MESH_COLOUR = track_colour(2)
DEPTH_COLOURS: tuple[RGB, ...] = (
    (253, 231, 37),
    (160, 218, 57),
    (74, 193, 109),
    (31, 161, 135),
    (39, 127, 142),
    (70, 50, 127),
)
"""Near to far, after matplotlib's viridis."""

MAX_DEPTH_DOTS = 6000
MANY_POINTS = 100
FACE_M = 0.16
"""A face's longer side, where nothing but its box gives a scale."""

DISTANT_M = 1000.0
"""From so far away a pinhole camera is a parallel projection to a ten-thousandth."""

WIREFRAME_FROM_PX, WIREFRAME_FROM_WIDTHS = 7.0, 5.0
"""Meshes with shorter edges, in pixels or in widths of their lines, would be a solid sheet: they
are shaded."""

MESH_ALPHA = 0.55


@dataclass(frozen=True)
class DrawnPose:
    """A rotation with the camera that shows it: the data set's own, or one of `distant_view`."""

    R_cam_from_head: Float[Array, "3 3"]
    t_cam_from_head_mm: Float[Array, "3"]
    K_image_from_cam: Float[Array, "3 3"]

    def in_cam_m(self, points_head_m: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
        """Points of the head in the camera's frame."""
        return points_head_m @ self.R_cam_from_head.T + self.t_cam_from_head_mm / 1000.0


@dataclass(frozen=True)
class Annotation:
    """What is known about one head in a picture; None and empty: not known.

    points_px: landmarks other than the 68 by name; NaN rows are left out.
    pose: for axes; with its camera for mesh and depth.
    mesh_cam_m, depth_cam_m: in the camera of `pose`. triangles: None: the mesh is drawn as dots.
    second: another opinion on the pose, such as a model's; its axes are dashed.
    """

    size_wh_px: tuple[int, int]
    box_xyxy_px: Float[Array, "4"] | None = None
    landmarks_68_px: Float[Array, "68 2"] | None = None
    points_px: Mapping[str, Float[Array, "_n 2"]] = field(default_factory=dict)
    pose: DrawnPose | None = None
    mesh_cam_m: Float[Array, "v 3"] | None = None
    triangles: Int[Array, "f 3"] | None = None
    depth_cam_m: Float[Array, "d 3"] | None = None
    second: DrawnPose | None = None

    def layers(self) -> tuple[str, ...]:
        """Those of `LAYERS` that there is something to draw for."""
        has = {
            "box": self.box_xyxy_px is not None,
            "axes": self.pose is not None,
            "landmarks": self.landmarks_68_px is not None,
            "points": bool(self.points_px),
            "mesh": self.pose is not None and self.mesh_cam_m is not None,
            "depth": self.pose is not None and self.depth_cam_m is not None,
        }
        return tuple(name for name in LAYERS if has[name])

    def face_box_px(self) -> Float[Array, "4"] | None:
        """Where the head is, from the first that is known: box, landmarks, mesh, pose."""
        if self.box_xyxy_px is not None and np.isfinite(self.box_xyxy_px).all():
            return self.box_xyxy_px
        points = [self.landmarks_68_px, *self.points_px.values()]
        if self.pose is not None and self.mesh_cam_m is not None:
            points.insert(1, _projected(self.pose, self.mesh_cam_m))
        for some in points:
            seen = None if some is None else some[np.isfinite(some).all(1)]
            if seen is not None and len(seen) > 1:
                return bounding_box_xyxy(seen)
        if self.pose is None or self.pose.t_cam_from_head_mm[2] <= NEAR_M * 1000.0:
            return None
        centre = project_px(_as_head(self.pose, np.zeros(4)), self.pose.in_cam_m(np.zeros((1, 3))))
        distance_m = self.pose.t_cam_from_head_mm[2] / 1000.0
        half = self.pose.K_image_from_cam[0, 0] * FACE_M / distance_m / 2
        return np.concatenate([centre[0] - half, centre[0] + half])

    def seen_in(
        self, size_wh_px: tuple[int, int], left_px: float, top_px: float, scale: float
    ) -> Annotation:
        """The same on a part of the picture that was cut out at left, top and then scaled."""
        corner = np.array([left_px, top_px])

        def moved(pose: DrawnPose | None) -> DrawnPose | None:
            if pose is None:
                return None
            K = pose.K_image_from_cam.copy()
            K[:2, 2] -= corner
            K[:2] *= scale
            return replace(pose, K_image_from_cam=K)

        box, landmarks = self.box_xyxy_px, self.landmarks_68_px
        return replace(
            self,
            size_wh_px=size_wh_px,
            box_xyxy_px=None if box is None else (box - np.tile(corner, 2)) * scale,
            landmarks_68_px=None if landmarks is None else (landmarks - corner) * scale,
            points_px={name: (xy - corner) * scale for name, xy in self.points_px.items()},
            pose=moved(self.pose),
            second=moved(self.second),
        )


def distant_view(
    R_cam_from_head: Float[Array, "3 3"], origin_px: Float[Array, "2"], px_per_m: float
) -> DrawnPose:
    """Weak perspective as a camera far away: the head's origin at origin_px, in this scale."""
    K = np.diag([px_per_m * DISTANT_M, px_per_m * DISTANT_M, 1.0])
    K[:2, 2] = origin_px
    return DrawnPose(R_cam_from_head, np.array([0.0, 0.0, DISTANT_M * 1000.0]), K)


def view_of_points(
    R_cam_from_head: Float[Array, "3 3"], points_px: Float[Array, "n 2"]
) -> DrawnPose:
    """Weak perspective for a label without a camera: origin in the middle of the points' box, and
    a scale that makes its longer side `FACE_M`."""
    box = bounding_box_xyxy(points_px[np.isfinite(points_px).all(1)])
    middle, side_px = (box[:2] + box[2:]) / 2, float(np.max(box[2:] - box[:2]))
    return distant_view(R_cam_from_head, middle, max(side_px, 1.0) / FACE_M)


def view_of_mesh(
    R_cam_from_head: Float[Array, "3 3"],
    vertices_head_m: Float[Array, "v 3"],
    mesh_px: Float[Array, "v 2"],
) -> DrawnPose:
    """The weak perspective that takes the turned mesh to its pixels, by least squares."""
    turned = (vertices_head_m @ R_cam_from_head.T)[:, :2]
    middle, middle_px = turned.mean(0), mesh_px.mean(0)
    spread = turned - middle
    px_per_m = float((spread * (mesh_px - middle_px)).sum() / max((spread**2).sum(), 1e-12))
    return distant_view(R_cam_from_head, middle_px - px_per_m * middle, max(px_per_m, 1e-3))


def portrait_view(
    R_cam_from_head: Float[Array, "3 3"],
    vertices_head_m: Float[Array, "v 3"],
    size_wh_px: tuple[int, int],
) -> DrawnPose:
    """A view of a mesh that has no picture: all of it, in the middle of the frame."""
    turned = (vertices_head_m @ R_cam_from_head.T)[:, :2]
    low, high = turned.min(0), turned.max(0)
    px_per_m = 0.86 * float((np.array(size_wh_px) / np.maximum(high - low, 1e-6)).min())
    middle_px = np.array(size_wh_px) / 2 - px_per_m * (low + high) / 2
    return distant_view(R_cam_from_head, middle_px, px_per_m)


def blank_picture(size_wh_px: tuple[int, int]) -> UInt8[Array, "h w 3"]:
    """Ground for a mesh without a picture: dark, a little lighter in the middle."""
    width, height = size_wh_px
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    off = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.45)
    level = np.clip(1.0 - off / 0.75, 0.0, 1.0)[..., None]
    return np.rint(np.array([24.0, 28.0, 38.0]) + level * [34.0, 38.0, 46.0]).astype(np.uint8)


def build_annotation(annotation: Annotation, layers: Collection[str]) -> DrawList:
    """The layers that are asked for and known, in painting order, and a second pose on top.

    Raises: ValueError for a name that is none of `LAYERS`.
    """
    unknown = sorted(set(layers) - set(LAYERS))
    if unknown:
        raise ValueError(f"There is no layer {unknown[0]!r}; there are {', '.join(LAYERS)}.")
    shown = set(layers) & set(annotation.layers())
    stroke = _stroke_px(annotation)
    shapes: list[Shape] = []
    if "mesh" in shown:
        shapes += _mesh(annotation, stroke)
    if "depth" in shown:
        shapes += _depth(annotation, stroke)
    if "landmarks" in shown:
        shapes += _landmarks(annotation.landmarks_68_px, stroke)
    if "points" in shown:
        shapes += _points(annotation.points_px, stroke)
    if "box" in shown:
        shapes += _box(annotation.box_xyxy_px, stroke)
    if "axes" in shown:
        shapes += _axes(annotation.pose, annotation)
    if annotation.second is not None:
        shapes += _dashed(_axes(annotation.second, annotation, names=False))
    return DrawList(within_reach(shapes, annotation.size_wh_px), annotation.size_wh_px)


def point_colours(names: Collection[str]) -> dict[str, RGB]:
    """Colours of the sets of other points, in their order."""
    free = TRACK_COLOURS[2:]
    return {name: free[i % len(free)] for i, name in enumerate(names)}


def _as_head(
    pose: DrawnPose, box_xyxy_px: Float[Array, "4"], points: Float[Array, "v 3"] | None = None
) -> HeadPose:
    """The record that the overlay draws; points: a mesh in `head`."""
    return HeadPose(
        R_cam_from_head=pose.R_cam_from_head,
        t_cam_from_head_mm=pose.t_cam_from_head_mm,
        K_image_from_cam=pose.K_image_from_cam,
        box_xyxy_px=np.asarray(box_xyxy_px, np.float64),
        confidence=1.0,
        uncertainty_deg=0.0,
        uncertainty_source="label",
        vertices_head_m=np.zeros((1, 3)) if points is None else points,
        landmarks_68_head_m=np.zeros((68, 3)),
        model="label",
    )


def _projected(pose: DrawnPose, points_cam_m: Float[Array, "n 3"]) -> Float[Array, "m 2"]:
    """Pixels of the points in front of the camera."""
    front = points_cam_m[points_cam_m[:, 2] > NEAR_M]
    return project_px(_as_head(pose, np.zeros(4)), front)


def _stroke_px(annotation: Annotation) -> float:
    """Grows with the face and never vanishes, as the overlay's."""
    box = annotation.face_box_px()
    largest = float(max(annotation.size_wh_px))
    face_px = largest / 3 if box is None else float(np.max(box[2:] - box[:2]))
    least = max(1.0, largest / 1000)
    return float(np.clip(face_px / 55.0, least, max(24.0, least)))


def _axes(pose: DrawnPose, annotation: Annotation, names: bool = True) -> list[Shape]:
    box = annotation.face_box_px()
    head = _as_head(pose, np.zeros(4) if box is None else box)
    options = OverlayOptions(axes=True, box=False, mesh="none", landmarks=False, labels=names)
    drawn = build_draw_list([head], [1], np.zeros((0, 3), int), options, annotation.size_wh_px)
    plain = (Segments, Dots)
    return [s for s in drawn.shapes if isinstance(s, plain) or s.text in AXES_HEAD]


def _dashed(shapes: list[Shape]) -> list[Shape]:
    """In dashes, paler and without the middle dot: told from a label's axes even on top of them."""
    dashed: list[Shape] = []
    for shape in shapes:
        if not isinstance(shape, Segments):
            continue
        start, end = shape.points_px[0]
        length = float(np.hypot(*(end - start)))
        wide = shape.colour == DARK
        step = max(5.0 * shape.width_px / (1.9 if wide else 1.0), 4.0)
        count = max(2, round(length / step))
        at = np.linspace(0.0, 1.0, 2 * count)
        pieces = start + at.reshape(-1, 2, 1) * (end - start)
        points = np.concatenate([pieces, shape.points_px[1:]])
        colour = shape.colour if wide else second_colour(shape.colour)
        dashed.append(replace(shape, points_px=points, colour=colour))
    return dashed


def second_colour(colour: RGB) -> RGB:
    """Of an axis of the second opinion."""
    red, green, blue = (round(0.45 * a + 0.55 * b) for a, b in zip(colour, LIGHT, strict=True))
    return red, green, blue


def _mesh(annotation: Annotation, stroke: float) -> list[Shape]:
    pose, vertices = annotation.pose, annotation.mesh_cam_m
    if annotation.triangles is None:
        return [Dots(_projected(pose, vertices), MESH_COLOUR, max(0.7, 0.3 * stroke), 0.8)]
    still = replace(pose, R_cam_from_head=np.eye(3), t_cam_from_head_mm=np.zeros(3))
    head = _as_head(still, np.zeros(4), np.asarray(vertices, np.float64))
    edge_px = _median_edge_px(head, annotation.triangles)
    width_px = max(0.7, 0.27 * stroke)
    if edge_px >= max(WIREFRAME_FROM_PX, WIREFRAME_FROM_WIDTHS * width_px):
        return wireframe(head, annotation.triangles, MESH_COLOUR, width_px)
    return shaded_mesh(head, annotation.triangles, MESH_COLOUR, MESH_ALPHA)


def _median_edge_px(head: HeadPose, triangles: Int[Array, "f 3"]) -> float:
    points = project_px(head, head.vertices_cam_m())
    sides = points[triangles[:, 0]] - points[triangles[:, 1]]
    return float(np.median(np.hypot(*sides.T))) if len(sides) else 0.0


def _depth(annotation: Annotation, stroke: float) -> list[Shape]:
    """Points of a depth camera in bands from near to far; far ones are painted first."""
    points = annotation.depth_cam_m
    points = points[points[:, 2] > NEAR_M]
    if len(points) == 0:
        return []
    points = points[:: -(-len(points) // MAX_DEPTH_DOTS)]
    low, high = np.percentile(points[:, 2], [2, 98])
    steps = len(DEPTH_COLOURS)
    bands = np.clip((points[:, 2] - low) / max(high - low, 1e-6) * steps, 0, steps - 1).astype(int)
    return [
        Dots(
            _projected(annotation.pose, points[bands == band]),
            DEPTH_COLOURS[band],
            max(0.6, 0.28 * stroke),
            0.75,
        )
        for band in range(steps - 1, -1, -1)
    ]


def _landmarks(points_px: Float[Array, "68 2"], stroke: float) -> list[Shape]:
    seen = np.isfinite(points_px).all(1)
    lines = np.concatenate([np.stack([line[:-1], line[1:]], 1) for line in LANDMARK_LINES])
    return [
        Segments(points_px[lines[seen[lines].all(1)]], LIGHT, max(0.7, 0.3 * stroke), 0.55),
        Dots(points_px[seen], DARK, max(1.3, 0.62 * stroke), 0.6),
        Dots(points_px[seen], LIGHT, max(0.9, 0.42 * stroke)),
    ]


def _points(points_px: Mapping[str, Float[Array, "_n 2"]], stroke: float) -> list[Shape]:
    shapes: list[Shape] = []
    for name, colour in point_colours(points_px).items():
        seen = points_px[name][np.isfinite(points_px[name]).all(1)]
        if len(seen) > MANY_POINTS:
            shapes.append(Dots(seen, colour, max(0.6, 0.25 * stroke), 0.85))
            continue
        radius = max(1.1, 0.55 * stroke)
        shapes += [Dots(seen, DARK, 1.45 * radius, 0.6), Dots(seen, colour, radius)]
    return shapes


def _box(box_xyxy_px: Float[Array, "4"], stroke: float) -> list[Shape]:
    """A thin frame exactly on the box, over a dark one that keeps it visible on light ground."""
    if not np.isfinite(box_xyxy_px).all():
        return []
    left, top, right, bottom = box_xyxy_px
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    frame = np.stack([corners, np.roll(corners, -1, 0)], 1).astype(np.float64)
    thin = max(1.0, 0.6 * stroke)
    return [Segments(frame, DARK, thin * 2.2, 0.35), Segments(frame, BOX_COLOUR, thin, 0.95)]
