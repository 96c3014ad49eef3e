"""AugmentConfig: how training pictures are varied."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AugmentConfig:
    """Chances and strengths; p_ is the chance that an effect is applied to a picture."""

    p_roll_normal: float = 0.66
    """Share of pictures rolled by a normally distributed angle."""
    p_roll_any: float = 0.17
    """Share rolled by any angle; the rest is rolled uniformly within roll_wide_deg."""
    roll_normal_deg: float = 12.0
    """Standard deviation of the first share."""
    roll_wide_deg: float = 60.0
    """Largest angle of the rest."""
    p_mirror: float = 0.5
    """Left and right exchanged."""

    box_log_scale: float = 0.25
    """The box is scaled by exp of a number within this."""
    box_shift: float = 0.06
    """Standard deviation of the box's shift, in extents of the landmarks."""
    box_shift_limit: float = 0.16
    """No shift is larger, per axis."""
    p_box_strong: float = 0.05
    """A far larger change of the box, so the face is cut off or small."""
    box_strong_shift: float = 0.3
    """Largest shift then."""
    box_strong_scale: tuple[float, float] = (0.6, 1.7)
    """Range of the scale then."""
    negative_box_scale: tuple[float, float] = (0.3, 1.2)
    """Side of the boxes of pictures without a face, in sides of the picture."""

    p_border_reflect: float = 0.25
    """Beyond the picture's edge: its mirror image; black if none of the three is drawn."""
    p_border_replicate: float = 0.15
    """Beyond the picture's edge: its last pixel."""
    p_border_colour: float = 0.15
    """Beyond the picture's edge: one colour."""

    p_occluder: float = 0.12
    """One or two rectangles or ellipses in front of the face."""
    occluder_side: tuple[float, float] = (0.08, 0.47)
    """Their sides, in sides of the crop."""
    p_cut_off: float = 0.04
    """The crop on one side of a line is replaced."""
    cut_off_distance: tuple[float, float] = (0.0, 0.7)
    """Distance of the line from the middle, in half sides."""

    p_side_light: float = 0.1
    """A change of brightness across the crop."""
    side_light_strength: tuple[float, float] = (0.3, 0.92)
    """How much darker the dark side is."""
    gamma_log: float = 0.18
    """Standard deviation of the logarithm of gamma."""
    contrast_log: float = 0.18
    """The same of the contrast."""
    brightness: float = 0.07
    """Standard deviation of the brightness that is added, of 1."""
    channel_log: float = 0.07
    """Standard deviation of the logarithm of each channel's gain."""
    p_gray: float = 0.07
    """No colour."""
    p_infrared: float = 0.03
    """Gray, slow changes partly inverted, dark corners."""
    p_low_light: float = 0.05
    """Dark, then amplified in part, with strong noise."""

    p_gaussian_blur: float = 0.12
    """Out of focus."""
    gaussian_blur_px: tuple[float, float] = (0.4, 2.5)
    """Standard deviation, pixels of the crop."""
    p_motion_blur: float = 0.06
    """Moved along a line; not where the picture is out of focus."""
    motion_blur_px: tuple[int, int] = (3, 13)
    """Length of the line."""
    p_small: float = 0.18
    """Sampled down and up again, as a small face is."""
    small_face_px: tuple[float, float] = (16.0, 110.0)
    """Width of the face then; small ones are as frequent as large ones."""
    p_noise: float = 0.28
    """Noise."""
    noise_level: tuple[float, float] = (1.0, 14.0)
    """Its standard deviation, of 255."""
    p_jpeg: float = 0.22
    """Compressed."""
    jpeg_quality: tuple[int, int] = (15, 85)
    """Range of the quality."""


@dataclass(frozen=True)
class TrgAugmentConfig:
    """The released TRG's variations, with exact labels; landmarks_ is for sets of landmarks alone.

    Those of 300W-LP are not mirrored: its folders *_Flip are in the set already.
    """

    p_rotate: float = 0.3
    """Share of pictures turned about their principal point."""
    rotate_deg: float = 30.0
    """Largest angle."""
    p_mirror: float = 0.5
    """Left and right exchanged."""
    p_mask: float = 0.0
    """A square of one colour in front of the face, a fifth of the crop wide."""
    box_shift: float = 0.15
    """Largest shift of the box, in extents of the landmarks."""
    box_scale: float = 0.05
    """The box is scaled by 1 plus or minus this at most."""
    landmarks_p_rotate: float = 0.5
    """As p_rotate, of sets of landmarks."""
    landmarks_p_mask: float = 0.15
    """As p_mask, of sets of landmarks."""
    landmarks_box_shift: float = 0.3
    """As box_shift, of sets of landmarks; their boxes are then moved into the picture."""
    brightness: float = 0.3
    """The picture is multiplied by 1 plus or minus this at most."""
    contrast: float = 0.3
    """The same about its mean gray."""
    saturation: float = 0.2
    """The same of the distance to gray."""
    hue: float = 0.01
    """Largest turn of the colours, of a whole one."""


WORSE_CAMERA = AugmentConfig(p_occluder=0.0, p_cut_off=0.0)
"""For `photo_effects` on whole pictures: the effects that hide nothing."""
