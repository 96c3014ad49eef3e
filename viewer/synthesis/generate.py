"""The synthetic data set from a folder of portraits: fit, render, write; resumable, in parallel.

The folder gets `people/` (fitted portraits), `train/`, `validation/` (renders of disjoint
persons), `train-portraits/`, `validation-portraits/` (the portraits themselves, labelled by their
fit) and `face_basis.npz`. Picture number n of a split depends on (seed, split, n) alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from models.flame.open_head import OPEN_HEAD_PATH, HeadAssets, load_open_head
from models.geometry.cameras import Camera
from models.training.initialisation import write_face_basis
from models.trg.bundle import read_bundle
from models.weights import MODELS, REPOSITORY_ROOT, T_HEAD_FROM_TRG_MINI
from viewer.datasets.augment_config import WORSE_CAMERA
from viewer.datasets.photo_effects import photo_effects
from viewer.datasets.synthetic import SyntheticHead
from viewer.datasets.synthetic_format import Setting, SyntheticInfo
from viewer.datasets.synthetic_writer import SyntheticWriter
from viewer.synthesis.backgrounds import read_face_free
from viewer.synthesis.face_basis import build_face_basis
from viewer.synthesis.head_renderer import HeadRenderer
from viewer.synthesis.portrait_wear import LIST_NAME, UNKNOWN_WEAR, Wear, read_wears
from viewer.synthesis.portraits import (
    PICTURE_SUFFIXES,
    PortraitAsset,
    PortraitError,
    find_portraits,
    fitted_from_sha256,
    held_out,
    made_from_sha256,
    picture_sha256,
    read_portrait,
    write_portrait,
)
from viewer.synthesis.scene import SceneConfig, sample_scene

Array = np.ndarray
Say = Callable[[str], None]

SPLITS = ("train", "validation")
BASIS_NAME, PEOPLE = "face_basis.npz", "people"
LEAST_VISIBLE, TRIES = 0.15, 20
"""A head of which less of the face is seen is drawn anew, so many times at most."""

PORTRAIT_PICTURE_PX, PORTRAIT_PICTURE_OVER_FACE = 320, 2.4


@dataclass(frozen=True)
class GenerateConfig:
    """How much of what."""

    count: int
    """Training pictures."""
    validation_count: int = 2000
    """Pictures of held-out persons; 0: none, for data that others validate."""
    size_px: int = 256
    """Side of a picture."""
    seed: int = 1
    """Everything random follows from it."""
    negatives: float = 0.1
    """Share of pictures without a face."""
    worse_camera: float = 0.0
    """Share of pictures with side light, off colours or none, infrared, blur, low light, noise, few
    pixels and JPEG, drawn at random. Training puts these on every crop anew in any case."""
    face_free: Path | None = None
    """Folder of photos without a face: backgrounds and negatives of the training split."""
    depth: bool = True
    """Write depth maps; without them the data set is half as large."""
    workers: int = 2
    """Processes; 0: this one alone."""
    shard_rows: int = 1000
    """Pictures in a file."""

    def scene(self, split: str) -> SceneConfig:
        """Training gets its rolls from turning the camera; validation has all of them."""
        return SceneConfig(negatives=self.negatives, any_roll=0.0 if split == "train" else 0.2)

    def photos_of(self, split: str) -> Path | None:
        """The folder of photos behind the heads of a split."""
        return self.face_free if split == "train" else None


def generate(portraits_dir: Path, out: Path, config: GenerateConfig, say: Say) -> None:
    """Make the whole folder, or what of it is missing.

    Raises: PortraitError if a split has no usable portrait, SyntheticDataError if the folder was
    made with other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    if config.workers:
        one_thread_each()
    portraits = find_portraits(portraits_dir)
    people = fit_people(portraits, out / PEOPLE, config.workers, say)
    wears = read_wears(portraits_dir, portraits)
    if unknown := sum(person not in wears for person in people):
        say(
            f"{unknown} of {len(people)} persons are not in {portraits_dir / LIST_NAME}: they keep "
            "what they have on their heads and get no glasses. List who wears nothing for more "
            "variety."
        )
    by_split = {split: [p for p in people if held_out(p) == (split != "train")] for split in SPLITS}
    for split, persons in by_split.items():
        if not persons:
            raise PortraitError(f"No usable portrait is in the {split} split: give more portraits.")
    train = [read_portrait(_portrait_path(out, person)) for person in by_split["train"]]
    topology = read_bundle(REPOSITORY_ROOT / MODELS["trg-mini"].weights_file)[1]
    write_face_basis(out / BASIS_NAME, build_face_basis(train, load_open_head(), topology))
    for split, persons in by_split.items():
        _write_portrait_pictures(portraits, out, split, persons)
        count = config.count if split == "train" else config.validation_count
        if count:
            wears_of = {person: wears.get(person, UNKNOWN_WEAR) for person in persons}
            render_split(out, split, wears_of, count, config, say)


