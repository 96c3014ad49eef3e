"""Published figures beside which a report puts its own. Each is its authors' own, with the source.

Sources contradict each other in places (PerspNet on ARKitFace), so both are here.
"""

from __future__ import annotations

from dataclasses import dataclass

TRG, TRG_V2 = "TRG", "TRGv2"
SOURCES = (
    "TRG: Chun and Chang, 6DoF Head Pose Estimation through Explicit Bidirectional Interaction "
    "with Face Geometry, ECCV 2024. TRGv2: its successor, Pattern Recognition 179 (2026)."
)

_ARKITFACE = f"""
img2pose | 5.55 - 7.02 20.54 - - | {TRG}, table 2
Direct 6DoF | 1.87 - 9.06 21.39 - - | {TRG}, table 2
Refined Pix2Pose | 2.35 - 14.00 36.44 - - | {TRG}, table 2
PRNet | - - - - 2.05 1.97 | {TRG}, table 3
3DDFA-v2 | - - - - 2.31 2.35 | {TRG}, table 3
Deng et al. | - - - - 2.55 2.46 | {TRG}, table 3
JMLR, retrained | 1.16 2.39 4.86 11.87 1.94 1.86 | {TRG}, tables 2 and 3
PerspNet | 0.99 1.81 4.18 10.01 1.76 1.72 | {TRG}, tables 2 and 3
PerspNet | - - 4.38 10.30 - - | {TRG_V2}
TRG | 0.92 1.80 3.64 8.74 1.61 1.55 | {TRG}, tables 2 and 3
TRG★ (ARKitFace + 300W-LP) | 0.91 1.84 3.62 8.68 1.58 1.55 | {TRG}, tables 2 and 3
TRGv2 | 0.87 1.76 3.64 8.76 - - | {TRG_V2}
"""
_ARKITFACE_COLUMNS = (
    "mae_r_deg",
    "ge_deg",
    "mae_t_mm",
    "add_mm",
    "dense_mean_mm",
    "dense_median_mm",
)

_BIWI_ROTATIONS = f"""
HopeNet | 4.81 6.61 3.27 4.89 9.53 - - - - - | {TRG}, table 4
FSA-Net | 4.27 4.96 2.76 4.00 7.64 - - - - - | {TRG}, table 4
WHENet-V | 3.60 4.10 2.73 3.48 - - - - - - | {TRG}, table 4
6DRepNet | 3.24 4.48 2.68 3.47 - - - - - - | {TRG}, table 4
TokenHPE | 3.95 4.51 2.71 3.72 - - - - - - | {TRG}, table 4
DAD-3DNet | 3.79 5.24 2.92 3.98 - - - - - - | DAD-3DNet's authors
"""
_BIWI = f"""{_BIWI_ROTATIONS.rstrip()}
img2pose | 4.57 3.55 3.24 3.79 7.10 - - - - - | {TRG}, table 4
Direct 6DoF | 16.49 14.03 5.81 12.11 - 62.36 85.01 366.52 171.30 562.38 | {TRG}, table 4
Refined Pix2Pose | 5.75 5.06 11.23 7.35 - 16.82 21.30 255.36 97.83 356.32 | {TRG}, table 4
MICA | 5.40 7.17 3.80 5.46 - 9.32 13.66 60.13 27.70 68.03 | {TRG}, table 4
JMLR, retrained | 6.31 6.17 3.72 5.40 8.61 8.66 7.27 32.63 16.19 39.71 | {TRG}, table 4
PerspNet | 3.10 3.37 2.38 2.95 5.61 4.15 6.43 46.69 19.09 100.09 | {TRG}, table 4
TRG | 3.28 3.52 1.87 2.89 5.68 8.41 7.38 27.13 14.31 32.10 | {TRG}, table 4
TRG★ (ARKitFace + 300W-LP) | 3.04 3.44 1.78 2.75 5.35 7.83 6.99 24.07 12.97 29.46 | {TRG}, table 4
TRGv2 | 3.12 3.60 1.90 2.87 5.73 - - - 13.56 31.35 | {TRG_V2}
"""
_BIWI_COLUMNS = (
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "mae_r_deg",
    "ge_deg",
    "tx_mm",
    "ty_mm",
    "tz_mm",
    "mae_t_mm",
    "add_mm",
)

_AFLW2000 = """
6DRepNet | 3.97 | its authors
6DRepNet360 | 3.61 | its authors
DAD-3DNet | 3.66 | its authors
VGGHeads | 3.76 | its authors
SynergyNet | 3.35 | its authors
SemiUHPE | 3.35 | its authors
OPAL23 | 3.27 | its authors
NLML-HPE | 3.08 | its authors
"""

CAVEATS = {
    "biwi-15678": "Each method looked at its own crops and frames: with one shared detector's "
    "boxes another paper measured TRG at a MAE_r of 5.15. The rotation-only methods were tested on "
    "subsets of the frames and with uncalibrated rotations.",
    "biwi-13219": "As tables repeat them; which frames each method was tested on is not always "
    "said.",
    "biwi-15678-aligned": "The published figures are without alignment: they do not compare.",
}


@dataclass(frozen=True)
class Published:
    """figures: by the names of `ProtocolMetrics`; what is absent was not published."""

    method: str
    figures: dict[str, float]
    source: str


def _rows(text: str, columns: tuple[str, ...]) -> tuple[Published, ...]:
    rows = []
    for line in text.strip().splitlines():
        method, values, source = (part.strip() for part in line.split("|"))
        pairs = zip(columns, values.split(), strict=True)
        rows.append(Published(method, {k: float(v) for k, v in pairs if v != "-"}, source))
    return tuple(rows)


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "arkitface-test": _rows(_ARKITFACE, _ARKITFACE_COLUMNS),
    "biwi-15678": _rows(_BIWI, _BIWI_COLUMNS),
    "biwi-15678-aligned": _rows(_BIWI, _BIWI_COLUMNS),
    "biwi-13219": _rows(_BIWI_ROTATIONS, _BIWI_COLUMNS),
    "aflw2000-99": _rows(_AFLW2000, ("mae_r_deg",)),
}
"""By protocol; for the others nothing comparable was published."""
