"""Faces with stable numbers: follows each by its own mesh and decides when the detector is worth
its time.

Pure bookkeeping on poses and boxes; the networks are run by `pipeline.py`. Per frame:
`start_frame`, then `followed` says which crops to look at, `follow` takes what the network saw
there, `wants_detection` says whether to look for more, `unexplained` which detections are news,
and `adopt` gives them back their old number or a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment

from demo_app.inference.motion import Motion
from models.estimator import HeadPose
from models.geometry.boxes import RayBox, iou_xyxy
from models.geometry.cameras import Camera

Array = np.ndarray

KEEP_CONFIDENCE_RATIO = 0.6
"""A followed face may sink to this part of the confidence that a new face needs."""

MAX_SURPRISE = 1.0
"""How far (see `Motion.surprise`) from its prediction a face may be seen and still be the same."""

COLLAPSE_IOU = 0.6
"""Two tracks whose mesh boxes overlap more are on one face."""

SAME_FACE_IOU = 0.45
"""A detection whose mesh overlaps a followed face more is that face; a new number needs less
overlap."""

CONTEST_IOU = 0.2
"""Above this overlap a track's motion may already be the other face's; the motion from before is
remembered."""

MAX_CONTEST_S = 1.5
"""A motion from longer ago says nothing about where the person is now."""

EXPLAINED_IOU = 0.3
"""A detection whose crop overlaps that of a followed face at least so much may be it."""

MIN_INSIDE = 0.35
"""Part of the mesh box that must lie in the picture."""


@dataclass(frozen=True)
class TrackingOptions:
    """When faces are looked for and how long they are remembered. Times are those of the video."""

    max_faces: int = 10
    """Followed at once."""
    detect_every_s: float = 1.0
    """Between two runs of the detector while faces are followed."""
    search_every_s: float = 0.25
    """The same while nobody is in the picture, at first."""
    search_rarely_s: float = 1.0
    """The same once the picture has been empty for eight times as long."""
    recheck_every_s: float = 0.15
    """The same while a face is lost."""
    retry_s: float = 0.5
    """A lost face is looked for at its predicted place, without the detector, for so long."""
    forget_s: float = 1.5
    """A lost face keeps its number for so long."""

    def __post_init__(self) -> None:
        if self.max_faces < 1:
            raise ValueError(f"At least one face must be followed, got max_faces={self.max_faces}.")
        if min(self.detect_every_s, self.search_every_s, self.recheck_every_s) < 0:
            raise ValueError("Times between two runs of the detector must not be below 0.")


@dataclass(frozen=True)
class Observation:
    """What the network saw in one crop, and the crop for the next look."""

    pose: HeadPose
    ray_box: RayBox


@dataclass
class Track:
    """One person. motion_before_contest: the last motion that was surely this person's own."""

    track_id: int
    pose: HeadPose
    motion: Motion
    seen_s: float
    motion_before_contest: Motion | None = None
    lost: bool = False

    def own_motion(self) -> Motion:
        """The motion that is surely this person's; the present one where that memory is too old to
        help."""
        before = self.motion_before_contest
        if before is None or self.seen_s - before.time_s > MAX_CONTEST_S:
            return self.motion
        return before


