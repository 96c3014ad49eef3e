"""Long-lived objects of the app: networks and visitors. Nothing is loaded before it is needed."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from demo_app.config import AppConfig
from demo_app.inference.full_heads import FullHeads
from demo_app.inference.pipeline import FramePipeline, PipelineOptions
from demo_app.inference.zero import NeutralPose
from demo_app.runs.exports import OwnModel, is_own_name, own_model, own_models
from demo_app.runs.folders import RunError, RunFolders
from models.estimator import HeadPoseEstimator
from models.face_detection.base import FaceDetections, FaceDetector
from models.face_detection.mtcnn import MIN_FACE_FRACTION_STILL, MtcnnDetector
from models.trg.checkpoints import CheckpointError
from models.weights import ModelStatus, describe_models, load_own_bundle

Array = np.ndarray
LOG = logging.getLogger(__name__)
Neutrals = dict[int, NeutralPose]
LoadEstimator = Callable[[str, str | None], HeadPoseEstimator]
Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
Kept = TypeVar("Kept")

LEFT_BEHIND_S = 48 * 3600.0
"""A visitor's folder that has not changed for so long belongs to nobody."""

GPU_SECONDS = 30
"""Longest loan of a ZeroGPU for one call."""


class SharedDetector:
    """The detector of a `SharedEstimator`; takes turns with it.

    min_face_fraction: see `MtcnnDetector`.
    """

    def __init__(
        self, owner: SharedEstimator, min_face_fraction: float = MIN_FACE_FRACTION_STILL
    ) -> None:
        self._owner = owner
        self._min_face_fraction = min_face_fraction

    def detect(self, image_rgb: Array, lenient: bool = False) -> FaceDetections:
        """As `MtcnnDetector.detect`."""
        return self._owner.call(
            "detect", image_rgb, lenient=lenient, min_face_fraction=self._min_face_fraction
        )


