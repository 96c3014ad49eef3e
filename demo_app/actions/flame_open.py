"""What a visitor opens in the FLAME tab: any file, by its ending and by what is in it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from demo_app.actions.flame_clip import known_assets, read_fitted
from demo_app.actions.flame_desk import FlameDesk, desk_of, model_title, new_desk
from demo_app.actions.flame_mesh_files import MESH_ENDINGS, read_mesh
from demo_app.actions.flame_mica import list_fits, mica_parameters, read_mica, snippet_html
from demo_app.actions.flame_parameters import FlameTabError, HeadParameters
from demo_app.actions.options import PoseOptions
from demo_app.inference.camera_choice import camera_for_image
from demo_app.inference.full_heads import fit_pose
from demo_app.inference.images import read_image
from demo_app.inference.output_names import safe_stem
from demo_app.services import Services, Visitor
from models.flame.assets import (
    FlameAssets,
    files_beside,
    find_flame_file,
    open_head_assets,
    read_flame_assets,
)
from models.flame.fit import FitError, FlameFit, FlameFitter

PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
ENDINGS = (".pkl", ".npz", ".npy", *MESH_ENDINGS, *PHOTO_ENDINGS)
_MAX_MEMBERS = 500


@dataclass(frozen=True)
class Opened:
    """What is now on the desk. news: sentences; warnings: sentences on what does not fit.

    is_new: the desk has another model. parameters: None leaves the head as it is.
    has_clip: the animation is new. snippet: of a MICA file. has_other: a registration is new.
    fit: key of the fit, of a MICA folder.
    """

    desk: FlameDesk
    parameters: HeadParameters | None = None
    news: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_new: bool = False
    has_clip: bool = False
    has_other: bool = False
    snippet: str = ""
    fit: str | None = None


def open_own_head(services: Services, visitor: Visitor) -> Opened:
    """The open head. Raises: HeadAssetsError."""
    desk = new_desk(services, visitor, open_head_assets())
    instead = "The open head stands in for FLAME, of which no file is here."
    news = () if has_server_flame(services) else (instead,)
    return Opened(desk, HeadParameters.neutral(desk.assets), news, is_new=True)


def has_server_flame(services: Services) -> bool:
    """Whether FLAME's file lies in the server's own folder."""
    folder = services.config.flame_dir
    return folder.is_dir() and find_flame_file(folder) is not None


def open_server_flame(services: Services, visitor: Visitor) -> Opened:
    """FLAME of the server's folder. Raises: FlameFileError, FlameTabError."""
    path = find_flame_file(services.config.flame_dir)
    if path is None:
        raise FlameTabError("There is no FLAME file in the server's folder.")
    return _with_model(services, visitor, _server_assets(path, path.stat().st_mtime_ns))


@lru_cache(maxsize=1)
def _server_assets(path: Path, changed_ns: int) -> FlameAssets:
    return read_flame_assets(path, *files_beside(path))


def open_files(services: Services, visitor: Visitor, files: Sequence[str | Path]) -> Opened:
    """One file; for FLAME with landmark_embedding.npy and FLAME_masks.pkl if they are there.

    Raises: FlameTabError, and the errors of the layers below that are explained.
    """
    paths = [Path(file) for file in files]
    helpers = [path for path in paths if _is_beside(path)]
    main = [path for path in paths if not _is_beside(path)]
    if len(main) != 1:
        what = ", ".join(path.name for path in main or paths) or "nothing"
        raise FlameTabError(
            f"One head at a time: {what} was given; only landmark_embedding.npy and "
            "FLAME_masks.pkl come beside FLAME's own file."
        )
    path, ending = main[0], main[0].suffix.lower()
    if ending == ".pkl" or (ending == ".npz" and "v_template" in _arrays_in(path)):
        embedding = next((one for one in helpers if one.suffix.lower() == ".npy"), None)
        masks = next((one for one in helpers if one.suffix.lower() == ".pkl"), None)
        beside = files_beside(path)
        assets = read_flame_assets(path, embedding or beside[0], masks or beside[1])
        return _with_model(services, visitor, assets)
    if ending == ".npz":
        arrays = _arrays_in(path)
        if "track_id" in arrays:
            return _open_fitted(services, visitor, path)
        if "betas" in arrays:
            return _open_mica(services, visitor, path)
        raise FlameTabError(
            f"{path.name} holds neither a FLAME model (v_template), nor MICA's parameters (betas), "
            "nor fitted heads (track_id)."
        )
    if ending in MESH_ENDINGS:
        return _open_mesh(services, visitor, path)
    if ending in PHOTO_ENDINGS:
        return _open_photo(services, visitor, path)
    raise FlameTabError(f"{path.name} is of no known kind; these are opened: {', '.join(ENDINGS)}.")


