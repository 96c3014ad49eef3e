"""Questions to an index against NumPy's answers; hostile filters; threads."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.datasets.registry import bundled_root, open_dataset
from viewer.datasets.source import Problem
from viewer.index.build import build_index
from viewer.index.build_table import publish
from viewer.index.check_table import CHECKS
from viewer.index.predictions import Prediction, write_predictions
from viewer.index.query import FilterError, Filters, Index, Sort
from viewer.index.schema import COLUMNS
from viewer.index.selection import places_in_order

Array = np.ndarray


@pytest.fixture(scope="module")
def index(made_up_folder: Path) -> Index:
    return Index(made_up_folder)


def numbers(table: pa.Table, column: str) -> Array:
    """As the index orders them: single precision, NaN where there is none."""
    return np.array([np.nan if v is None else v for v in table[column].to_pylist()], np.float32)


def mask_of(table: pa.Table, filters: Filters, flagged: tuple[str, ...] = ()) -> Array:
    mask = np.ones(table.num_rows, bool)
    for column, (low, high) in filters.ranges.items():
        values = numbers(table, column)
        mask &= ~np.isnan(values)
        mask &= True if low is None else values >= np.float32(low)
        mask &= True if high is None else values <= np.float32(high)
    for column, names in filters.values.items():
        mask &= np.isin(table[column].to_pylist(), names)
    keys = table["key"].to_pylist()
    if filters.findings:
        found = table["findings"].to_pylist()
        mask &= np.array([bool(set(f) & set(filters.findings)) for f in found])
    if filters.flagged is not None:
        mask &= np.isin(keys, flagged) == filters.flagged
    return mask & np.array([filters.text.lower() in key.lower() for key in keys])


def expected_keys(
    table: pa.Table, filters: Filters, sort: Sort, flagged: tuple[str, ...] = ()
) -> list[str]:
    keys = np.array(table["key"].to_pylist(), object)
    places = np.flatnonzero(mask_of(table, filters, flagged))
    if sort.column == "key":
        return keys[places[::-1] if sort.descending else places].tolist()
    if sort.column in ("split", "subject", "sequence"):
        names = np.array(table[sort.column].to_pylist())
        values = np.unique(names, return_inverse=True)[1].astype(float)
    else:
        values = numbers(table, sort.column)
    values = -values if sort.descending else values
    return keys[places[np.argsort(values[places], kind="stable")]].tolist()


FLAGGED = tuple(f"S0000{n}/00_LeftToRight/{1616212230000 + 500 * n + 7}" for n in range(3))
SOME = [
    Filters(),
    Filters(ranges={"yaw_deg": (-10.0, 25.5)}),
    Filters(ranges={"yaw_deg": (None, 0.0), "distance_mm": (600.0, None), "frame": (3.0, 99.0)}),
    Filters(ranges={"distance_mm": (None, None)}),
    Filters(values={"split": ("test",), "sequence": ("00_LeftToRight", "03_LeftToRight", "no")}),
    Filters(values={"subject": ("nobody",)}),
    Filters(findings=("rotation", "box_iou")),
    Filters(text="s00001/03_LEFT"),
    Filters(flagged=True),
    Filters(flagged=False, ranges={"pitch_deg": (-5.0, 5.0)}),
    Filters(ranges={"check_nose_sign": (0.01, None)}, values={"split": ("train",)}, text="S"),
]
SORTS = [
    Sort(),
    Sort("key", True),
    Sort("yaw_deg"),
    Sort("distance_mm", True),
    Sort("width_px"),
    Sort("frame", True),
    Sort("check_rotation", True),
    Sort("check_betas_sd"),
    Sort("sequence", True),
]


@pytest.mark.parametrize("sort", SORTS, ids=str)
@pytest.mark.parametrize("filters", SOME, ids=str)
def test_pages_and_counts_are_numpys(
    index: Index, made_up_table: pa.Table, filters: Filters, sort: Sort
) -> None:
    expected = expected_keys(made_up_table, filters, sort, FLAGGED)
    for offset in {0, 7, len(expected) // 2, max(0, len(expected) - 30), len(expected) + 5}:
        page = index.page(filters, sort, offset=offset, limit=50, flagged_keys=FLAGGED)
        assert [row["key"] for row in page] == expected[offset : offset + 50]
    assert index.count(filters, FLAGGED) == len(expected)
    assert index.keys(filters, sort, FLAGGED) == expected


def test_the_filters_of_this_test_are_worth_asking(made_up_table: pa.Table) -> None:
    counts = [mask_of(made_up_table, filters, FLAGGED).sum() for filters in SOME]
    assert counts.count(0) == 1 and counts[SOME.index(Filters(flagged=True))] == 3
    assert all(0 < n < 6000 for i, n in enumerate(counts) if i not in (0, 5))


def test_a_row_is_that_of_the_file(index: Index, made_up_table: pa.Table) -> None:
    expected = made_up_table.select([c.name for c in COLUMNS]).slice(1234, 1).to_pylist()[0]
    assert index.row(expected["key"]) == expected
    assert index.row(expected["key"].lower()) is None and index.row("' or 1=1 --") is None


@given(
    st.lists(st.one_of(st.integers(-3, 3).map(float), st.just(float("nan"))), max_size=60),
    st.integers(0, 70),
    st.integers(0, 70),
)
def test_part_of_the_order_is_part_of_a_stable_sort(values: list[float], a: int, b: int) -> None:
    array = np.array(values, np.float32)
    start, stop = min(a, b), max(a, b)
    expected = np.argsort(array, kind="stable")[start:stop]
    np.testing.assert_array_equal(places_in_order(array, start, stop), expected)


@pytest.mark.parametrize("kind", ["random", "few", "equal", "growing", "half missing", "waves"])
def test_many_values_are_ordered_as_a_stable_sort_does(kind: str) -> None:
    rng, count = np.random.default_rng(4), 300_000
    values = {
        "random": lambda: rng.normal(0, 20, count),
        "few": lambda: rng.integers(0, 3, count).astype(float),
        "equal": lambda: np.zeros(count),
        "growing": lambda: np.arange(count).astype(float),
        "half missing": lambda: np.where(rng.random(count) < 0.5, np.nan, rng.random(count)),
        "waves": lambda: np.where(np.arange(count) % (count // 4096) == 0, 0.0, rng.random(count)),
    }[kind]().astype(np.float32)
    expected = np.argsort(values, kind="stable")
    for start in (0, 100, count // 3, count // 2, count - 24, count - 3):
        found = places_in_order(values, start, start + 24)
        np.testing.assert_array_equal(found, expected[start : start + 24])


def test_neighbours_are_the_frames_beside_it(index: Index, made_up_table: pa.Table) -> None:
    keys = made_up_table["key"].to_pylist()
    assert index.neighbours(keys[101]) == (keys[100], keys[102])
    assert index.neighbours(keys[100]) == (None, keys[101])
    assert index.neighbours(keys[99]) == (keys[98], None)
    assert index.sequence_keys(keys[150]) == keys[100:200]
    assert index.neighbours("no such key") == (None, None)
    assert index.sequence_keys("no such key") == []


def test_a_sample_without_a_sequence_stands_alone(tmp_path: Path, made_up_table: pa.Table) -> None:
    place = made_up_table.schema.get_field_index("sequence")
    field = made_up_table.schema.field(place)
    alone = made_up_table.set_column(place, field, pa.array([""] * made_up_table.num_rows))
    publish(alone, tmp_path, {}, [], [])
    key = alone["key"][5].as_py()
    index = Index(tmp_path)
    assert index.neighbours(key) == (None, None) and index.sequence_keys(key) == [key]
    assert index.distinct("sequence") == []


def test_the_summary_counts_all(index: Index, made_up_table: pa.Table) -> None:
    summary = index.summary()
    assert summary.rows == 6000 and summary.by_split == {"test": 1000, "train": 5000}
    assert summary.by_subject == {f"S{n:05d}": 500 for n in range(12)}
    assert index.distinct("sequence", 2) == [(f"0{n}_LeftToRight", 1200) for n in range(2)]
    found = [name for names in made_up_table["findings"].to_pylist() for name in names]
    assert summary.findings == {c.name: found.count(c.name) for c in CHECKS if c.name in found}
    low, high = min(made_up_table["yaw_deg"].to_pylist()), max(made_up_table["yaw_deg"].to_pylist())
    extent = summary.extents["yaw_deg"]
    assert (extent.low, extent.high, extent.count) == (low, high, 6000)
    assert "check_betas_sd" not in summary.extents
    assert summary.problems == (("a.txt", "It is empty."),) and summary.notes == ("One note.",)
    with pytest.raises(FilterError):
        index.distinct("key")


def test_exports_hold_the_filtered_rows(
    index: Index, made_up_table: pa.Table, tmp_path: Path
) -> None:
    filters = Filters(ranges={"yaw_deg": (10.0, 20.0)}, findings=("rotation",))
    expected = expected_keys(made_up_table, filters, Sort())
    assert index.export_parquet(filters, tmp_path / "a.parquet") == len(expected) > 9
    table = pq.read_table(tmp_path / "a.parquet")
    assert table["key"].to_pylist() == expected and "signature" not in table.column_names
    assert index.export_csv(filters, tmp_path / "a.csv") == len(expected)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == expected
    assert float(rows[3]["yaw_deg"]) == table["yaw_deg"][3].as_py()
    assert rows[3]["findings"] == ";".join(table["findings"][3].as_py())
    assert index.export_parquet(Filters(text="none such"), tmp_path / "b.parquet") == 0
    assert pq.read_table(tmp_path / "b.parquet").num_rows == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.parquet", "b.parquet"]


def test_an_export_has_the_errors_of_the_chosen_model(
    made_up_folder: Path, made_up_table: pa.Table, tmp_path: Path
) -> None:
    folder = shutil.copytree(made_up_folder, tmp_path / "index")
    keys = made_up_table["key"].to_pylist()
    said = [
        Prediction(keys[40], np.eye(3), np.zeros(3), geodesic_deg=7.5, t_error_mm=12.0),
        Prediction(keys[3], np.eye(3), np.zeros(3), geodesic_deg=2.5),
    ]
    write_predictions(folder, "a-model", said)
    index = Index(folder)
    assert index.export_parquet(Filters(), tmp_path / "a.parquet", model="a-model") == 6000
    table = pq.read_table(tmp_path / "a.parquet", columns=["key", "model", "geodesic_deg"])
    known = [row for row in table.to_pylist() if row["geodesic_deg"] is not None]
    assert sorted(row["key"] for row in known) == sorted([keys[40], keys[3]])
    assert {row["key"]: row["geodesic_deg"] for row in known} == {keys[40]: 7.5, keys[3]: 2.5}
    assert {row["model"] for row in known} == {"a-model"}
    index.export_csv(Filters(text=keys[40]), tmp_path / "a.csv", model="a-model")
    with (tmp_path / "a.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["key"], row["geodesic_deg"], row["t_error_mm"]) == (keys[40], "7.5", "12")
    index.export_csv(Filters(text=keys[40]), tmp_path / "b.csv", model="never-run")
    assert "geodesic_deg" not in (tmp_path / "b.csv").read_text().splitlines()[0]


@pytest.mark.parametrize("filters", SOME, ids=str)
def test_an_address_gives_the_filters_back(filters: Filters) -> None:
    assert Filters.from_query_string(filters.to_query_string()) == filters
    assert Filters.from_query_string("?" + filters.to_query_string()) == filters


@given(st.text(max_size=40), st.floats(-1e6, 1e6))
def test_any_text_and_number_survive_an_address(text: str, low: float) -> None:
    try:
        filters = Filters(ranges={"yaw_deg": (low, None)}, values={"split": (text,)}, text=text)
    except FilterError:
        return
    assert Filters.from_query_string(filters.to_query_string()) == filters


@pytest.mark.parametrize(
    "text",
    [
        "yaw_deg=1",
        "yaw_deg=a..b",
        "yaw_deg=nan..",
        "yaw_deg=..inf",
        "yaw_deg=1..2&yaw_deg=3..4",
        "key=1..2",
        "split; drop table hot=1..2",
        "1=1..2",
        "yaw_deg) or (1=1..2",
        "flagged=maybe",
        "finding=nothing",
        "finding=rotation'",
        "text=%00",
        "text=%ff",
        "text=" + "a" * 501,
        "&".join(["split=a"] * 201),
        "yaw_deg",
        "geodesic_deg=1..2..3",
        "a" * 30_000,
    ],
)
def test_a_bad_address_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(FilterError, match=r"."):
        Filters.from_query_string(text)


@pytest.mark.parametrize("column", ["", "signature", "image", "n", "yaw_deg desc", "1", "findings"])
def test_other_columns_are_refused(index: Index, column: str) -> None:
    with pytest.raises(FilterError):
        Sort(column)
    with pytest.raises(FilterError):
        Filters(ranges={column: (0.0, 1.0)})
    with pytest.raises(FilterError):
        Filters(values={column: ("a",)})


@pytest.mark.parametrize(
    "text", ["'", '"', "%", "_", "\\", "');drop table hot;--", "🙂", "$1", "?"]
)
def test_text_is_only_ever_text(index: Index, text: str) -> None:
    assert index.count(Filters(text=text, values={"split": (text, "train")})) == (
        5000 if text == "_" else 0
    )
    assert index.count(Filters(flagged=True), [text]) == 0
    assert index.count(Filters()) == 6000


def test_numbers_of_any_size_are_no_error(index: Index) -> None:
    wide = Filters(ranges={"yaw_deg": (-1e300, 1e300), "frame": (-1e300, 1e300)})
    assert index.count(wide) == 6000
    with pytest.raises(FilterError):
        index.page(Filters(), Sort(), offset=-1, limit=5)
    with pytest.raises(FilterError):
        index.page(Filters(), Sort(), offset=0, limit=10**9)


def test_the_database_reads_no_file(index: Index, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(Exception, match="disabled"):
        index.tables().ask(f"select * from '{tmp_path / 'a.csv'}'")


def test_a_new_build_is_noticed(tmp_path: Path, made_up_table: pa.Table) -> None:
    publish(made_up_table.slice(0, 100), tmp_path, {}, [], [])
    index = Index(tmp_path)
    assert index.count(Filters()) == 100
    publish(made_up_table.slice(50, 300), tmp_path, {}, [], [])
    assert index.count(Filters()) == 300
    first = index.page(Filters(), Sort(), offset=0, limit=1)[0]["key"]
    assert first == made_up_table["key"][50].as_py()


def test_threads_share_an_index_while_it_is_built_anew(
    tmp_path: Path, made_up_table: pa.Table
) -> None:
    """Every page is of one version: its rows are the first of it, and as many as it has."""
    sizes = (100, 200, 300)
    publish(made_up_table.slice(0, 100), tmp_path, {}, [], [])
    index = Index(tmp_path)

    def ask(n: int) -> bool:
        column = ("yaw_deg", "pitch_deg", "distance_mm")[n % 3]
        rows = index.page(Filters(), Sort(column, n % 2 == 0), offset=0, limit=400)
        kept = made_up_table.slice(0, len(rows))
        expected = expected_keys(kept, Filters(), Sort(column, n % 2 == 0))
        return len(rows) in sizes and [row["key"] for row in rows] == expected

    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(ask, n) for n in range(60)]
        for size in (200, 300, 100, 300):
            publish(made_up_table.slice(0, size), tmp_path, {}, [], [])
        assert all(answer.result() for answer in answers)
    assert index.count(Filters()) == 300


def test_asking_needs_neither_torch_nor_cv2(made_up_folder: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from viewer.index import flags, predictions, schema, stats\n"
        "from viewer.index.query import Filters, Index, Sort\n"
        "index = Index(Path(sys.argv[1]))\n"
        "assert len(index.page(Filters(), Sort('yaw_deg'), offset=0, limit=5)) == 5\n"
        "stats.histogram(index, 'yaw_deg', Filters())\n"
        "print(sorted({'torch', 'cv2', 'scipy', 'pandas'} & set(sys.modules)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(made_up_folder)],
        cwd=Path(__file__).resolve().parents[4],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"


def test_problems_are_told_by_the_summary_even_without_reasons(
    tmp_path: Path, made_up_table: pa.Table
) -> None:
    publish(made_up_table.slice(0, 3), tmp_path, {}, [Problem("a", "b")] * 600, [])
    summary = Index(tmp_path).summary()
    assert summary.problem_count == 600 and len(summary.problems) == 500
    (tmp_path / "problems.json").write_text("{")
    assert "missing" in Index(tmp_path).summary().notes[0]


def test_a_data_set_without_frames_has_no_neighbours(tmp_path: Path) -> None:
    """MICA has meshes of persons and no sequence."""
    root = bundled_root("mica")
    build_index(open_dataset("mica", root), tmp_path / "index", workers=0)
    index = Index(tmp_path / "index")
    rows = index.page(Filters(), Sort(), offset=0, limit=10)
    assert len(rows) == 5 and all(row["frame"] is None for row in rows)
    for row in rows:
        assert index.neighbours(row["key"]) == (None, None)
        assert index.sequence_keys(row["key"]) == [row["key"]]
