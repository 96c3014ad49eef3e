"""A portrait made ready for rendering: texture on the fitted head, paint for what is not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.sparse import diags
from scipy.sparse.linalg import splu

from models.face_detection.mtcnn import MtcnnDetector
from models.face_landmarks.face_mesh import FaceLandmarks468, load_face_landmarks
from models.face_landmarks.in_picture import PictureLandmarks, locate_landmarks
from viewer.synthesis.head_paint import smooth_step
from viewer.synthesis.head_regions import (
    depth_buffer,
    head_regions,
    seen_vertices,
    vertex_normals,
)
from viewer.synthesis.portrait_fit import (
    PortraitFit,
    fit_portrait,
    fitted_vertices_m,
    open_head,
    portrait_camera,
)
from viewer.synthesis.portrait_mask import person_mask
from viewer.synthesis.portrait_shape import build_sheet, hair_inflation
from viewer.synthesis.portraits import (
    PORTRAIT_PX,
    PortraitAsset,
    PortraitError,
    made_from_sha256,
)

Array = np.ndarray

WORST_FIT_PX = 4.0
LOWEST_PRESENCE = 0.5
SMALLEST_FACE_PX = 80

FACING_LIMITS = (0.08, 0.35)
"""Cosines between which a surface that turns away stops being painted from the portrait."""
SOURCE_WEIGHT = 0.6
"""What is seen better than this is copied to the other side and spread into what is not seen."""

HAIR_PULL, EAR_PULL, SKIN_PULL = 0.5, 0.1, 0.015
"""How strongly unseen hair, ears and skin tend to their own colour instead of their neighbours'."""
CAVITY_SHADE = 0.35
"""Brightness of unseen places that no light reaches; others are shaded by the renderer."""

EYE_WHITE_RGB, TEETH_RGB = (212.0, 208.0, 204.0), (214.0, 205.0, 190.0)
TONGUE_RGB, GUM_RGB, THROAT_RGB = (168.0, 92.0, 90.0), (120.0, 56.0, 54.0), (38.0, 14.0, 14.0)

LIPS_INSIDE, MOUTH_CORNERS = (13, 14), (61, 291)
OPEN_MOUTH = 0.06
"""Gap between the lips relative to the mouth's width from which teeth count as seen."""

TOP_OF_FACE = 10

UNLIKE_SKIN = 45.0
"""Distance of colours (0 to 255) from which what is above the forehead is no bare skin."""


@dataclass(frozen=True)
class _Colours:
    hair: Float[Array, "3"]
    skin: Float[Array, "3"]

    def is_hair(self, rgb: Float[Array, "n 3"]) -> Bool[Array, "n"]:
        """Nearer to the hair's colour than to the skin's."""
        return np.linalg.norm(rgb - self.hair, axis=1) < np.linalg.norm(rgb - self.skin, axis=1)


def build_portrait(path: Path | str, person: str | None = None) -> PortraitAsset:
    """Detect, fit, segment and paint.

    person: identity of the portrait, the file's name without suffix if None.
    Raises: PortraitError if there is no usable face, or the head does not fit it.
    """
    path = Path(path)
    encoded = np.fromfile(path, np.uint8) if path.is_file() else np.zeros(0, np.uint8)
    image_bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if image_bgr is None:
        raise PortraitError(f"{path} is not a readable picture.")
    portrait = portrait_from_image(image_bgr[..., ::-1].copy(), person or path.stem)
    return replace(portrait, made_from_sha256=made_from_sha256(path))


def portrait_from_image(image_rgb: UInt8[Array, "h w 3"], person: str) -> PortraitAsset:
    """As `build_portrait`. The middle square of the picture is used."""
    image_rgb = _square(image_rgb)
    landmarks = _find_landmarks(image_rgb, person)
    fit = fit_portrait(landmarks.points_px, portrait_camera((PORTRAIT_PX, PORTRAIT_PX)))
    if fit.error_px > WORST_FIT_PX:
        raise PortraitError(
            f"{person}: the head misses the landmarks by {fit.error_px:.1f} px on average "
            f"(at most {WORST_FIT_PX:g} are accepted)."
        )
    return textured_portrait(image_rgb, person_mask(image_rgb), landmarks, fit, person)


