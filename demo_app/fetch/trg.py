"""`fetch trg`: the released TRG's arrays and weights from their public addresses."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from demo_app.fetch.download import (
    DownloadError,
    NoNetworkError,
    Progress,
    RemoteFile,
    WebPageError,
    download,
    read_page,
    sha256_of,
)
from demo_app.fetch.drive_folder import confirm_parameters, explain_page, find_checkpoint

Part = Literal["arrays", "trg", "trg-multi"]
PARTS: tuple[Part, ...] = ("arrays", "trg", "trg-multi")

CHECKPOINT, WEIGHTS_FILE = "checkpoint-30", "state_dict.bin"
MAX_ARRAY_BYTES = 2 * 1024**2
MAX_WEIGHTS_BYTES = 1024**3
"""The published weights have about 150 MB."""

TORCH_FILE_STARTS = (b"PK\x03\x04", b"\x80\x02")
"""torch.save writes a zip archive; before version 1.6 it was a bare pickle."""

_COMMIT = "7cb6bb5e072c751d83d10755908ce27159ac7ac1"


@dataclass(frozen=True)
class Addresses:
    """Where the released files are. Those with {id} are filled with a Drive id.

    arrays_raw, arrays_page: root of the repository's files, for programs and for people.
    folder_view: a Drive folder as a plain page; folder_page: the same for people.
    file_download: a Drive file.
    """

    arrays_raw: str = f"https://raw.githubusercontent.com/asw91666/TRG-Release/{_COMMIT}"
    arrays_page: str = f"https://github.com/asw91666/TRG-Release/blob/{_COMMIT}"
    folder_view: str = "https://drive.google.com/embeddedfolderview?id={id}"
    folder_page: str = "https://drive.google.com/drive/folders/{id}"
    file_download: str = (
        "https://drive.usercontent.google.com/download?id={id}&export=download&confirm=t"
    )
    trg_folder_id: str = "1CQeB4W2KbNVpzx4FZfuyMVgljlOvtpwU"
    trg_multi_folder_id: str = "1eymumNT307y7nyvMsZD0wuSPtmEkYyWv"


@dataclass(frozen=True)
class ArrayFile:
    """An array of the repository. remote: path there; place: path under the root here."""

    remote: str
    place: str
    sha256: str


@dataclass(frozen=True)
class WeightsFile:
    """Weights of one training run. part: the model's name; run: the run's folder."""

    part: Part
    run: str

    @property
    def place(self) -> str:
        return f"checkpoint/{self.run}/{CHECKPOINT}/{WEIGHTS_FILE}"

    def folder_id(self, addresses: Addresses) -> str:
        """Drive folder that is shared for this run."""
        return addresses.trg_folder_id if self.part == "trg" else addresses.trg_multi_folder_id


ARRAYS = (
    ArrayFile(
        "data/arkit_subsample.pkl",
        "checkpoint/arrays/arkit_subsample.pkl",
        "7f6666f5750db08f9f88ad8887a4a36b943c9f65a7411183fbc6eaab8a431590",
    ),
    ArrayFile(
        "data/triangles.npy",
        "checkpoint/arrays/triangles.npy",
        "b3d5a58d24d1f9f6cdc3f859378b3a3524b248733a251cebb36e124ef2bfcdf4",
    ),
    ArrayFile(
        "npy/kpt_ind.npy",
        "checkpoint/arrays/kpt_ind.npy",
        "2740e6874c0e1a106b3ea3f0d4a7f0b5018cd98e653877a80818ab1c791ceeab",
    ),
    ArrayFile(
        "npy/uv_coords_std_202109.npy",
        "checkpoint/arrays/uv_coords_std_202109.npy",
        "19845aa65597cc1ab78327764cae5229f7ebb591bd9c249bbd75c02a1ace21cf",
    ),
)
WEIGHTS = (WeightsFile("trg", "trg_single_240717"), WeightsFile("trg-multi", "trg_240717"))


@dataclass(frozen=True)
class FetchedFile:
    """What became of one file.

    sha256: of what is on disk, "" if nothing is. problem: why it failed, "" if it did not.
    by_hand: how to get it without this program.
    """

    path: Path
    status: Literal["fetched", "present", "failed"]
    sha256: str
    problem: str
    by_hand: str


@dataclass(frozen=True)
class FetchReport:
    """What became of all files that were asked for."""

    files: tuple[FetchedFile, ...]

    @property
    def ok(self) -> bool:
        return all(file.status != "failed" for file in self.files)

    def text(self) -> str:
        """Lines for the terminal: each file, then what to do by hand for those that failed."""
        said = {"fetched": "fetched", "present": "already there", "failed": "FAILED"}
        lines = [
            f"{said[file.status]}: {file.path}"
            + (f" (sha256 {file.sha256})" if file.sha256 else f"\n    {file.problem}")
            for file in self.files
        ]
        if not self.ok:
            lines.append("To get by hand what failed:")
            lines += [f"  - {file.by_hand}" for file in self.files if file.status == "failed"]
        return "\n".join(lines)


def fetch_trg(
    root: Path,
    addresses: Addresses | None = None,
    which: Collection[str] = PARTS,
    report: Callable[[Progress], None] = lambda _: None,
) -> FetchReport:
    """Bring the arrays and weights of the released TRG under `root`/checkpoint.

    Files that are there and sound are kept; one that is there and damaged is reported, never
    replaced. One failure does not stop the rest, but a host that cannot be reached is asked once.
    report: called after every piece of every file.

    Raises: ValueError for an unknown part; everything else is in the report.
    """
    unknown = sorted(set(which) - set(PARTS))
    if unknown:
        raise ValueError(f"Unknown part {unknown[0]!r}: use {', '.join(PARTS)}.")
    errand = _Errand(Path(root), addresses or Addresses(), report, {})
    files: list[FetchedFile] = []
    if "arrays" in which:
        files += [errand.array(array) for array in ARRAYS]
    files += [errand.weights(weights) for weights in WEIGHTS if weights.part in which]
    return FetchReport(tuple(files))


@dataclass(frozen=True)
class _Errand:
    """One run of `fetch_trg`. unreachable: hosts that gave no answer, with the sentence."""

    root: Path
    addresses: Addresses
    report: Callable[[Progress], None]
    unreachable: dict[str, str]

    def array(self, array: ArrayFile) -> FetchedFile:
        remote = RemoteFile(
            url=f"{self.addresses.arrays_raw}/{array.remote}",
            path=self.root / array.place,
            max_bytes=MAX_ARRAY_BYTES,
            sha256=array.sha256,
        )
        by_hand = (
            f"open {self.addresses.arrays_page}/{array.remote}, press Download raw file, and put "
            f"it at {remote.path}"
        )
        return self._bring(remote, by_hand, lambda: self._ask(remote.url, remote))

    def weights(self, weights: WeightsFile) -> FetchedFile:
        folder_id = weights.folder_id(self.addresses)
        remote = RemoteFile(
            url=self.addresses.folder_page.format(id=folder_id),
            path=self.root / weights.place,
            max_bytes=MAX_WEIGHTS_BYTES,
            starts=TORCH_FILE_STARTS,
            check=damage_of_torch_file,
        )
        by_hand = (
            f"open {remote.url}, download {CHECKPOINT}/{WEIGHTS_FILE} of {weights.run}, and put "
            f"it at {remote.path}"
        )
        return self._bring(remote, by_hand, lambda: self._from_drive(weights, folder_id, remote))

    def _bring(self, remote: RemoteFile, by_hand: str, get: Callable[[], str]) -> FetchedFile:
        try:
            if remote.path.exists():
                digest = _sha256_of_present(remote)
                return FetchedFile(remote.path, "present", digest, "", by_hand)
            return FetchedFile(remote.path, "fetched", get(), "", by_hand)
        except DownloadError as error:
            return FetchedFile(remote.path, "failed", "", str(error), by_hand)

    def _from_drive(self, weights: WeightsFile, folder_id: str, remote: RemoteFile) -> str:
        entry = find_checkpoint(
            lambda id_: self._ask(self.addresses.folder_view.format(id=id_)),
            folder_id,
            weights.run,
            CHECKPOINT,
            WEIGHTS_FILE,
        )
        address = self.addresses.file_download.format(id=entry.id)
        remote = RemoteFile(
            address, remote.path, remote.max_bytes, None, remote.starts, remote.check
        )
        try:
            return self._ask(address, remote)
        except WebPageError as page:
            confirm = confirm_parameters(page.html)
            if not confirm:
                raise DownloadError(explain_page(page.html, f"The file of {weights.run}")) from page
        try:
            return self._ask(_with_query(address, confirm), remote)
        except WebPageError as page:
            raise DownloadError(explain_page(page.html, f"The file of {weights.run}")) from page

    def _ask(self, address: str, remote: RemoteFile | None = None) -> str:
        """Text of a page, or sha256 of a downloaded file; no second try at a dead host."""
        host = urlsplit(address).netloc
        if host in self.unreachable:
            raise NoNetworkError(self.unreachable[host])
        try:
            return read_page(address) if remote is None else download(remote, self.report, address)
        except NoNetworkError as error:
            self.unreachable[host] = str(error)
            raise


def _with_query(address: str, extra: dict[str, str]) -> str:
    parts = urlsplit(address)
    query = urlencode(dict(parse_qsl(parts.query)) | extra)
    return urlunsplit(parts._replace(query=query))


def _sha256_of_present(remote: RemoteFile) -> str:
    """Raises: DownloadError if what is there is not what belongs there."""
    try:
        digest = sha256_of(remote.path)
        problem = remote.check(remote.path) if remote.check else ""
    except OSError as error:
        raise DownloadError(f"{remote.path} cannot be read ({error.strerror}).") from error
    if remote.sha256 is not None and digest != remote.sha256:
        problem = f"its sha256 is {digest}, expected {remote.sha256}"
    if problem:
        raise DownloadError(
            f"{remote.path} is there but not the published file ({problem}): remove it and run the "
            "command again."
        )
    return digest


def damage_of_torch_file(path: Path) -> str:
    """What is wrong with a file that torch.save should have written; "" if nothing shows.

    A zip archive carries a checksum of every tensor. Nothing is unpickled here.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if not head.startswith(TORCH_FILE_STARTS):
        return "it does not begin like a PyTorch file"
    if head[:2] != b"PK":
        return ""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_WEIGHTS_BYTES:
                return "it unpacks to far more than weights"
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError) as error:
        return f"its archive is damaged: {error}"
    return f"its entry {damaged!r} is damaged" if damaged else ""