def open_path(services: Services, visitor: Visitor, text: str) -> Opened:
    """A file or a folder of the server. Raises as `open_files`."""
    if not services.config.local_paths_allowed:
        raise FlameTabError("Paths on the server are not opened where others can reach the page.")
    path = Path(text.strip().strip("\"'")).expanduser()
    if not text.strip() or not path.exists():
        raise FlameTabError(f"There is no file or folder {text.strip()[:200] or 'of no name'}.")
    if path.is_file():
        return open_files(services, visitor, [path])
    model = find_flame_file(path)
    if model is not None:
        return open_files(services, visitor, [model])
    fits = list_fits(path)
    desk = desk_of(services, visitor)
    desk.fits = fits
    return open_fit(services, visitor, next(iter(fits)))


def open_fit(services: Services, visitor: Visitor, key: str) -> Opened:
    """A fit of the MICA folder that is open. Raises: FlameTabError."""
    desk = desk_of(services, visitor)
    fit = desk.fits.get(key)
    if fit is None or fit.parameters is None:
        raise FlameTabError(f"There is no fit {key[:80]!r} in the folder that is open.")
    return replace(_open_mica(services, visitor, fit.parameters, fit.registration), fit=key)


def _is_beside(path: Path) -> bool:
    """landmark_embedding.npy, or a file of masks."""
    name = path.name.lower()
    return name.endswith(".npy") or (name.endswith(".pkl") and "mask" in name)


