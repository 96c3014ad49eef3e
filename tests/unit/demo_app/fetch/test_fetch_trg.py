"""`fetch trg` against a web server of the test: places, Drive folders, pages, no network."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from demo_app.fetch import PARTS, Addresses, Progress, fetch_trg
from demo_app.fetch import trg as trg_module
from demo_app.fetch.download import NoNetworkError
from demo_app.fetch.drive_folder import confirm_parameters, parse_folder_page
from demo_app.fetch.trg import ArrayFile, damage_of_torch_file
from models.trg.checkpoints import ARRAY_LAYOUTS
from models.weights import MODELS

PAGE = b"<!DOCTYPE html><html><head><title>Google Drive</title></head><body>%s</body></html>"
QUOTA_PAGE = PAGE % b"Sorry, you can't view or download this file at this time. Quota exceeded."

Site = Any  # of conftest.py, which cannot be imported


def _torch_file(seed: bytes = b"weights", compress: bool = False) -> bytes:
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        # an entry without a date of its own has today's, to the second
        archive.writestr(zipfile.ZipInfo("state_dict/data.pkl"), seed * 100, method)
        archive.writestr(zipfile.ZipInfo("state_dict/data/0"), bytes(100_000), method)
    return buffer.getvalue()


def _entry(id_: str, name: str, folder: bool, link_id: str | None = None) -> str:
    where = f"drive/folders/{link_id or id_}" if folder else f"file/d/{link_id or id_}/view"
    return (
        f'<div class="flip-entry" id="entry-{id_}" tabindex="0" role="link"><div '
        f'class="flip-entry-info"><a href="https://drive.google.com/{where}?usp=drive_web">'
        f'<div class="flip-entry-list-icon"><img src="x.png"/></div><div '
        f'class="flip-entry-title">{name}</div></a></div><div '
        f'class="flip-entry-last-modified"><div>7/24/24</div></div></div>'
    )


def _folder(*entries: str) -> bytes:
    return PAGE % f'<div class="flip-entries">{"".join(entries)}</div>'.encode()


def _serve_folders(site: Site, **folders: bytes) -> None:
    """Pages of Drive folders by id."""
    for id_, page in folders.items():
        site.serve(f"/view?id={id_}", page, content_type="text/html; charset=utf-8", etag=None)


FILE_IDS = {"trg": "fileIdOfTheTrg01", "trg-multi": "fileIdOfTheMulti1"}
PLACES = {
    "trg": "checkpoint/trg_single_240717/checkpoint-30/state_dict.bin",
    "trg-multi": "checkpoint/trg_240717/checkpoint-30/state_dict.bin",
}
ARRAY_NAMES = ("data/arkit_subsample.pkl", "data/triangles.npy", "npy/kpt_ind.npy")


@pytest.fixture
def addresses(site: Site, monkeypatch: pytest.MonkeyPatch) -> Addresses:
    """All that is published, on the test's server, in folders as people make them."""
    arrays = []
    for name in ARRAY_NAMES:
        body = name.encode() * 50
        site.serve(f"/raw/{name}", body, content_type="text/plain; charset=utf-8")
        place = f"checkpoint/arrays/{Path(name).name}"
        arrays.append(ArrayFile(name, place, hashlib.sha256(body).hexdigest()))
    monkeypatch.setattr(trg_module, "ARRAYS", tuple(arrays))
    _serve_folders(
        site,
        folderOfTrg01=_folder(
            _entry("folderUnknown1", "logs", True),
            _entry("folderCkpt2999", "checkpoint-29", True),
            _entry("folderCkpt3001", "checkpoint-30", True),
        ),
        folderUnknown1=_folder(_entry("fileIdTxt0001", "train_opt.txt", False)),
        folderCkpt3001=_folder(
            _entry("fileIdMetric1", "metric.json", False),
            _entry(FILE_IDS["trg"], "state_dict.bin", False),
        ),
        folderOfMulti1=_folder(_entry(FILE_IDS["trg-multi"], "state_dict.bin", False)),
    )
    for part, id_ in FILE_IDS.items():
        site.serve(f"/download?id={id_}&confirm=t", _torch_file(part.encode()))
    return Addresses(
        arrays_raw=f"{site.url}/raw",
        arrays_page="https://github.example/TRG",
        folder_view=site.url + "/view?id={id}",
        folder_page="https://drive.example/folders/{id}",
        file_download=site.url + "/download?id={id}&confirm=t",
        trg_folder_id="folderOfTrg01",
        trg_multi_folder_id="folderOfMulti1",
    )