def textured_portrait(
    image_rgb: UInt8[Array, "512 512 3"],
    mask: UInt8[Array, "512 512"],
    landmarks: PictureLandmarks,
    fit: PortraitFit,
    person: str,
) -> PortraitAsset:
    """Everything after the fit."""
    vertices = fitted_vertices_m(fit.identity, fit.expression)
    points_cam = vertices @ fit.R_cam_from_open_head.T + fit.t_cam_from_open_head_m
    texture_px = fit.camera.project(points_cam)
    weight = _texture_weight(fit, vertices, points_cam, texture_px, mask, landmarks)
    soft_rgb = cv2.GaussianBlur(image_rgb, (0, 0), 1.5)
    colours = _person_colours(soft_rgb, mask, landmarks.points_px, texture_px, weight, fit)
    fill_rgb = _filled(_sampled(soft_rgb, texture_px), weight, colours)
    inflation = hair_inflation(fit, vertices, mask)
    sheet = build_sheet(fit, vertices, inflation, mask)
    return PortraitAsset(
        person=person,
        image_rgb=image_rgb,
        person_mask=mask,
        camera=fit.camera,
        R_cam_from_open_head=fit.R_cam_from_open_head,
        t_cam_from_open_head_m=fit.t_cam_from_open_head_m,
        identity=fit.identity,
        expression=fit.expression,
        texture_px=texture_px,
        texture_weight=weight,
        fill_rgb=fill_rgb,
        hair_rgb=colours.hair,
        skin_rgb=colours.skin,
        inflation=inflation,
        sheet_vertices_open_head_m=sheet.vertices_open_head_m,
        sheet_px=sheet.points_px,
        sheet_triangles=sheet.triangles,
        fit_error_px=fit.error_px,
    )


@cache
def _detector() -> MtcnnDetector:
    return MtcnnDetector("cpu", min_face_fraction=1 / 6)


@cache
def _face_landmarks() -> FaceLandmarks468:
    return load_face_landmarks()


def _square(image_rgb: UInt8[Array, "h w 3"]) -> UInt8[Array, "512 512 3"]:
    height, width = image_rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image_rgb[top : top + side, left : left + side])
    shrink = cv2.INTER_AREA if side > PORTRAIT_PX else cv2.INTER_CUBIC
    return cv2.resize(square, (PORTRAIT_PX, PORTRAIT_PX), interpolation=shrink)


def _find_landmarks(image_rgb: UInt8[Array, "512 512 3"], person: str) -> PictureLandmarks:
    """Of the largest face. Raises: PortraitError."""
    faces = _detector().detect(image_rgb)
    if len(faces) == 0:
        raise PortraitError(f"{person}: no face was found.")
    sides = faces.boxes_xyxy_px[:, 2:] - faces.boxes_xyxy_px[:, :2]
    best = int(sides.prod(1).argmax())
    if sides[best].max() < SMALLEST_FACE_PX:
        raise PortraitError(
            f"{person}: the face is {sides[best].max():.0f} px high when the picture is "
            f"{PORTRAIT_PX} px; {SMALLEST_FACE_PX} are needed."
        )
    found = locate_landmarks(
        _face_landmarks(), image_rgb, faces.boxes_xyxy_px[best], faces.landmarks5_px[best]
    )
    if found.presence < LOWEST_PRESENCE:
        raise PortraitError(f"{person}: what was found does not look like a face.")
    return found


