"""The verb `convert-flame`: FLAME's files, once, into one .npz that is no pickle."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class ConvertFlame:
    """Convert a FLAME model to one .npz file; nothing in the model's file is run.

    The .npz opens faster and holds the landmarks and masks too. The model's licence goes with it.
    """

    source: tyro.conf.Positional[Path]
    """generic_model.pkl, flame2023.pkl, flame2023_no_jaw.pkl, flame2023_Open.pkl or an .npz."""
    out: tyro.conf.Positional[Path]
    """The .npz to write."""
    landmark_embedding: Path | None = None
    """landmark_embedding.npy; the one beside the model if not given."""
    masks: Path | None = None
    """FLAME_masks.pkl; the one beside the model, or in FLAME_masks/ there, if not given."""
    overwrite: bool = False
    """Replace the .npz if it is there."""

    def run(self) -> int:
        from models.flame.assets import files_beside, read_flame_assets, write_flame_npz
        from models.flame.flame_files import FlameFileError

        if self.out.suffix != ".npz":
            return _refuse(f"{self.out} must end in .npz.")
        if self.out.exists() and not self.overwrite:
            return _refuse(f"{self.out} is already there; --overwrite replaces it.")
        embedding, masks = files_beside(self.source)
        try:
            assets = read_flame_assets(
                self.source, self.landmark_embedding or embedding, self.masks or masks
            )
            write_flame_npz(self.out, assets)
        except (FlameFileError, OSError) as error:
            return _refuse(str(error))
        landmarks = "68 landmarks" if assets.landmarks is not None else "no landmarks"
        sys.stdout.write(
            f"{assets.name}: {len(assets.template_vertices_m)} vertices, "
            f"{len(assets.shape_directions_m)} identity and {len(assets.expression_directions_m)} "
            f"expression directions, {len(assets.joint_names)} joints, {landmarks}, "
            f"{len(assets.masks)} masks: {self.out}\n"
        )
        return 0


def _refuse(sentence: str) -> int:
    sys.stderr.write(sentence + "\n")
    return 2