def _all_files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


EXPECTED_FILES = {f"checkpoint/arrays/{Path(name).name}" for name in ARRAY_NAMES} | {
    *PLACES.values()
}


def test_everything_comes_to_its_place(site: Site, addresses: Addresses, tmp_path: Path) -> None:
    told: list[Progress] = []
    report = fetch_trg(tmp_path, addresses, PARTS, told.append)
    assert report.ok and [file.status for file in report.files] == ["fetched"] * 5
    assert _all_files(tmp_path) == EXPECTED_FILES
    for part, place in PLACES.items():
        body = (tmp_path / place).read_bytes()
        assert body == _torch_file(part.encode())
        assert hashlib.sha256(body).hexdigest() in report.text()
    assert {p.name for p in told} == {Path(place).name for place in EXPECTED_FILES}
    assert not any("folderCkpt2999" in path for path, _ in site.asked)
    requests = len(site.asked)
    again = fetch_trg(tmp_path, addresses)
    assert again.ok and {file.status for file in again.files} == {"present"}
    assert len(site.asked) == requests and "already there" in again.text()


def test_only_what_was_asked_for(addresses: Addresses, tmp_path: Path) -> None:
    fetch_trg(tmp_path, addresses, ["trg"])
    assert _all_files(tmp_path) == {PLACES["trg"]}
    with pytest.raises(ValueError, match=r"Unknown part 'trg2': use arrays, trg, trg-multi\."):
        fetch_trg(tmp_path, addresses, ["trg2"])


def test_one_failure_stops_nothing_else_and_tells_what_to_do(
    site: Site, addresses: Addresses, tmp_path: Path
) -> None:
    site.served["/raw/data/triangles.npy"].body = b"other"
    site.serve(f"/download?id={FILE_IDS['trg']}&confirm=t", QUOTA_PAGE, content_type="text/html")
    report = fetch_trg(tmp_path, addresses)
    failed = [file.path.relative_to(tmp_path).as_posix() for file in report.files if file.problem]
    assert failed == ["checkpoint/arrays/triangles.npy", PLACES["trg"]] and not report.ok
    assert _all_files(tmp_path) == EXPECTED_FILES - set(failed)
    text = report.text()
    assert "24 hours" in text and "sha256" in text
    assert "https://github.example/TRG/data/triangles.npy" in text
    assert "https://drive.example/folders/folderOfTrg01" in text
    assert str(tmp_path / PLACES["trg"]) in text


def test_a_broken_connection_is_resumed_by_the_next_run(
    site: Site, addresses: Addresses, tmp_path: Path
) -> None:
    page = site.served[f"/download?id={FILE_IDS['trg']}&confirm=t"]
    page.cut_after = 50_000
    report = fetch_trg(tmp_path, addresses, ["trg"])
    assert "run the command again" in report.text()
    assert _all_files(tmp_path) == {PLACES["trg"] + ".part", PLACES["trg"] + ".part.json"}
    page.cut_after = None
    assert fetch_trg(tmp_path, addresses, ["trg"]).ok and site.last_range() == "bytes=50000-"
    assert _all_files(tmp_path) == {PLACES["trg"]}


def test_the_virus_page_is_answered_once(site: Site, addresses: Addresses, tmp_path: Path) -> None:
    form = (
        '<form id="download-form" action="http://evil.example/download" method="get">'
        '<input type="hidden" name="id" value="x"><input type="hidden" name="confirm" value="tOk">'
        '<input type="hidden" name="uuid" value="1-2-3"></form>'
    )
    path = f"/download?id={FILE_IDS['trg']}&confirm="
    warning = PAGE % form.encode()
    site.serve(f"{path}t", warning, content_type="text/html")
    site.serve(f"{path}tOk&uuid=1-2-3", _torch_file())
    assert fetch_trg(tmp_path, addresses, ["trg"]).ok
    assert (tmp_path / PLACES["trg"]).read_bytes() == _torch_file()
    (tmp_path / PLACES["trg"]).unlink()
    site.serve(f"{path}tOk&uuid=1-2-3", warning, content_type="text/html")
    before = len(site.asked)
    report = fetch_trg(tmp_path, addresses, ["trg"])
    assert not report.ok and "by hand" in report.text()
    downloads = [path for path, _ in site.asked[before:] if path.startswith("/download")]
    assert len(downloads) == 2