def fit_people(found: Mapping[str, Path], cache: Path, workers: int, say: Say) -> list[str]:
    """Names of the persons whose portraits could be fitted; the fits are kept in `cache`,
    and made again where the picture or the head model has changed.

    found: picture of each person, as `find_portraits` finds them.
    """
    todo = [
        person
        for person, picture in found.items()
        if fitted_from_sha256(cache / f"{person}.npz") != made_from_sha256(picture)
    ]
    for person in todo:
        (cache / f"{person}.npz").unlink(missing_ok=True)
    if workers == 0:
        for person in todo:
            problem = _fit(found[person], person, cache / f"{person}.npz")
            if problem:
                say(f"{person}: {problem}")
        return [person for person in found if (cache / f"{person}.npz").is_file()]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        jobs = {pool.submit(_fit, found[p], p, cache / f"{p}.npz"): p for p in todo}
        for n, job in enumerate(as_completed(jobs), 1):
            problem = job.result()
            if problem:
                say(f"{jobs[job]}: {problem}")
            if n % 20 == 0 or n == len(jobs):
                say(f"fitted {n} of {len(jobs)} portraits")
    return [person for person in found if (cache / f"{person}.npz").is_file()]


def one_thread_each() -> None:
    """Processes that start later compute on one thread, in torch and in linear algebra, unless they
    were told otherwise: several threads in each take the processors from the other processes."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def _fit(picture: Path, person: str, path: Path) -> str | None:
    """In a worker: fit one portrait. What is wrong with it is returned."""
    from viewer.synthesis.portrait_texture import build_portrait

    try:
        write_portrait(path, build_portrait(picture, person))
    except PortraitError as error:
        return str(error)
    return None


def render_split(
    out: Path,
    split: str,
    wears: Mapping[str, Wear],
    count: int,
    config: GenerateConfig,
    say: Say,
) -> None:
    """Render the shards of a split that are missing. wears: what each person of it has on."""
    info = SyntheticInfo(
        config.seed,
        count,
        split,
        config.size_px,
        hashlib.sha256(OPEN_HEAD_PATH.read_bytes()).hexdigest(),
        config.shard_rows,
        _made_with(out, split, wears, config),
    )
    missing = SyntheticWriter(out / split, info).missing_shards()
    if not missing:
        return
    context = get_context("spawn")
    given = (wears, out, info, config)
    if config.workers == 0:
        _start(*given)
        for shard in missing:
            _render_shard(shard)
        return
    workers = min(config.workers, len(missing))
    with ProcessPoolExecutor(workers, context, _start, given) as pool:
        jobs = [pool.submit(_render_shard, shard) for shard in missing]
        for n, job in enumerate(as_completed(jobs), 1):
            job.result()
            say(f"{split}: {n} of {len(jobs)} shards of {config.shard_rows} pictures")


class _Worker:
    """What a rendering process keeps between shards."""

    renderer: HeadRenderer
    portraits: list[PortraitAsset]
    writer: SyntheticWriter
    config: GenerateConfig
    wears: Mapping[str, Wear]


def _start(
    wears: Mapping[str, Wear], out: Path, info: SyntheticInfo, config: GenerateConfig
) -> None:
    cv2.setNumThreads(0)
    _Worker.portraits = [read_portrait(_portrait_path(out, person)) for person in wears]
    _Worker.wears = wears
    folder = config.photos_of(info.split)
    photos = () if folder is None else read_face_free(folder)
    _Worker.renderer = HeadRenderer(_Worker.portraits, info.image_px, photos)
    _Worker.writer = SyntheticWriter(out / info.split, info)
    _Worker.config = config


def _render_shard(shard: int) -> None:
    info = _Worker.writer.info
    rows = info.rows_of_shard(shard)
    _Worker.writer.write_shard(
        shard,
        rendered_heads(
            _Worker.renderer, _Worker.portraits, _Worker.wears, info, rows, _Worker.config
        ),
    )


def rendered_heads(
    renderer: HeadRenderer,
    portraits: Sequence[PortraitAsset],
    wears: Mapping[str, Wear],
    info: SyntheticInfo,
    rows: range,
    config: GenerateConfig,
) -> Iterator[SyntheticHead]:
    """The pictures of these rows, one after the other; each follows from its number alone."""
    scene_config = config.scene(info.split)
    names = renderer.head.expression_names
    for n in rows:
        rng = np.random.default_rng([info.seed, SPLITS.index(info.split), n])
        head = None
        for _ in range(TRIES):
            scene = sample_scene(portraits, scene_config, names, rng, wears)
            key = f"{info.split}/{info.seed}/{n}"
            head = renderer.render(scene, key, rng, depth=config.depth)
            if not head.is_face or head.visible_468.mean() >= LEAST_VISIBLE:
                break
        yield _of_a_worse_camera(head, n, info, config)


def _of_a_worse_camera(
    head: SyntheticHead, n: int, info: SyntheticInfo, config: GenerateConfig
) -> SyntheticHead:
    """The same, or for a share of them the picture with a worse camera's faults."""
    # random numbers of its own, so that the scenes do not depend on the share
    rng = np.random.default_rng([info.seed, SPLITS.index(info.split), n, 1])
    if rng.random() >= config.worse_camera:
        return head
    image = photo_effects(head.image_rgb.copy(), rng, WORSE_CAMERA, head.image_rgb)
    return replace(head, image_rgb=image, tags=(*head.tags, "worse camera"))


