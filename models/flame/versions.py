"""Whether parameters were made for the model that they are given to.

FLAME's parameter files do not say for which FLAME they are: MICA's are for FLAME 2020, and who
opens a file knows where it comes from.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from models.flame.assets import FLAME_FILES, OPEN_HEAD_NAME, FlameAssets

MICA_VERSION = "FLAME 2020"
VERSIONS = (*dict.fromkeys(FLAME_FILES.values()), OPEN_HEAD_NAME)
_NO_JAW, _JAW_DEG = "FLAME 2023 no jaw", 0.1


def version_mismatch(
    made_for: str | None,
    assets: FlameAssets,
    pose_rad: Float[np.ndarray, "p"] | None = None,
) -> str:
    """A sentence on why the parameters are not this model's; "" where nothing speaks against it.

    made_for: one of VERSIONS; None where nobody knows. pose_rad: a rotation vector per joint.
    """
    if pose_rad is not None and len(pose_rad) != 3 * len(assets.joint_names):
        joints = f"The pose has {len(pose_rad)} numbers, {_the(assets.name)} needs "
        return f"{_of_versions(made_for, assets)} {joints}{3 * len(assets.joint_names)}.".strip()
    return f"{_of_versions(made_for, assets)} {_of_jaw(assets, pose_rad)}".strip()


def _of_versions(made_for: str | None, assets: FlameAssets) -> str:
    versions = {made_for, assets.name}
    if len(versions & set(VERSIONS)) < 2:
        return ""
    what = f"The parameters are of {_the(made_for)}, the model is {_the(assets.name)}: "
    if versions == {"FLAME 2023", _NO_JAW}:
        return (
            f"{what}{_NO_JAW} opens the mouth by its expressions and FLAME 2023 by the jaw "
            "joint, so the face is another one."
        )
    return f"{what}identity and expression mean other things there, so the face is another one."


def _of_jaw(assets: FlameAssets, pose_rad: Float[np.ndarray, "p"] | None) -> str:
    if pose_rad is None or assets.has_jaw or "jaw" not in assets.joint_names:
        return ""
    jaw_rad = pose_rad.reshape(-1, 3)[assets.joint_names.index("jaw")]
    jaw_deg = np.degrees(np.linalg.norm(jaw_rad))
    if jaw_deg < _JAW_DEG:
        return ""
    return (
        f"The parameters turn the jaw by {jaw_deg:.1f} deg and {_the(assets.name)} does not: it "
        "opens the mouth by its expressions. They are of a model with a jaw."
    )


def _the(name: str | None) -> str:
    return f"the {name}" if name == OPEN_HEAD_NAME else str(name)
