"""FLAME parameters of the MICA data set: as the data set's page reads them, and as we do."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from demo_app.actions.flame_desk import FlameDesk
from demo_app.actions.flame_parameters import FlameTabError, HeadParameters
from models.flame.assets import FlameAssets
from models.flame.versions import MICA_VERSION, version_mismatch
from viewer.datasets.mica_files import SHAPE_COUNT, Parameters, read_obj, read_parameters
from viewer.datasets.mica_layout import Fit, fits_of, subset_folders
from viewer.datasets.source import DatasetError

Array = np.ndarray

MAX_FITS = 5000
SNIPPET = """import numpy as np
import torch

params = np.load('{name}', allow_pickle=True)
pose = torch.tensor(params['pose']).float()
betas = torch.tensor(params['betas']).float()

flame = {{
    'shape_params': betas[:300],
    'expression_params': betas[300:],
    'pose_params': torch.cat([pose[:3], pose[6:9]]),
}}"""


def read_mica(path: Path) -> Parameters:
    """Through the allow-list. Raises: FlameTabError."""
    try:
        return read_parameters(path)
    except DatasetError as error:
        raise FlameTabError(str(error).replace(str(path), path.name)) from error


def list_fits(root: Path) -> dict[str, Fit]:
    """All fits of a folder of MICA, or of one of its subsets, by key. Raises: FlameTabError."""
    fits: dict[str, Fit] = {}
    for subset in subset_folders(root):
        for actor in subset.actors():
            for fit in fits_of(subset, actor)[0]:
                if fit.parameters is not None and len(fits) < MAX_FITS:
                    fits[fit.key] = fit
    if not fits:
        raise FlameTabError(
            f"{root.name} has no FLAME_parameters/<actor>/*.npz, of one subset or of several."
        )
    return fits


def mica_parameters(
    desk: FlameDesk, found: Parameters, registration: Path | None = None
) -> tuple[HeadParameters | None, list[str]]:
    """The head of MICA's parameters and what is to be said of it; None where it cannot be made.

    registration: beside the parameters; it tells parameters of the open head from FLAME's.
    """
    assets = desk.assets
    if found.betas is None:
        return None, ["The file has no betas, so it says nothing of a head's shape."]
    made_for = _model_of(registration, assets)
    warnings = [version_mismatch(made_for, assets, found.pose_rad)]
    values = {
        "shape": found.betas[:SHAPE_COUNT],
        "expression": found.betas[SHAPE_COUNT:],
        "pose_rad": found.pose_rad if found.pose_rad is not None else np.zeros(0),
    }
    try:
        parameters = HeadParameters.of_model(assets, **values)
    except FlameTabError as error:
        return None, [one for one in warnings if one] + [f"{error} The head stays as it was."]
    return parameters, [one for one in warnings if one]


def _model_of(registration: Path | None, assets: FlameAssets) -> str:
    """The app's own samples of MICA's form are the open head, and their meshes show it."""
    if registration is None or not assets.is_open_head:
        return MICA_VERSION
    try:
        mesh = read_obj(registration)
    except DatasetError:
        return MICA_VERSION
    return assets.name if np.array_equal(mesh.triangles, assets.triangles) else MICA_VERSION


def snippet_html(name: str, found: Parameters) -> str:
    """The page's lines for this file, what they give, and how the file was read here."""
    code = SNIPPET.format(name=name.replace("\\", "_").replace("'", "_"))
    values = _values(found)
    rows = "".join(
        f'<tr><th scope="row">{key}<small>{len(numbers)} numbers</small></th>'
        f"<td>{escape(_text(numbers))}</td></tr>"
        for key, numbers in values.items()
    )
    python = "\n".join(f"{key} = [{_text(numbers)}]" for key, numbers in values.items())
    note = (
        "These are the lines of the data set's page. <code>allow_pickle=True</code> runs whatever "
        "a file says; here the same file was read through a list of what is allowed."
    )
    return (
        f'<div class="flame-code"><pre data-field="code">{escape(code)}</pre>'
        f'<button type="button" data-copy="{escape(code)}">Copy code</button></div>'
        f'<div class="table-scroll"><table class="ds-raw flame-values">{rows}</table></div>'
        f'<p class="flame-code-foot"><button type="button" data-copy="{escape(python)}">'
        f'Copy values</button><span class="hint">{note}</span></p>'
    )


def _values(found: Parameters) -> dict[str, Array]:
    betas = np.zeros(0) if found.betas is None else found.betas
    pose = np.zeros(0) if found.pose_rad is None else found.pose_rad
    return {
        "shape_params": betas[:SHAPE_COUNT],
        "expression_params": betas[SHAPE_COUNT:],
        "pose_params": np.concatenate([pose[:3], pose[6:9]]),
    }


def _text(numbers: Array) -> str:
    return ", ".join(f"{value:.6g}" for value in numbers)