class Tracker:
    """The tracks of one stream of frames. Numbers start at 1 and are never used twice, not even
    after `reset`."""

    def __init__(self, options: TrackingOptions, min_confidence: float) -> None:
        self._options = options
        self._min_confidence = min_confidence
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget everybody; the next frame is searched anew."""
        self._tracks: list[Track] = []
        self._camera: Camera | None = None
        self._now_s = -np.inf
        self._detected_s = -np.inf
        self._last_face_s = -np.inf

    @property
    def visible(self) -> list[Track]:
        """Tracks seen in the frame at hand, by number."""
        return sorted((t for t in self._tracks if not t.lost), key=lambda t: t.track_id)

    def start_frame(self, camera: Camera, time_s: float) -> bool:
        """Take the time and the camera of the frame at hand; True if poses of before no longer
        compare.

        Time that runs back or leaps further than `forget_s` forgets everybody, as does another
        shape of the picture. Another K or size of the same picture (a moved slider, a stream that
        changes its resolution) keeps the numbers.
        """
        old, gap_s = self._camera, time_s - self._now_s
        restarted = old is not None and not 0 <= gap_s <= self._options.forget_s
        changed = old is not None and not _same_camera(old, camera)
        if restarted or (old is not None and changed and not _same_shape(old, camera)):
            self.reset()
        elif old is not None and changed:
            for track in self._tracks:
                track.motion = track.motion.in_other_camera(old, camera)
                track.motion_before_contest = None
        if not np.isfinite(self._last_face_s):
            self._last_face_s = time_s
        self._camera, self._now_s = camera, time_s
        return restarted or changed

    def followed(self) -> list[tuple[Track, RayBox]]:
        """Tracks to look at in this frame, each with the crop where it should be."""
        retry_from_s = self._now_s - self._options.retry_s
        return [
            (track, track.motion.ray_box_at(self._now_s))
            for track in self._tracks
            if not track.lost or track.seen_s >= retry_from_s
        ]

    def follow(self, tracks: Sequence[Track], seen: Sequence[Observation]) -> None:
        """What the network saw at the crops of `followed`, in the same order."""
        boxes = [observation.pose.box_xyxy_px for observation in seen]
        believed = [
            self._is_believable(track, observation.pose, _max_other_iou(boxes, i))
            for i, (track, observation) in enumerate(zip(tracks, seen, strict=True))
        ]
        claims = [(t, o) for t, o, ok in zip(tracks, seen, believed, strict=True) if ok]
        winners = self._settle_collapses(claims)
        won = {track.track_id for track, _ in winners}
        overlaps = [observation.pose.box_xyxy_px for _, observation in winners]
        for track in tracks:
            if track.track_id not in won:
                self._lose(track)
        for i, (track, observation) in enumerate(winners):
            self._see(track, observation, contested=_max_other_iou(overlaps, i) > CONTEST_IOU)
        self._tracks = [
            track
            for track in self._tracks
            if not (track.lost and self._now_s - track.seen_s > self._options.forget_s)
        ]
        if self.visible:
            self._last_face_s = self._now_s

    def wants_detection(self) -> bool:
        """Whether the detector should look at this frame; asked after `follow`."""
        options, since_s = self._options, self._now_s - self._detected_s
        lost = sum(track.lost for track in self._tracks)
        visible = len(self._tracks) - lost
        if visible >= options.max_faces:
            return False
        if lost:
            return since_s >= options.recheck_every_s
        if visible == 0:
            empty_s = self._now_s - self._last_face_s
            wait_s = min(max(options.search_every_s, empty_s / 8), options.search_rarely_s)
            return since_s >= wait_s
        return since_s >= options.detect_every_s

    def unexplained(self, ray_boxes: Float[Array, "n 3"]) -> Bool[Array, "n"]:
        """Which detections no visible track accounts for; each track accounts for one at most.

        Marks the detector as run.
        """
        self._detected_s = self._now_s
        news = np.ones(len(ray_boxes), bool)
        visible = self.visible
        if visible and len(ray_boxes):
            iou = iou_xyxy(
                _square_xyxy(np.stack([t.motion.ray_box_at(self._now_s) for t in visible])),
                _square_xyxy(ray_boxes),
            )
            rows, columns = linear_sum_assignment(-np.where(iou >= EXPLAINED_IOU, iou, 0.0))
            news[columns[iou[rows, columns] >= EXPLAINED_IOU]] = False
        return news

    def adopt(self, seen: Sequence[Observation]) -> None:
        """Faces that the detector found and no visible track explains: lost ones come back, others
        are new."""
        faces = self._distinct_faces(seen)
        lost = [track for track in self._tracks if track.lost]
        taken: set[int] = set()
        for row, column in self._match(lost, faces):
            overlap = self._overlap_with_visible(faces[column])
            self._see(lost[row], faces[column], contested=overlap > CONTEST_IOU)
            taken.add(column)
        for column, face in enumerate(faces):
            room = len(self.visible) < self._options.max_faces
            overlap = self._overlap_with_visible(face)
            if column not in taken and room and overlap <= SAME_FACE_IOU:
                self._begin(face, contested=overlap > CONTEST_IOU)
        if self.visible:
            self._last_face_s = self._now_s

    def _is_believable(self, track: Track, pose: HeadPose, overlap: float) -> bool:
        need = self._min_confidence * (1.0 if track.lost else KEEP_CONFIDENCE_RATIO)
        if pose.confidence < need or self._part_inside(pose) < MIN_INSIDE:
            return False
        if track.lost and overlap > CONTEST_IOU:
            return False  # the other face draws the network; the detector will tell
        return track.motion.surprise(pose, self._now_s) <= MAX_SURPRISE

    def _settle_collapses(
        self, claims: list[tuple[Track, Observation]]
    ) -> list[tuple[Track, Observation]]:
        """Of tracks on one face keep the one whose motion before they met explains it best; the
        older one where they explain it alike."""

        def rank(claim: tuple[Track, Observation]) -> tuple[float, int]:
            track, observation = claim
            surprise = track.own_motion().surprise(observation.pose, self._now_s)
            return round(surprise, 1), track.track_id

        standing: list[tuple[Track, Observation]] = []
        for track, observation in sorted(claims, key=rank):
            taken = [other.pose.box_xyxy_px for _, other in standing]
            if _max_iou(observation.pose.box_xyxy_px, taken) < COLLAPSE_IOU:
                standing.append((track, observation))
        return standing

    def _begin(self, face: Observation, contested: bool) -> None:
        motion = Motion.start(face.pose, face.ray_box, self._now_s)
        own = None if contested else motion
        self._tracks.append(Track(self._next_id, face.pose, motion, self._now_s, own))
        self._next_id += 1

    def _see(self, track: Track, observation: Observation, contested: bool) -> None:
        pose, ray_box = observation.pose, observation.ray_box
        track.motion = track.motion.seen(pose, ray_box, self._now_s)
        track.pose, track.lost, track.seen_s = pose, False, self._now_s
        if not contested:
            track.motion_before_contest = track.motion

    def _lose(self, track: Track) -> None:
        if not track.lost:
            track.lost, track.motion = True, track.own_motion()

    def _distinct_faces(self, seen: Sequence[Observation]) -> list[Observation]:
        """Confident ones, each face once, none that a visible track is on."""
        kept: list[Observation] = []
        for observation in sorted(seen, key=lambda o: -o.pose.confidence):
            box = observation.pose.box_xyxy_px
            if (
                observation.pose.confidence >= self._min_confidence
                and self._part_inside(observation.pose) >= MIN_INSIDE
                and self._overlap_with_visible(observation) < COLLAPSE_IOU
                and _max_iou(box, [o.pose.box_xyxy_px for o in kept]) < SAME_FACE_IOU
            ):
                kept.append(observation)
        return kept

    def _match(self, lost: list[Track], faces: list[Observation]) -> list[tuple[int, int]]:
        """Pairs (lost track, face) of the cheapest assignment among those that motion allows."""
        if not lost or not faces:
            return []
        cost = np.full((len(lost), len(faces)), 1e6)
        for row, track in enumerate(lost):
            crop = track.motion.ray_box_at(self._now_s)
            for column, face in enumerate(faces):
                surprise = track.motion.surprise(face.pose, self._now_s)
                if surprise <= MAX_SURPRISE:
                    iou = iou_xyxy(_square_xyxy(crop[None]), _square_xyxy(face.ray_box[None]))[0, 0]
                    size = abs(float(np.log(face.ray_box[2] / crop[2])))
                    cost[row, column] = surprise + 0.5 * (1.0 - iou) + 0.5 * size
        rows, columns = linear_sum_assignment(cost)
        return [(r, c) for r, c in zip(rows, columns, strict=True) if cost[r, c] < 1e6]

    def _overlap_with_visible(self, observation: Observation) -> float:
        boxes = [track.pose.box_xyxy_px for track in self.visible]
        return _max_iou(observation.pose.box_xyxy_px, boxes)

    def _part_inside(self, pose: HeadPose) -> float:
        """Part of the mesh box that lies in the picture."""
        if self._camera is None:
            return 1.0
        low, high = pose.box_xyxy_px[:2], pose.box_xyxy_px[2:]
        inside = np.minimum(high, self._camera.size_wh_px) - np.maximum(low, 0.0)
        return float(np.clip(inside, 0, None).prod() / max((high - low).prod(), 1e-9))


def _same_camera(a: Camera, b: Camera) -> bool:
    return a.size_wh_px == b.size_wh_px and np.allclose(a.K_image_from_cam, b.K_image_from_cam)


def _same_shape(a: Camera, b: Camera) -> bool:
    ratio = (a.size_wh_px[0] * b.size_wh_px[1]) / (a.size_wh_px[1] * b.size_wh_px[0])
    return abs(ratio - 1.0) < 0.02


def _square_xyxy(ray_boxes: Float[Array, "n 3"]) -> Float[Array, "n 4"]:
    half = ray_boxes[:, 2:] / 2
    return np.concatenate([ray_boxes[:, :2] - half, ray_boxes[:, :2] + half], 1)


def _max_iou(box_xyxy_px: Float[Array, "4"], others: Sequence[Float[Array, "4"]]) -> float:
    return float(iou_xyxy(box_xyxy_px[None], np.stack(others)).max()) if others else 0.0


def _max_other_iou(boxes: Sequence[Float[Array, "4"]], i: int) -> float:
    return _max_iou(boxes[i], [*boxes[:i], *boxes[i + 1 :]])
