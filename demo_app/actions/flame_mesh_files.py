"""A mesh file that was made elsewhere: OBJ or PLY, in metres afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from demo_app.actions.flame_parameters import FlameTabError
from viewer.datasets.mica_files import MAX_OBJ_BYTES, UNITS_M, guess_unit, read_obj
from viewer.datasets.mica_heads import outward
from viewer.datasets.source import DatasetError
from viewer.render.mesh_files import NamedMesh

Array = np.ndarray

MESH_ENDINGS = (".obj", ".ply")
_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_HEADER_BYTES, _MAX_LINES = 64 << 10, 200


@dataclass(frozen=True)
class OpenedMesh:
    """mesh: in metres, triangles counter-clockwise from outside. unit: the file's, as guessed."""

    mesh: NamedMesh
    unit: str


def read_mesh(path: Path) -> OpenedMesh:
    """A head's mesh. Raises: FlameTabError."""
    try:
        if path.suffix.lower() == ".ply":
            vertices, triangles = read_ply(path)
        else:
            found = read_obj(path)
            vertices, triangles = found.vertices, found.triangles
    except (DatasetError, OSError) as error:
        raise FlameTabError(str(error).replace(str(path), path.name)) from error
    if not len(triangles):
        raise FlameTabError(f"{path.name} has no faces, so it is no mesh.")
    unit = guess_unit(vertices)
    if unit is None:
        sides = " x ".join(f"{side:.4g}" for side in np.ptp(vertices, axis=0))
        raise FlameTabError(f"{path.name} has a box of {sides}, which is a head in no unit.")
    vertices_m = vertices * UNITS_M[unit]
    return OpenedMesh(NamedMesh(path.stem, vertices_m, outward(vertices_m, triangles)), unit)


@dataclass(frozen=True)
class _Element:
    """properties: name, type, and the type of the count where it is a list."""

    name: str
    count: int
    properties: list[tuple[str, str, str | None]]


def read_ply(path: Path) -> tuple[Float[Array, "v 3"], Int[Array, "f 3"]]:
    """Vertices and triangles of a PLY file, polygons cut into fans. Raises: FlameTabError."""
    if path.stat().st_size > MAX_OBJ_BYTES:
        raise FlameTabError(f"{path.name} has {path.stat().st_size} bytes, too many for a head.")
    data = path.read_bytes()
    try:
        order, elements, body = _header(data)
        tables = _ascii(body, elements) if order == "" else _binary(body, elements, order)
        vertices = np.stack([tables["vertex"][axis] for axis in "xyz"], 1).astype(np.float64)
        triangles = tables["face"]
    except (KeyError, ValueError, IndexError, OverflowError) as error:
        raise FlameTabError(f"{path.name} is no PLY file that can be read: {error}.") from error
    is_inside = not len(triangles) or 0 <= triangles.min() <= triangles.max() < len(vertices)
    if not len(vertices) or not np.isfinite(vertices).all() or not is_inside:
        raise FlameTabError(f"{path.name} has vertices that are not finite or faces without them.")
    return vertices, triangles


def _header(data: bytes) -> tuple[str, list[_Element], bytes]:
    end = data.find(b"end_header", 0, _MAX_HEADER_BYTES)
    if not data.startswith(b"ply") or end < 0:
        raise ValueError("it has no header")
    body = data[data.index(b"\n", end) + 1 :]
    order, elements = None, []
    for line in data[:end].decode("ascii", "replace").splitlines()[1:_MAX_LINES]:
        words = line.split()
        if words[:1] == ["format"]:
            order = "" if words[1] == "ascii" else _ORDERS[words[1]]
        elif words[:1] == ["element"]:
            elements.append(_Element(words[1], int(words[2]), []))
        elif words[:2] == ["property", "list"]:
            elements[-1].properties.append((words[4], _TYPES[words[3]], _TYPES[words[2]]))
        elif words[:1] == ["property"]:
            elements[-1].properties.append((words[2], _TYPES[words[1]], None))
    if order is None:
        raise ValueError("its header names no format")
    for element in elements:
        if not 0 <= element.count <= len(body):
            raise ValueError(f"its header promises {element.count} of {element.name}")
    return order, elements, body


def _ascii(body: bytes, elements: list[_Element]) -> dict[str, dict[str, Array] | Array]:
    lines = body.decode("ascii", "replace").splitlines()
    tables: dict[str, dict[str, Array] | Array] = {}
    first = 0
    for element in elements:
        rows = [line.split() for line in lines[first : first + element.count]]
        first += element.count
        if len(rows) < element.count:
            raise ValueError("it ends too early")
        if element.name == "face":
            tables["face"] = _fans([[int(word) for word in _polygon(row)] for row in rows])
        elif element.name == "vertex":
            columns = [name for name, _, _ in element.properties]
            numbers = np.array([row[: len(columns)] for row in rows], np.float64)
            tables["vertex"] = dict(zip(columns, numbers.T, strict=True))
    return tables


def _polygon(row: list[str]) -> list[str]:
    count = int(row[0])
    if len(row) <= count:
        raise ValueError("a face ends too early")
    return row[1 : 1 + count]


def _binary(
    body: bytes, elements: list[_Element], order: str
) -> dict[str, dict[str, Array] | Array]:
    tables: dict[str, dict[str, Array] | Array] = {}
    place = 0
    for element in elements:
        if any(of_count for _, _, of_count in element.properties):
            polygons, place = _lists(body, element, order, place)
            if element.name == "face":
                tables["face"] = _fans(polygons)
            continue
        row = np.dtype([(name, order + kind) for name, kind, _ in element.properties])
        table = np.frombuffer(body, row, element.count, place)
        place += table.nbytes
        tables[element.name] = {name: table[name] for name in row.names or ()}
    return tables


def _lists(body: bytes, element: _Element, order: str, place: int) -> tuple[list[list[int]], int]:
    """Row by row, as lists have no fixed length; the first list of a row is the polygon."""
    polygons = []
    for _ in range(element.count):
        polygon: list[int] | None = None
        for _, kind, of_count in element.properties:
            count = 1
            if of_count is not None:
                count = int(np.frombuffer(body, order + of_count, 1, place)[0])
                place += np.dtype(of_count).itemsize
            if not 0 <= count <= len(body) - place:
                raise ValueError("a face ends too early")
            values = np.frombuffer(body, order + kind, count, place)
            place += values.nbytes
            if polygon is None and of_count is not None:
                polygon = values.astype(np.int64).tolist()
        polygons.append(polygon or [])
    return polygons, place


def _fans(polygons: list[list[int]]) -> Int[Array, "f 3"]:
    fans = [(polygon[0], b, c) for polygon in polygons for b, c in pairwise(polygon[1:])]
    return np.array(fans, np.int64).reshape(-1, 3)