def _made_with(
    out: Path, split: str, wears: Mapping[str, Wear], config: GenerateConfig
) -> dict[str, Setting]:
    """Everything besides `SyntheticInfo`'s own fields that the pictures of a split follow from."""
    folder = config.photos_of(split)
    worn = "".join(f"{person} {wears[person]}\n" for person in wears)
    return {
        **asdict(config.scene(split)),
        "depth": config.depth,
        "worse_camera": config.worse_camera,
        "face_free_photos": "none" if folder is None else _folder_sha256(folder),
        "portraits": _portraits_sha256(out, list(wears)),
        "wears": hashlib.sha256(worn.encode()).hexdigest(),
    }


def _portraits_sha256(out: Path, persons: Sequence[str]) -> str:
    """Of the persons, their pictures and the head model that was fitted to them."""
    digest = hashlib.sha256()
    for person in persons:
        sources = fitted_from_sha256(_portrait_path(out, person))
        digest.update(f"{person} {sources}\n".encode())
    return digest.hexdigest()


def _folder_sha256(folder: Path) -> str:
    """Of the names and contents of the pictures in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURE_SUFFIXES:
            digest.update(f"{path.name} {picture_sha256(path)}\n".encode())
    return digest.hexdigest()


def _portrait_path(out: Path, person: str) -> Path:
    return out / PEOPLE / f"{person}.npz"


def _write_portrait_pictures(
    portraits: Mapping[str, Path], out: Path, split: str, persons: Sequence[str]
) -> None:
    """The portraits themselves as a data set, labelled by their fit."""
    head = load_open_head()
    digest = hashlib.sha256(OPEN_HEAD_PATH.read_bytes()).hexdigest()
    made_with = {"portraits": _portraits_sha256(out, persons)}
    info = SyntheticInfo(0, len(persons), split, PORTRAIT_PICTURE_PX, digest, made_with=made_with)
    writer = SyntheticWriter(out / f"{split}-portraits", info)
    for shard in writer.missing_shards():
        chosen = [persons[n] for n in info.rows_of_shard(shard)]
        writer.write_shard(
            shard,
            (
                portrait_picture(
                    portraits[person], read_portrait(_portrait_path(out, person)), head
                )
                for person in chosen
            ),
        )


def portrait_picture(path: Path, portrait: PortraitAsset, head: HeadAssets) -> SyntheticHead:
    """The part of a portrait around the face, in its own resolution, labelled by the fit."""
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    weights = dict(zip(head.expression_names, portrait.expression, strict=True))
    landmarks = head.landmarks_468_m(head.vertices_m(portrait.identity, weights))
    R, t = portrait.R_cam_from_open_head, portrait.t_cam_from_open_head_m
    seen = landmarks @ R.T + t
    rays = seen[:, :2] / seen[:, 2:]
    low, high = rays.min(0), rays.max(0)
    side = PORTRAIT_PICTURE_OVER_FACE * float((high - low).max())
    size, focal = PORTRAIT_PICTURE_PX, PORTRAIT_PICTURE_PX / side
    middle = size / 2 - focal * (low + high) / 2
    # the fit's camera is that of the portrait at 512 px: bring it to the picture's own size
    fit = portrait.camera.resized((image.shape[1], image.shape[0]))
    scale = focal / fit.fx_px
    offset = middle - scale * fit.principal_point_px
    affine = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    affine[:, 2] += 0.5 * scale - 0.5
    picture = cv2.warpAffine(
        image, affine, (size, size), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101
    )
    R_head, t_head = T_HEAD_FROM_TRG_MINI[:3, :3], T_HEAD_FROM_TRG_MINI[:3, 3]
    R_cam_from_head = R @ R_head.T
    return SyntheticHead(
        key=f"portrait/{portrait.person}",
        image_rgb=picture,
        camera=Camera(
            np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1.0]]),
            (size, size),
            "assumed in the fit",
        ),
        is_face=True,
        R_cam_from_head=R_cam_from_head,
        t_cam_from_head_mm=(t - R_cam_from_head @ t_head) * 1000.0,
        landmarks_468_head_m=landmarks @ R_head.T + t_head,
        visible_468=np.ones(468, bool),
        identity=portrait.identity,
        expression=portrait.expression,
        eye_angles_deg=np.zeros((2, 2)),
        person=portrait.person,
        tags=("portrait",),
        mask=np.full((size, size), 255, np.uint8),
        depth_m=None,
    )