def _arrays_in(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()[:_MAX_MEMBERS]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise FlameTabError(f"{path.name} is no .npz file: {error}.") from error
    return {name.removesuffix(".npy") for name in names}


def _with_model(services: Services, visitor: Visitor, assets: FlameAssets) -> Opened:
    desk = new_desk(services, visitor, assets)
    missing = [
        name
        for name, is_missing in (
            ("landmark_embedding.npy (landmarks)", assets.landmarks is None),
            ("FLAME_masks.pkl (masks)", not assets.masks),
        )
        if is_missing
    ]
    news = [f"{assets.name}: {_counts(assets)}."]
    if missing:
        news.append(f"Not beside it: {' and '.join(missing)}.")
    return Opened(desk, HeadParameters.neutral(assets), tuple(news), is_new=True)


def _counts(assets: FlameAssets) -> str:
    return (
        f"{len(assets.template_vertices_m)} vertices, {len(assets.shape_directions_m)} shape and "
        f"{len(assets.expression_directions_m)} expression components, "
        f"{len(assets.joint_names)} joints"
    )


def _open_fitted(services: Services, visitor: Visitor, path: Path) -> Opened:
    desk = desk_of(services, visitor)

    def assets_of(name: str) -> FlameAssets:
        return known_assets(name, desk.assets, open_head_assets())

    assets, clip = read_fitted(path, assets_of)
    is_new = assets is not desk.assets
    if is_new:
        desk = new_desk(services, visitor, assets)
    desk.clip, desk.stem = clip, safe_stem(path.name)
    is_video = len(clip.frames) > 1
    news = f"{clip.title}, {clip.fps:.3g} a second." if is_video else clip.title
    return Opened(desk, clip.frames[0], (news,), is_new=is_new, has_clip=is_video)


def _open_mica(
    services: Services, visitor: Visitor, path: Path, registration: Path | None = None
) -> Opened:
    desk = desk_of(services, visitor)
    found = read_mica(path)
    parameters, warnings = mica_parameters(desk, found, registration)
    news = [f"{path.name}: MICA's parameters on {_small(model_title(desk.assets))}."]
    if registration is not None:
        desk.other = read_mesh(registration).mesh
        news.append(f"Its registration {registration.name} can be compared.")
    desk.stem = safe_stem(path.name)
    return Opened(
        desk, parameters, tuple(news), tuple(warnings),
        has_other=registration is not None, snippet=snippet_html(path.name, found),
    )  # fmt: skip


def _small(title: str) -> str:
    return title[:1].lower() + title[1:] if title.startswith("The ") else title


def _open_mesh(services: Services, visitor: Visitor, path: Path) -> Opened:
    """Fitted where it has the model's triangles; a second head to compare with in any case."""
    desk = desk_of(services, visitor)
    opened = read_mesh(path)
    mesh, assets = opened.mesh, desk.assets
    desk.other = mesh
    counts = f"{len(mesh.vertices_m)} vertices and {len(mesh.triangles)} triangles"
    news = [f"{path.name}: {counts}, taken to be in {opened.unit}."]
    if not np.array_equal(mesh.triangles, assets.triangles):
        news.append(
            f"Its triangles are not those of {_small(model_title(assets))}, so it is not fitted; "
            "it can be compared."
        )
        return Opened(desk, None, tuple(news), has_other=True)
    fit = _fitted(lambda: FlameFitter(assets).to_vertices(mesh.vertices_m))
    news.append(
        f"{model_title(assets)} was fitted to it: {fit.residual_mean_mm:.3f} mm off in the mean, "
        f"median {fit.residual_median_mm:.3f}, at most {fit.residual_max_mm:.3f}."
    )
    desk.stem = safe_stem(path.name)
    return Opened(desk, _of_fit(assets, fit, keeps_place=True), tuple(news), has_other=True)


def _open_photo(services: Services, visitor: Visitor, path: Path) -> Opened:
    """The largest face. Raises: ImageError, CameraError, CheckpointError, FlameTabError."""
    desk, options = desk_of(services, visitor), PoseOptions(model=services.config.default_model)
    loaded = read_image(path, name=path.name)
    camera = camera_for_image(loaded, options.camera_choice())
    pipeline = services.pipeline(options.model, options.pipeline_options())
    faces = pipeline.process_still(loaded.image_rgb, camera, loaded.source).faces
    if not faces:
        raise FlameTabError(f"No face was found in {path.name}.")
    pose = faces[0].pose
    fit = _fitted(lambda: fit_pose(FlameFitter.for_frames(desk.assets), pose))
    more = "" if len(faces) == 1 else f" (the first of {len(faces)} faces)"
    news = (
        f"{path.name}: {_small(model_title(desk.assets))} fitted to the landmarks of "
        f"{pipeline.estimator.model.label}{more}, {fit.residual_mean_mm:.2f} mm off in the mean, "
        f"at most {fit.residual_max_mm:.2f}; {1000 * fit.seconds:.0f} ms.",
        "It stands at the origin here; the Pose tab draws it over the photo.",
    )
    desk.stem = safe_stem(path.name)
    return Opened(desk, _of_fit(desk.assets, fit, keeps_place=False), news)


def _fitted(fit: Callable[[], FlameFit]) -> FlameFit:
    try:
        return fit()
    except FitError as error:
        raise FlameTabError(str(error)) from error


def _of_fit(assets: FlameAssets, fit: FlameFit, *, keeps_place: bool) -> HeadParameters:
    return HeadParameters.of_model(
        assets,
        shape=fit.shape,
        expression=fit.expression,
        pose_rad=fit.pose_rad,
        translation_m=fit.translation_m if keeps_place else np.zeros(3),
    )