def test_confirm_values_that_are_no_values_are_not_sent() -> None:
    def form(value: str) -> str:
        return f'<form id="download-form"><input name="confirm" value="{value}"></form>'

    assert confirm_parameters(form("t-1_x")) == {"confirm": "t-1_x"}
    assert confirm_parameters(form("t&amp;id=other")) == {}
    assert confirm_parameters(form("a b")) == {} and confirm_parameters("<p>no form</p>") == {}
    assert confirm_parameters('<form id="x"><input name="confirm" value="t"></form>') == {}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"not a torch file at all" * 100, "begins like no such file"),
        (_torch_file()[:-500], "archive is damaged"),
        (_torch_file().replace(b"weightsweights", b"weightsWeights", 1), "is damaged"),
    ],
)
def test_weights_that_are_damaged_are_not_kept(
    body: bytes, expected: str, site: Site, addresses: Addresses, tmp_path: Path
) -> None:
    site.serve(f"/download?id={FILE_IDS['trg']}&confirm=t", body)
    report = fetch_trg(tmp_path, addresses, ["trg"])
    assert not report.ok and expected in report.files[0].problem
    assert _all_files(tmp_path) == set()


def test_files_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(b"\x80\x02}q\0.")
    assert damage_of_torch_file(path) == ""
    path.write_bytes(_torch_file(compress=True))
    assert damage_of_torch_file(path) == ""
    monkeypatch.setattr(trg_module, "MAX_WEIGHTS_BYTES", 50_000)
    assert "unpacks" in damage_of_torch_file(path)


def test_a_damaged_file_that_is_there_is_told_and_left_alone(
    site: Site, addresses: Addresses, tmp_path: Path
) -> None:
    mine = tmp_path / "checkpoint/arrays/kpt_ind.npy"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    weights = tmp_path / PLACES["trg"]
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"mine too")
    report = fetch_trg(tmp_path, addresses, ["arrays", "trg"])
    assert [file.status for file in report.files] == ["fetched", "fetched", "failed", "failed"]
    assert all("remove it and run" in file.problem for file in report.files[2:])
    assert mine.read_bytes() == b"mine" and weights.read_bytes() == b"mine too"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (PAGE % b"<a href='https://accounts.google.com/ServiceLogin'>", "login"),
        (PAGE % b"a new look of Drive", "page has changed"),
        (
            _folder(_entry("fileIdOther001", "readme.txt", False)),
            "no file checkpoint-30/state_dict",
        ),
        (
            _folder(
                _entry("fileIdFirst001", "state_dict.bin", False),
                _entry("fileIdSecond01", "state_dict.bin", False),
            ),
            "no file|several files",
        ),
        (None, "no longer has"),
    ],
)
def test_a_folder_that_does_not_show_the_file(
    page: bytes | None, expected: str, site: Site, addresses: Addresses, tmp_path: Path
) -> None:
    if page is None:
        del site.served["/view?id=folderOfTrg01"]
    else:
        _serve_folders(site, folderOfTrg01=page)
    report = fetch_trg(tmp_path, addresses, ["trg"])
    assert not report.ok and re.search(expected, report.files[0].problem)
    assert "https://drive.example/folders/folderOfTrg01" in report.text()
    assert _all_files(tmp_path) == set()


def test_names_of_a_listing_that_are_paths_are_refused(
    site: Site, addresses: Addresses, tmp_path: Path
) -> None:
    bad = [
        _entry("fileIdOfTheBad1", "../state_dict.bin", False),
        _entry("fileIdOfTheBad2", "..", True),
        _entry("fileIdOfTheBad3", "checkpoint-30&#47;state_dict.bin", False),
        _entry("fileIdOfTheBad4", "state_dict.bin", False, link_id="fileIdOfAnother"),
        _entry("../../etc/passwd", "state_dict.bin", False),
        _entry("short", "state_dict.bin", False),
        _entry("x&amp;export=view", "state_dict.bin", False),
        '<div class="flip-entry" id="entry-fileIdOfTheBad5"><div class="flip-entry-title">'
        "state_dict.bin</div></div>",
    ]
    assert parse_folder_page(PAGE.decode() % "".join(bad)) == ()
    good = _entry("fileIdOfTheGood1", "r&eacute;sum&eacute;.txt", False)
    assert [e.name for e in parse_folder_page("".join([*bad, good, *bad]))] == ["résumé.txt"]
    _serve_folders(site, folderOfTrg01=_folder(*bad))
    assert not fetch_trg(tmp_path / "root", addresses, ["trg"]).ok
    assert _all_files(tmp_path) == set()