class SharedEstimator:
    """One network for all visitors: calls take turns, and go to the GPU where it is lent per call.

    Does what `HeadPoseEstimator` does (`demo_app.inference.pipeline.PoseEstimator`).
    """

    def __init__(self, inner: HeadPoseEstimator, on_gpu: Wrap) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self._run = on_gpu(self._run_here)
        self.min_confidence = inner.min_confidence
        self.detector: FaceDetector = SharedDetector(self)

    def _run_here(self, method: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        owner = self._inner.detector if method == "detect" else self._inner
        return getattr(owner, method)(*args, **options)

    def call(self, method: str, *args: Any, **options: Any) -> Any:
        """Run a method of the network or of its detector, one caller at a time."""
        with self._lock:
            return self._run(method, args, options)

    def predict(self, image_rgb: Array, *args: Any, **options: Any) -> Any:
        """As `HeadPoseEstimator.predict`."""
        return self.call("predict", image_rgb, *args, **options)

    def predict_boxes(self, image_rgb: Array, *args: Any, **options: Any) -> Any:
        """As `HeadPoseEstimator.predict_boxes`."""
        return self.call("predict_boxes", image_rgb, *args, **options)

    def __getattr__(self, name: str) -> Any:
        """What needs no turn: name, model, triangles, geometry of crops."""
        return getattr(self._inner, name)


@dataclass
class Visitor:
    """One open page: its results, its zero, its running job.

    folder: everything written for this visitor; goes with the visitor.
    results, neutrals, shown: what each input last gave, the zeros set on it, and which of its
        frames was shown last, by the input's name.
    stream: what the webcam without websocket needs between two frames.
    full_heads: fits whole heads to its faces; all visitors share one.
    cancelled: asks the running job to end with what it has. working: held by that job.
    """

    folder: Path
    full_heads: FullHeads = field(default_factory=FullHeads)
    results: dict[str, Any] = field(default_factory=dict)
    neutrals: dict[str, Neutrals] = field(default_factory=dict)
    shown: dict[str, int] = field(default_factory=dict)
    stream: Any = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    working: threading.Lock = field(default_factory=threading.Lock)
    used_s: float = field(default_factory=time.monotonic)

    def new_folder(self, purpose: str) -> Path:
        """An empty folder of this visitor; nothing a user typed is part of its name."""
        folder = self.folder / f"{purpose}-{secrets.token_hex(6)}"
        folder.mkdir(parents=True)
        return folder

    def adopt(self, file: str | Path, folder: Path, stem: str) -> Path:
        """An upload under a safe name below `folder`, so that it lives as long as its results do.

        Gradio deletes uploads by their age, and two visitors with one picture share the file. A
        file that is no upload stays where it is.
        """
        upload = Path(file)
        if not upload.is_relative_to(self.folder.parent) or not upload.is_file():
            return upload
        own = folder / "input" / f"{stem}{upload.suffix[:8]}"
        own.parent.mkdir(exist_ok=True)
        try:
            own.hardlink_to(upload)
        except OSError:
            shutil.copyfile(upload, own)
        return own

    def keep(self, source: str, results: Any, *, same_people: bool = False) -> None:
        """Results of an input in place of its earlier ones, whose files go.

        same_people: the zero holds on; otherwise the numbers of the new faces mean other people.
        """
        earlier = self.results.get(source)
        self.results[source] = results
        if not same_people:
            self.neutrals.pop(source, None)
        self.shown.pop(source, None)
        if earlier is not None:
            shutil.rmtree(earlier.folder, ignore_errors=True)


class Visitors:
    """All open pages. A page that was closed, or idle for long, loses its files."""

    def __init__(self, root: Path, idle_s: float, full_heads: FullHeads | None = None) -> None:
        self._root, self._idle_s = root, idle_s
        self._full_heads = full_heads or FullHeads()
        _sweep(root)
        self._visitors: dict[str, Visitor] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._visitors)

    def get(self, key: str) -> Visitor:
        """The visitor of a session key, new if it is the first call."""
        now_s = time.monotonic()
        with self._lock:
            gone = [k for k, v in self._visitors.items() if now_s - v.used_s > self._idle_s]
            idle = [self._visitors.pop(k) for k in gone if k != key]
            if key not in self._visitors:
                folder = self._root / f"visitor-{secrets.token_hex(16)}"
                folder.mkdir(parents=True, mode=0o700)
                self._visitors[key] = Visitor(folder, self._full_heads)
            visitor = self._visitors[key]
            visitor.used_s = now_s
        for one in idle:
            _dismiss(one)
        return visitor

    def close(self, key: str) -> None:
        """The page is gone: stop its job and delete its files."""
        with self._lock:
            visitor = self._visitors.pop(key, None)
        if visitor is not None:
            _dismiss(visitor)

    def close_all(self) -> None:
        """The app ends."""
        for key in list(self._visitors):
            self.close(key)


def _sweep(root: Path) -> None:
    """Delete what an app that was killed has left behind."""
    for folder in root.glob("visitor-*"):
        if time.time() - folder.stat().st_mtime > LEFT_BEHIND_S:
            shutil.rmtree(folder, ignore_errors=True)


def _dismiss(visitor: Visitor) -> None:
    visitor.cancelled.set()
    with visitor.working:
        visitor.results.clear()
        shutil.rmtree(visitor.folder, ignore_errors=True)


class LiveSlots:
    """How many webcams may be served at once."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether there was room."""
        with self._lock:
            if self.taken >= self.most:
                return False
            self.taken += 1
            return True

    def give_back(self) -> None:
        with self._lock:
            self.taken -= 1


