"""What a synthetic picture shows: pose, distance, face, light, hair and things, drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from models.geometry.cameras import Camera
from models.geometry.rotations import about_x, about_y, matrix_from_ypr_300wlp
from viewer.datasets.synthetic_format import THINGS
from viewer.synthesis.hair import HairStyle, sample_hair
from viewer.synthesis.portrait_wear import UNKNOWN_WEAR, Wear
from viewer.synthesis.portraits import PortraitAsset

Array = np.ndarray

FACE_OF_PICTURE_MIN, FACE_OF_PICTURE_MAX = 0.25, 0.5
"""Extent of the landmarks relative to the picture's side: the larger leaves room to turn and move
the crop, the smaller is 64 of 256 px."""

NegativeKind = Literal["background", "back of a head", "things"]


@dataclass(frozen=True)
class SceneConfig:
    """How often and how much of everything; the defaults are the training distribution."""

    yaw_max_deg: float = 100.0
    """Half of the heads are uniform in yaw up to here, the others normal with 35 degrees."""
    pitch_max_deg: float = 70.0
    """30 % of the heads are uniform in pitch up to here, the others normal with 20 degrees."""
    roll_sd_deg: float = 12.0
    """Roll of most heads; training adds more by turning the camera."""
    any_roll: float = 0.0
    """Share of heads whose roll is uniform: half of them to 60 degrees, half to 180."""
    distance_min_m: float = 0.2
    """Nearest head; distances are uniform in their logarithm."""
    distance_max_m: float = 3.0
    """Farthest head."""
    focal_min_px: float = 450.0
    """Shortest focal length of the whole picture that the head is cut out of; they are uniform in
    their logarithm. A webcam's 640 px have 450 to 900 px, a phone's 4,000 px about 3,000 px."""
    focal_max_px: float = 5000.0
    """Longest focal length of the whole picture."""
    off_axis_max: float = 0.45
    """How far from the optical axis the head may be, in x/z."""
    expressive: float = 0.65
    """Share of heads with another expression than the portrait's."""
    negatives: float = 0.0
    """Share of pictures without a face."""
    occluded: float = 0.3
    """Share of heads with something before the face."""


@dataclass(frozen=True)
class Light:
    """Lamp and surroundings. direction_cam: towards the lamp, camera frame, unit."""

    direction_cam: Float[Array, "3"]
    lamp_rgb: Float[Array, "3"]
    ambient_rgb: Float[Array, "3"]
    gloss: float
    casts_shadow: bool


@dataclass(frozen=True)
class Scene:
    """One picture before it is drawn. Poses relate the project's `head` frame to the camera.

    whole_focal_px: of the camera's whole picture, from which this one is cut out.
    """

    person: str
    negative: NegativeKind | None
    R_cam_from_head: Float[Array, "3 3"]
    t_cam_from_head_m: Float[Array, "3"]
    whole_focal_px: float
    identity: Float[Array, "60"]
    expression: Float[Array, "52"]
    eye_angles_deg: Float[Array, "2 2"]
    hair: HairStyle
    body_from_head: Float[Array, "3 3"]
    light: Light
    things: tuple[str, ...]


def sample_pose(
    config: SceneConfig, rng: np.random.Generator
) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
    """R and t (metres). Angles are relative to the line of sight, so that a head at the picture's
    edge shows no more of its back than one in the middle."""
    uniform = rng.random() < 0.5
    yaw = rng.uniform(-1, 1) * config.yaw_max_deg if uniform else rng.normal(0, 35)
    level = rng.random() < 0.7
    pitch = rng.normal(0, 20) if level else rng.uniform(-1, 1) * config.pitch_max_deg
    roll = rng.normal(0, config.roll_sd_deg)
    if rng.random() < config.any_roll:
        roll = rng.uniform(-1, 1) * rng.choice([60.0, 180.0])
    yaw = float(np.clip(yaw, -config.yaw_max_deg, config.yaw_max_deg))
    pitch = float(np.clip(pitch, -config.pitch_max_deg, config.pitch_max_deg))
    distance = np.exp(rng.uniform(np.log(config.distance_min_m), np.log(config.distance_max_m)))
    # a near head fills the picture, so it is not far from the axis
    reach = config.off_axis_max * min(1.0, 0.3 + distance) * (0.2 if rng.random() < 0.3 else 1.0)
    ray = np.array([rng.uniform(-reach, reach), 0.78 * rng.uniform(-reach, reach), 1.0])
    R = to_ray(ray) @ matrix_from_ypr_300wlp(yaw, pitch, float(roll))
    return R, ray * distance


def cut_out_camera(
    landmarks_cam_m: Float[Array, "468 3"], whole_focal_px: float, size_px: int
) -> Camera:
    """Camera of a square look at the face, cut out of a wider picture: the axis may lie outside.

    The cut-out has the wider picture's own pixels, unless the face is so large that it has to be
    scaled down, to `FACE_OF_PICTURE_MAX`, or so small that a nearer look is taken.
    """
    rays = landmarks_cam_m[:, :2] / landmarks_cam_m[:, 2:]
    low, high = rays.min(0), rays.max(0)
    of_picture = whole_focal_px * float((high - low).max()) / size_px
    of_picture = float(np.clip(of_picture, FACE_OF_PICTURE_MIN, FACE_OF_PICTURE_MAX))
    focal = size_px * of_picture / float((high - low).max())
    middle = size_px / 2 - focal * (low + high) / 2
    K = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1.0]])
    return Camera(K, (size_px, size_px), "rendered")