def _texture_weight(
    fit: PortraitFit,
    vertices_m: Float[Array, "v 3"],
    points_cam: Float[Array, "v 3"],
    texture_px: Float[Array, "v 2"],
    mask: UInt8[Array, "512 512"],
    landmarks: PictureLandmarks,
) -> Float[Array, "v"]:
    """How well the portrait shows each vertex, 0 to 1."""
    head, regions = open_head(), head_regions()
    _, depth_m = depth_buffer(texture_px, points_cam[:, 2], head.head_triangles, PORTRAIT_PX)
    seen = seen_vertices(texture_px, points_cam[:, 2], depth_m)
    seen &= ((texture_px > 1.5) & (texture_px < PORTRAIT_PX - 1.5)).all(1)
    to_camera = -points_cam / np.linalg.norm(points_cam, axis=1, keepdims=True)
    normals = vertex_normals(vertices_m, head.triangles)
    facing = (normals * (to_camera @ fit.R_cam_from_open_head)).sum(1)
    person = _sampled(cv2.erode(mask, np.ones((7, 7)))[..., None], texture_px)[:, 0] > 127
    weight = smooth_step(facing, *FACING_LIMITS) * (seen & person)
    inside = ~regions.is_skin
    weight[inside] = (seen & (facing > 0.05))[inside]
    weight[regions.shoulders] = 0.0  # the portrait's own are elsewhere, and clothed
    if not _mouth_is_open(landmarks):
        weight[_vertices_of("teeth_up", "teeth_low", "tongue")] = 0.0
        weight[regions.mouth_inside] = 0.0
    return weight


def _mouth_is_open(landmarks: PictureLandmarks) -> bool:
    upper, lower = landmarks.points_px[list(LIPS_INSIDE), :2]
    left, right = landmarks.points_px[list(MOUTH_CORNERS), :2]
    return bool(np.linalg.norm(lower - upper) > OPEN_MOUTH * np.linalg.norm(right - left))


def _vertices_of(*parts: str) -> Array:
    return np.unique(np.concatenate([open_head().triangles_of(part) for part in parts]))


def _sampled(image: UInt8[Array, "h w c"], points_px: Float[Array, "n 2"]) -> Float[Array, "n c"]:
    """Colours of the pixels that the points lie in."""
    column, row = np.clip(points_px.astype(np.int64), 0, PORTRAIT_PX - 1).T
    return image[row, column].astype(np.float64)


def _person_colours(
    soft_rgb: UInt8[Array, "512 512 3"],
    mask: UInt8[Array, "512 512"],
    landmarks_px: Float[Array, "468 3"],
    texture_px: Float[Array, "v 2"],
    weight: Float[Array, "v"],
    fit: PortraitFit,
) -> _Colours:
    """The face's colour, and that of what is above the forehead or, if that is bare, of the hair
    further back as far as it is seen."""
    skin = _body_colour(_sampled(soft_rgb, landmarks_px[:, :2]))
    up = fit.R_cam_from_open_head[:2, 1]
    up = up / np.maximum(np.linalg.norm(up), 1e-9)
    across = np.array([-up[1], up[0]])
    face_px = np.ptp(landmarks_px[:, 0])
    above, aside = np.meshgrid(np.linspace(0.12, 0.5, 12), [-0.25, -0.12, 0.0, 0.12, 0.25])
    offsets = above.ravel()[:, None] * up + aside.ravel()[:, None] * across
    at = landmarks_px[TOP_OF_FACE, :2] + face_px * offsets
    inside = ((at >= 0) & (at < PORTRAIT_PX)).all(1)
    inside &= _sampled(mask[..., None], at)[:, 0] > 204
    if inside.sum() > 8:
        hair = _body_colour(_sampled(soft_rgb, at[inside]))
        if np.linalg.norm(hair - skin) > UNLIKE_SKIN:
            return _Colours(hair, skin)
    back = texture_px[(head_regions().hair > 0.8) & (weight > 0.3)]
    return _Colours(_body_colour(_sampled(soft_rgb, back)) if len(back) > 8 else skin, skin)


def _body_colour(rgb: Float[Array, "n 3"]) -> Float[Array, "3"]:
    """Median of the darker three quarters: highlights have the lamp's colour."""
    brightness = rgb.sum(1)
    return np.median(rgb[brightness <= np.quantile(brightness, 0.75)], axis=0)