def test_folders_that_contain_each_other_end(
    site: Site, addresses: Addresses, tmp_path: Path
) -> None:
    up, down = _entry("folderOfTrg01", "up", True), _entry("folderDeeper01", "down", True)
    _serve_folders(site, folderOfTrg01=_folder(down))
    _serve_folders(site, folderDeeper01=_folder(up, down))
    assert "no file" in fetch_trg(tmp_path, addresses, ["trg"]).files[0].problem
    assert len(site.asked) == 2


def test_the_run_decides_between_two_of_one_name(
    site: Site, addresses: Addresses, tmp_path: Path
) -> None:
    _serve_folders(
        site,
        folderOfTrg01=_folder(
            _entry("folderRunOne01", "trg_240717", True),
            _entry("folderRunTwo01", "trg_single_240717", True),
        ),
        folderRunOne01=_folder(_entry("folderCkptOne1", "checkpoint-30", True)),
        folderRunTwo01=_folder(_entry("folderCkptTwo1", "checkpoint-30", True)),
        folderCkptOne1=_folder(_entry("fileIdWrong001", "state_dict.bin", False)),
        folderCkptTwo1=_folder(_entry(FILE_IDS["trg"], "state_dict.bin", False)),
    )
    assert fetch_trg(tmp_path, addresses, ["trg"]).ok


def test_without_a_network_everything_is_told(tmp_path: Path, site: Site) -> None:
    """Nothing listens on port 9 here; each host is asked once."""
    dead = "http://127.0.0.1:9"
    addresses = replace(
        Addresses(),
        arrays_raw=f"{dead}/raw",
        folder_view=dead + "/view?id={id}",
        file_download=dead + "/download?id={id}",
    )
    report = fetch_trg(tmp_path, addresses)
    assert [file.status for file in report.files] == ["failed"] * 6
    text = report.text()
    assert text.count("cannot be reached") == 6
    for name in (array.remote for array in trg_module.ARRAYS):
        commit = "7cb6bb5e072c751d83d10755908ce27159ac7ac1"
        assert f"https://github.com/asw91666/TRG-Release/blob/{commit}/{name}" in text
    for id_ in ("1CQeB4W2KbNVpzx4FZfuyMVgljlOvtpwU", "1eymumNT307y7nyvMsZD0wuSPtmEkYyWv"):
        assert f"https://drive.google.com/drive/folders/{id_}" in text
    for place in EXPECTED_FILES:
        assert str(tmp_path / place) in text
    assert _all_files(tmp_path) == set()


def test_a_host_without_an_answer_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def nobody_there(address: str) -> str:
        asked.append(urlsplit(address).netloc)
        raise NoNetworkError("no answer")

    monkeypatch.setattr(trg_module, "read_page", nobody_there)
    monkeypatch.setattr(trg_module, "download", lambda remote, *_: nobody_there(remote.url))
    report = fetch_trg(tmp_path)
    assert [file.problem for file in report.files] == ["no answer"] * 6
    assert asked == ["raw.githubusercontent.com", "drive.google.com"]


def test_the_real_addresses_are_well_formed() -> None:
    addresses = Addresses()
    for template in (addresses.folder_view, addresses.folder_page, addresses.file_download):
        parts = urlsplit(template.format(id="abcdefghijk"))
        assert parts.scheme == "https" and parts.netloc.endswith("google.com")
        assert "abcdefghijk" in parts.path or parse_qs(parts.query)["id"] == ["abcdefghijk"]
    assert urlsplit(addresses.arrays_raw).netloc == "raw.githubusercontent.com"


def test_the_places_are_those_that_the_loader_reads() -> None:
    assert {(a.remote, a.place) for a in trg_module.ARRAYS} == set(ARRAY_LAYOUTS.values())
    for weights in trg_module.WEIGHTS:
        entry = MODELS[weights.part]
        assert weights.place == entry.weights_file == PLACES[weights.part]
        assert entry.address.endswith(weights.folder_id(Addresses()))


def test_the_known_hashes_are_those_of_the_real_arrays(shared_data: Path) -> None:
    for array in trg_module.ARRAYS:
        path = shared_data / "trg_arrays" / Path(array.remote).name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == array.sha256