def to_ray(ray: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """The rotation of the optical axis onto a line of sight: about y, then about the new x."""
    yaw = np.degrees(np.arctan2(ray[0], ray[2]))
    pitch = np.degrees(np.arctan2(-ray[1], np.hypot(ray[0], ray[2])))
    return about_y(float(yaw)) @ about_x(float(pitch))


def sample_face(
    portrait: PortraitAsset,
    config: SceneConfig,
    names: Sequence[str],
    rng: np.random.Generator,
) -> tuple[Float[Array, "60"], Float[Array, "52"]]:
    """Identity and expression near the portrait's, so that its texture still fits."""
    identity = portrait.identity * rng.uniform(0.7, 1.2) + rng.normal(0, 0.45, 60)
    expression = portrait.expression.copy()
    if rng.random() < config.expressive:
        extra = np.where(rng.random(52) < 0.15, rng.uniform(0, 0.9, 52), 0.0)
        for n, name in enumerate(names):
            if name.startswith("eyeLook") or name == "tongueOut":
                extra[n] = 0.0
        expression = expression * rng.uniform(0, 1) + extra
        for share, group, low, high in (
            (0.30, ("jawOpen",), 0.1, 0.9),
            (0.15, ("eyeBlinkLeft", "eyeBlinkRight"), 0.3, 1.0),
            (0.20, ("mouthSmileLeft", "mouthSmileRight"), 0.2, 1.0),
        ):
            if rng.random() < share:
                weight = rng.uniform(low, high)
                for name in group:
                    expression[names.index(name)] = weight
    return identity.clip(-3, 3), expression.clip(-0.1, 1)


def sample_light(rng: np.random.Generator) -> Light:
    """From flat to hard, from any side that the camera sees; tinted."""
    contrast = rng.uniform(0, 0.8) if rng.random() < 0.7 else 0.0
    direction = rng.normal(size=3)
    direction[2] = -abs(direction[2])
    direction /= np.linalg.norm(direction)
    exposure = np.exp(rng.normal(0, 0.18))
    skin_tone = 1 + rng.normal(0, 0.06, 3)
    return Light(
        direction,
        exposure * contrast * 1.6 * (1 + rng.normal(0, 0.08, 3)) * skin_tone,
        exposure * (1 - contrast) * skin_tone,
        float(rng.uniform(0, 0.22)) if rng.random() < 0.5 else 0.0,
        bool(contrast > 0.25 and rng.random() < 0.6),
    )


def sample_things(config: SceneConfig, rng: np.random.Generator) -> tuple[str, ...]:
    """What is worn or held before the face."""
    if rng.random() >= config.occluded:
        return ()
    first = str(rng.choice(THINGS, p=[0.38, 0.14, 0.22, 0.08, 0.06, 0.12]))
    if rng.random() < 0.15:
        return tuple(sorted({first, str(rng.choice(THINGS))}))
    return (first,)


def sample_scene(
    portraits: Sequence[PortraitAsset],
    config: SceneConfig,
    expression_names: Sequence[str],
    rng: np.random.Generator,
    wears: Mapping[str, Wear] | None = None,
) -> Scene:
    """One scene of a random person among `portraits`.

    wears: by person, what each has on; who is not in it, or has a hat, keeps what is on the head
        as it is, and gets no locks over it; who is not in it, or has glasses, gets no others.
    """
    portrait = portraits[rng.integers(len(portraits))]
    other = portraits[rng.integers(len(portraits))]
    R, t = sample_pose(config, rng)
    identity, expression = sample_face(portrait, config, expression_names, rng)
    hair = sample_hair(rng, other.hair_rgb if rng.random() < 0.6 else portrait.hair_rgb)
    wear = (wears or {}).get(portrait.person, UNKNOWN_WEAR)
    if wear.headwear:
        hair = replace(hair, kind="kept")
    excluded = ("strands",) * wear.headwear + ("glasses",) * wear.glasses
    negative: NegativeKind | None = None
    if rng.random() < config.negatives:
        negative = ("background", "back of a head", "things")[rng.choice(3, p=[0.45, 0.35, 0.2])]
        if negative == "back of a head":
            # from the side to here some of a cheek shows: neither a face nor none
            angles = rng.uniform(150, 210), rng.normal(0, 25), rng.normal(0, 25)
            R = to_ray(t) @ matrix_from_ypr_300wlp(*map(float, angles))
    gaze = rng.normal(0, [14.0, 9.0]).clip(-35, 35)
    eyes = gaze + rng.normal(0, 1.0, (2, 2)) if rng.random() < 0.4 else np.zeros((2, 2))
    focal_px = np.exp(rng.uniform(np.log(config.focal_min_px), np.log(config.focal_max_px)))
    # the body faces the camera more than the head does
    toward = rng.uniform(0.0, 0.8)
    yaw_pitch = R_to_yaw_pitch_deg(to_ray(t).T @ R) * -toward + rng.normal(0, 8, 2)
    body = about_y(float(yaw_pitch[0].clip(-55, 55))) @ about_x(float(yaw_pitch[1].clip(-30, 30)))
    return Scene(
        portrait.person,
        negative,
        R,
        t,
        float(focal_px),
        identity,
        expression,
        eyes,
        hair,
        body,
        sample_light(rng),
        tuple(thing for thing in sample_things(config, rng) if thing not in excluded),
    )


def R_to_yaw_pitch_deg(R: Float[Array, "3 3"]) -> Float[Array, "2"]:  # noqa: N802
    """Turn about the head's y and x axis that leads from the line of sight to the nose."""
    nose = R @ np.array([0.0, 0.0, -1.0])
    return np.degrees([np.arctan2(-nose[0], -nose[2]), np.arcsin(np.clip(nose[1], -1, 1))])