def _filled(
    seen_rgb: Float[Array, "v 3"], weight: Float[Array, "v"], colours: _Colours
) -> Float[Array, "v 3"]:
    """A colour for every vertex: as seen, else as at the other side, else spread over the mesh."""
    regions = head_regions()
    usable = (regions.is_skin | regions.shoulders) & ~regions.mouth_inside
    known = usable & (weight > SOURCE_WEIGHT)
    rgb = np.where(known[:, None], seen_rgb, 0.0)
    mirrored = usable & ~known & known[regions.mirror_ids]
    rgb[mirrored] = seen_rgb[regions.mirror_ids[mirrored]]
    known_too = known | mirrored
    unknown = np.flatnonzero(usable & ~known_too)
    sources = np.flatnonzero(known_too)
    target, pull = _own_colour(rgb, known_too, colours)
    system = regions.laplacian[unknown][:, unknown] + diags(pull[unknown])
    spread = -regions.laplacian[unknown][:, sources] @ rgb[sources]
    solve = splu(system.tocsc())
    rgb[unknown] = solve.solve(spread + pull[unknown, None] * target[unknown])
    shade = CAVITY_SHADE + (1 - CAVITY_SHADE) * smooth_step(regions.openness, 0.0, 0.35)
    rgb[unknown] *= shade[unknown, None]
    _paint_inside(rgb, seen_rgb, weight, colours)
    return np.clip(rgb, 0, 255)


def _own_colour(
    rgb: Float[Array, "v 3"], known: Bool[Array, "v"], colours: _Colours
) -> tuple[Float[Array, "v 3"], Float[Array, "v"]]:
    """What each unseen vertex would be by itself, and how strongly.

    Ears and neck are hair (or a scarf) where what is seen of them is.
    """
    regions = head_regions()
    hair, pull = regions.hair.copy(), SKIN_PULL + (HAIR_PULL - SKIN_PULL) * regions.hair
    for region in (regions.ears, regions.neck):
        shown = region & known
        if shown.sum() > 8 and colours.is_hair(rgb[shown]).mean() > 0.6:
            hair[region] = 1.0
            pull[region] = EAR_PULL
        else:
            pull[region] = np.maximum(pull[region], EAR_PULL * regions.ears[region])
    return colours.skin + hair[:, None] * (colours.hair - colours.skin), pull


def _paint_inside(
    rgb: Float[Array, "v 3"],
    seen_rgb: Float[Array, "v 3"],
    weight: Float[Array, "v"],
    colours: _Colours,
) -> None:
    """Eyes, teeth, tongue and the inside of the mouth, in the brightness of the face."""
    regions = head_regions()
    light = float(np.clip(0.35 + 0.65 * colours.skin.mean() / 165.0, 0.4, 1.1))
    for parts, colour in (
        (("eye_l", "eye_r"), EYE_WHITE_RGB),
        (("teeth_up", "teeth_low"), TEETH_RGB),
        (("tongue",), TONGUE_RGB),
    ):
        ids = _vertices_of(*parts)
        shown = weight[ids] > SOURCE_WEIGHT
        depth = smooth_step(open_head().template_vertices_m[ids, 2], -0.01, 0.03)[:, None]
        made = light * np.array(colour) * (1.0 if "eye_l" in parts else 0.35 + 0.65 * depth)
        rgb[ids] = np.where(shown[:, None], seen_rgb[ids], made)
    ids = np.flatnonzero(regions.mouth_inside)
    front = smooth_step(open_head().template_vertices_m[ids, 2], 0.015, 0.05)[:, None]
    made = light * (np.array(THROAT_RGB) * (1 - front) + np.array(GUM_RGB) * front)
    shown = (weight[ids] > SOURCE_WEIGHT)[:, None]
    rgb[ids] = np.where(shown, seen_rgb[ids], made)