class Services:
    """What the tabs and the websocket share; made once and passed down.

    load_estimator: name and device to network, for tests.
    """

    def __init__(
        self,
        config: AppConfig | None = None,
        load_estimator: LoadEstimator = HeadPoseEstimator.load,
    ) -> None:
        self.config = config or AppConfig()
        self.full_heads = FullHeads(self.config.flame_dir)
        self.visitors = Visitors(self.config.cache_dir, self.config.session_idle_s, self.full_heads)
        self.runs = RunFolders(self.config.runs_dir)
        self.live_slots = LiveSlots(self.config.max_live_connections)
        self._load = load_estimator
        self._on_gpu = gpu_wrapper(self.config)
        self._estimators: dict[str, SharedEstimator] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._kept: dict[type, Any] = {}
        self._lock = threading.Lock()

    def kept(self, kind: type[Kept]) -> Kept:
        """The one object of this class that all visitors share, made by the first call."""
        with self._lock:
            return self._kept.setdefault(kind, kind())

    def estimator(self, name: str) -> SharedEstimator:
        """The network of that name, loaded by the first call; the others wait for it.

        Raises: KeyError for an unknown name, CheckpointError where weights are missing or wrong.
        """
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._estimators:
                if is_own_name(name):
                    inner = self._load_own(name)
                else:
                    _check_installed(name)
                    inner = self._load(name, self.config.device)
                self._estimators[name] = SharedEstimator(inner, self._on_gpu)
            return self._estimators[name]

    def _load_own(self, name: str) -> HeadPoseEstimator:
        """Of a run of one's own. Raises: CheckpointError."""
        try:
            own = own_model(self.runs, name)
        except RunError as error:
            raise CheckpointError(str(error)) from error
        model = load_own_bundle(own.file, own.recipe, own.name, own.label, self.config.device)
        return HeadPoseEstimator(model, MtcnnDetector(model.device))

    def forget_estimator(self, name: str) -> None:
        """Load it anew the next time: its weights may be others by then."""
        with self._lock:
            self._estimators.pop(name, None)

    def own_models(self) -> list[OwnModel]:
        """Weights of runs that were offered to the Pose tab."""
        return own_models(self.runs)

    def model_statuses(self) -> list[ModelStatus]:
        """What the model switch offers: the known models, then those of one's own runs."""
        own = [ModelStatus(one.name, one.label, True, (), "") for one in self.own_models()]
        return [*describe_models(), *own]

    def pipeline(
        self,
        name: str,
        options: PipelineOptions | None = None,
        min_face_fraction: float = MIN_FACE_FRACTION_STILL,
    ) -> FramePipeline:
        """A pipeline of one's own on the shared network. Raises as `estimator`."""
        estimator = self.estimator(name)
        return FramePipeline(estimator, SharedDetector(estimator, min_face_fraction), options)

    def warm_up(self) -> None:
        """Load the default network beside the start of the server, so that nobody waits for it."""
        if not self.config.zero_gpu:
            name = self.config.default_model
            threading.Thread(
                target=self._warm_up, args=(name,), name="warm up", daemon=True
            ).start()

    def _warm_up(self, name: str) -> None:
        try:
            self.estimator(name).predict(np.zeros((240, 320, 3), np.uint8))
        except ValueError as error:  # said again to the visitor who wants this network
            LOG.warning("the network %s cannot be loaded: %s", name, error)

    def model_list(self) -> list[dict[str, Any]]:
        """Every network with what it lacks, as plain values."""
        return [asdict(status) for status in describe_models()]

    def device_label(self) -> str:
        """Where networks run, for the screen."""
        if self.config.zero_gpu and self._on_gpu is not _as_it_is:
            return "GPU, lent per call"
        device = default_device() if self.config.device is None else self.config.device
        return "CPU" if device.startswith("cpu") else f"GPU ({device})"

    def close(self) -> None:
        """Delete what was written for visitors."""
        self.visitors.close_all()


def _check_installed(name: str) -> None:
    """Raises: CheckpointError that says what is missing of a known model and where to get it."""
    status = next((one for one in describe_models() if one.name == name), None)
    if status is not None and not status.present:
        missing = ", ".join(status.what_is_missing)
        raise CheckpointError(
            f"{status.label} is not installed: {missing} is missing. {status.where_to_get_it}"
        )


def gpu_wrapper(config: AppConfig) -> Wrap:
    """`spaces.GPU` on a ZeroGPU Space that has the package; elsewhere functions stay the same."""
    if config.zero_gpu:
        with suppress(ImportError):
            import spaces

            return spaces.GPU(duration=GPU_SECONDS)
    return _as_it_is


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def default_device() -> str:
    """Where `models.weights.load_pose_model` puts a network when it is not told."""
    return "cuda" if torch.cuda.is_available() else "cpu"
