"""AppConfig: what the surroundings say. The only module that reads the environment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Set before torch loads OpenMP: on two cores shared with a browser, threads that spin while they
# wait for each other made one frame take seconds instead of 30 ms.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

RECORDED_RUNS = Path(__file__).resolve().parent.parent / "assets" / "runs"
"""Trainings that the program brings along, to be looked at."""

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1", "[::1]")


class ConfigError(ValueError):
    """A variable of the environment cannot be used; the message says which and why."""


@dataclass(frozen=True)
class AppConfig:
    """How this run of the app is set up."""

    server_name: str = "127.0.0.1"
    """Address that the server listens on."""

    server_port: int | None = None
    """Port; None takes the first free one from 7860 on."""

    on_space: bool = False
    """Runs on a Hugging Face Space."""

    zero_gpu: bool = False
    """Runs on ZeroGPU hardware: the GPU is lent for one call at a time."""

    public_link: bool = False
    """The page is reachable from the internet through Gradio's share link."""

    device: str | None = None
    """Device of the networks, such as "cpu" or "cuda:0"; None takes CUDA where there is one."""

    default_model: str = "trg-mini"
    """Name of the network that is chosen when the page opens."""

    cache_dir: Path = field(
        default_factory=lambda: (Path(tempfile.gettempdir()) / "gradio").resolve()
    )
    """Where Gradio keeps uploads; results lie in one folder per visitor below it."""

    data_dir: Path = field(default_factory=lambda: Path.home() / ".trg-studio")
    """Where indexes of data sets, flags, thumbnails and the roots that were opened are kept."""

    flame_dir: Path = field(default_factory=lambda: Path.home() / ".trg-studio" / "flame")
    """Where the user's FLAME files may be; the open head stands in where there are none."""

    runs_dir: Path = field(default_factory=lambda: Path.home() / ".trg-studio" / "runs")
    """Where training runs are kept, one folder a run."""

    login: tuple[str, str] | None = field(default=None, repr=False)
    """Name and password that the page asks for; None: it asks for nothing."""

    max_upload_mb: int = 1024
    """Largest file that a visitor may send."""

    max_live_connections: int = 4
    """Webcams served at the same time; the next one is told to wait."""

    session_idle_s: float = 6 * 3600.0
    """A visitor's results are deleted when the page closes, or after this long without a click."""

    @property
    def local_paths_allowed(self) -> bool:
        """Whether a path on the server may be typed: only when nobody else can reach the page."""
        private = self.server_name in LOOPBACK_NAMES and not self.public_link
        return private and not self.on_space

    @property
    def training_allowed(self) -> bool:
        """Whether the page may start processes: only for one person on this computer, or for those
        who have the password; never on a Space."""
        return not self.on_space and (self.local_paths_allowed or self.login is not None)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> AppConfig:
        """Read GRADIO_SERVER_NAME, GRADIO_SERVER_PORT, GRADIO_SHARE, GRADIO_TEMP_DIR, SPACE_ID,
        SPACES_ZERO_GPU, TRG_DEVICE, TRG_MODEL, TRG_DATA_DIR, TRG_FLAME_DIR, TRG_RUNS_DIR, TRG_AUTH
        and TRG_MAX_LIVE.

        Raises: ConfigError.
        """
        env = os.environ if environment is None else environment
        cache, data = env.get("GRADIO_TEMP_DIR"), env.get("TRG_DATA_DIR")
        data_dir = Path(data).expanduser().resolve() if data else Path.home() / ".trg-studio"
        flame, runs = env.get("TRG_FLAME_DIR"), env.get("TRG_RUNS_DIR")
        return cls(
            server_name=env.get("GRADIO_SERVER_NAME") or cls.server_name,
            server_port=_whole_number(env, "GRADIO_SERVER_PORT", 1, 65535),
            on_space=bool(env.get("SPACE_ID")),
            zero_gpu=_is_on(env.get("SPACES_ZERO_GPU", "")),
            public_link=_is_on(env.get("GRADIO_SHARE", "")),
            device=env.get("TRG_DEVICE") or None,
            default_model=env.get("TRG_MODEL") or cls.default_model,
            cache_dir=(Path(cache) if cache else Path(tempfile.gettempdir()) / "gradio").resolve(),
            data_dir=data_dir,
            flame_dir=Path(flame).expanduser().resolve() if flame else data_dir / "flame",
            runs_dir=Path(runs).expanduser().resolve() if runs else _runs_dir(env, data_dir),
            login=login_of(env.get("TRG_AUTH", "")),
            max_live_connections=_whole_number(env, "TRG_MAX_LIVE", 1, 64)
            or cls.max_live_connections,
        )


def _runs_dir(env: Mapping[str, str], data_dir: Path) -> Path:
    """A Space can start no run, so it shows the recorded ones."""
    return RECORDED_RUNS if env.get("SPACE_ID") else data_dir / "runs"


def login_of(text: str) -> tuple[str, str] | None:
    """Of "NAME:PASSWORD"; None of an empty text. Raises: ConfigError."""
    if not text:
        return None
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise ConfigError("The login (--auth, TRG_AUTH) must be NAME:PASSWORD.")
    return name, password


def _is_on(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes", "on")


def _whole_number(env: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    text = env.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ConfigError(f"{name} must be a whole number from {least} to {most}, got {text!r}.")
    return int(text)


def child_environment(**extra: str) -> dict[str, str]:
    """The environment for a process that this one starts."""
    return {**os.environ, **extra}
