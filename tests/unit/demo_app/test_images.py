"""read_image on every kind of picture and of non-picture; list_inputs on folders."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from demo_app.inference import images
from demo_app.inference.images import ImageError, read_image
from demo_app.inference.input_files import kind_of, list_images, list_inputs, natural_key, printable

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION, EXIF_IFD, F35 = 0x0112, 0x8769, 41989


def _corners(width: int = 60, height: int = 40) -> np.ndarray:
    """Quarters: red, green above blue, white, so that every turn and mirror shows."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = RED
    image[: height // 2, width // 2 :] = GREEN
    image[height // 2 :, : width // 2] = BLUE
    image[height // 2 :, width // 2 :] = WHITE
    return image


def _encoded(image: Image.Image | np.ndarray, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def _png_of_16_bit(levels: np.ndarray) -> bytes:
    ok, data = cv2.imencode(".png", levels)
    assert ok
    return data.tobytes()


def _png_header_only(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + crc + b"\0\0\0\0IDAT"


@pytest.mark.parametrize(
    ("file_format", "tolerance"),
    [("PNG", 0), ("BMP", 0), ("TIFF", 0), ("PPM", 0), ("GIF", 0), ("JPEG", 12), ("WEBP", 12)],
)
def test_formats(file_format: str, tolerance: int) -> None:
    options = {"quality": 95} if tolerance else {}
    loaded = read_image(_encoded(_corners(), file_format, **options), "photo")
    assert loaded.image_rgb.dtype == np.uint8 and loaded.size_wh_px == (60, 40)
    for y, x, colour in ((9, 9, RED), (9, 50, GREEN), (30, 9, BLUE), (30, 50, WHITE)):
        assert np.abs(loaded.image_rgb[y, x].astype(int) - colour).max() <= tolerance
    assert (loaded.source, loaded.note, loaded.exif) == ("photo", "", {})


def test_the_result_is_the_callers_own_array() -> None:
    image = read_image(_encoded(_corners())).image_rgb
    image[:] = 0
    assert image.flags.c_contiguous and image.flags.writeable


@pytest.mark.parametrize("mode", ["L", "1", "P", "YCbCr"])
def test_modes_without_transparency(mode: str) -> None:
    file_format = "JPEG" if mode == "YCbCr" else "PNG"
    loaded = read_image(_encoded(Image.fromarray(_corners()).convert(mode), file_format))
    assert loaded.image_rgb.shape == (40, 60, 3)
    assert loaded.image_rgb[30, 50].min() > 240
    if mode in ("L", "1"):
        assert (loaded.image_rgb == loaded.image_rgb[..., :1]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_are_white_and_half_transparent_ones_mixed(mode: str) -> None:
    picture = Image.new("RGBA", (3, 1), (0, 0, 0, 255))
    picture.putpixel((1, 0), (0, 0, 0, 0))
    picture.putpixel((2, 0), (0, 0, 0, 128))
    if mode == "P":  # a palette with a transparent index has no half tones
        picture = Image.new("P", (3, 1), 0)
        picture.putpalette([0, 0, 0, 200, 10, 10])
        picture.putpixel((1, 0), 1)
        data = _encoded(picture, transparency=1)
    else:
        data = _encoded(picture.convert(mode))
    loaded = read_image(data)
    assert loaded.image_rgb[0, 0].tolist() == [0, 0, 0]
    assert loaded.image_rgb[0, 1].tolist() == [255, 255, 255]
    if mode != "P":
        assert loaded.image_rgb[0, 2].tolist() == [127, 127, 127]
    assert "white" in loaded.note


def test_an_opaque_alpha_channel_is_not_worth_a_note() -> None:
    loaded = read_image(_encoded(Image.fromarray(_corners()).convert("RGBA")))
    assert loaded.note == "" and (loaded.image_rgb == _corners()).all()


def test_sixteen_bit_grey_keeps_its_full_range() -> None:
    levels = np.array([[0, 128, 257, 32768, 65278, 65535]], np.uint16)
    expected = np.round(levels / 257).astype(int)
    for data in (_png_of_16_bit(levels), _encoded(Image.fromarray(levels), "TIFF")):
        loaded = read_image(data)
        assert (loaded.image_rgb == expected[..., None]).all()
        assert "16-bit" in loaded.note


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_is_scaled_and_not_wrapped(channels: int) -> None:
    levels = np.full((2, 2, channels), 65535, np.uint16)
    levels[..., :3] = (1000, 30000, 65535)  # BGR
    loaded = read_image(_png_of_16_bit(levels))
    expected = np.array([65535, 30000, 1000]) / 257
    assert np.abs(loaded.image_rgb.astype(float) - expected).max() <= 1


def test_cmyk_jpeg_of_adobe_and_of_others() -> None:
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # red ink
    adobe = _encoded(cmyk, "JPEG", quality=100)
    at = adobe.index(b"\xff\xee")
    plain = adobe[:at] + adobe[at + 2 + int.from_bytes(adobe[at + 2 : at + 4], "big") :]
    assert b"Adobe" in adobe and b"Adobe" not in plain
    assert np.abs(read_image(adobe).image_rgb[8, 8].astype(int) - RED).max() < 6
    # Without Adobe's mark the stored values are not inverted: the same bytes are cyan and black.
    assert read_image(plain).image_rgb[8, 8].max() < 6
    inverted = _encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 255)), "JPEG", quality=100)
    at = inverted.index(b"\xff\xee")
    plain = inverted[:at] + inverted[at + 2 + int.from_bytes(inverted[at + 2 : at + 4], "big") :]
    assert np.abs(read_image(plain).image_rgb[8, 8].astype(int) - RED).max() < 6


# EXIF 2.32, table of orientations: where row 0 and column 0 of the file are in the scene.
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, file_format: str) -> None:
    upright = _corners()
    row_first = orientation < 5
    stored = upright if row_first else upright.swapaxes(0, 1)
    flip_rows, flip_columns = {
        1: (False, False),  # row 0 is the top, column 0 the left
        2: (False, True),  # top, right
        3: (True, True),  # bottom, right
        4: (True, False),  # bottom, left
        5: (False, False),  # left, top
        6: (False, True),  # right, top: rows of the file run from right to left of the scene
        7: (True, True),  # right, bottom
        8: (True, False),  # left, bottom
    }[orientation]
    if orientation >= 5:
        flip_rows, flip_columns = flip_columns, flip_rows
    stored = stored[::-1] if flip_rows else stored
    stored = stored[:, ::-1] if flip_columns else stored
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif.get_ifd(EXIF_IFD)[F35] = 26
    options = {"quality": 95} if file_format in ("JPEG", "WEBP") else {}
    data = _encoded(np.ascontiguousarray(stored), file_format, exif=exif.tobytes(), **options)
    loaded = read_image(data)
    assert loaded.size_wh_px == (60, 40)
    for y, x, colour in ((9, 9, RED), (9, 50, GREEN), (30, 9, BLUE), (30, 50, WHITE)):
        assert np.abs(loaded.image_rgb[y, x].astype(int) - colour).max() <= 12
    assert loaded.exif == {"FocalLengthIn35mmFilm": 26.0}


def test_exif_numbers_are_plain_finite_and_positive() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 99  # no such orientation: the picture stays as it is
    tags = exif.get_ifd(EXIF_IFD)
    tags[37386] = IFDRational(4250, 1000)  # FocalLength 4.25 mm
    tags[F35] = 0  # unknown
    tags[41486] = IFDRational(5, 0)  # FocalPlaneXResolution, broken
    tags[40962], tags[40963] = 4032, 3024
    loaded = read_image(_encoded(_corners(), "JPEG", exif=exif))
    assert loaded.exif == {"FocalLength": 4.25, "ExifImageWidth": 4032, "ExifImageHeight": 3024}
    assert all(type(value) is float for value in loaded.exif.values())
    assert loaded.size_wh_px == (60, 40)


def test_broken_exif_is_ignored_and_said() -> None:
    loaded = read_image(_encoded(_corners(), exif=b"Exif\0\0no TIFF header"), "x.png")
    assert loaded.size_wh_px == (60, 40) and loaded.exif == {}
    assert "EXIF unreadable" in loaded.note


def test_one_pixel_and_twelve_million() -> None:
    assert read_image(_encoded(np.zeros((1, 1, 3), np.uint8))).image_rgb.shape == (1, 1, 3)
    large = Image.new("RGB", (4000, 3000), (10, 20, 30))
    loaded = read_image(_encoded(large, "JPEG", quality=90))
    assert loaded.image_rgb.shape == (3000, 4000, 3)
    assert np.abs(loaded.image_rgb[1500, 2000].astype(int) - (10, 20, 30)).max() < 4


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_pictures_counts_and_is_noted(file_format: str) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE))
    data = _encoded(first, file_format, save_all=True, append_images=[second])
    loaded = read_image(data)
    assert np.abs(loaded.image_rgb[4, 4].astype(int) - RED).max() < 8
    assert "first of several" in loaded.note


BAD = {
    "empty.jpg": (b"", "is empty"),
    "notes.jpg": (b"Dear Ann,\nthe photo is on the other disk.\n", "holds text"),
    "drawing.jpg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "holds text"),
    "noise.jpg": (bytes(range(256)) * 4, "is no picture"),
    "broken.jpg": (b"\xff\xd8\xff\xe0" + b"\x17" * 400, "damaged"),
    "photo.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\1" * 99, "HEIC"),
    "photo.jpg": (b"\0\0\0\x14ftypisom\0\0\2\0mp42" + b"\1" * 99, "is a video"),
    "clip.webm.png": (b"\x1a\x45\xdf\xa3" + b"\1" * 99, "is a video"),
    "float.tif": (_encoded(Image.new("F", (4, 4), 0.5), "TIFF"), "floating-point"),
    "deep.tif": (_encoded(Image.new("I", (4, 4), 70000), "TIFF"), "beyond 16 bit"),
    "bomb.png": (_png_header_only(20000, 20000), "too many pixels"),
    "big.png": (_png_header_only(12000, 10001), "too many pixels"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_gives_one_sentence_with_its_name(name: str, tmp_path: Path) -> None:
    data, expected = BAD[name]
    (tmp_path / name).write_bytes(data)
    for given in (tmp_path / name, str(tmp_path / name)):
        with pytest.raises(ImageError) as caught:
            read_image(given)
        message = str(caught.value)
        assert name in message and expected in message
        assert "\n" not in message and message.endswith(".")
    with pytest.raises(ImageError, match=expected):
        read_image(data, name)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_a_picture_that_was_cut_short(file_format: str) -> None:
    rng = np.random.default_rng(0)
    data = _encoded(rng.integers(0, 256, (64, 64, 3), np.uint8), file_format)
    with pytest.raises(ImageError, match=r"cut\.x is damaged or cut short"):
        read_image(data[: len(data) // 2], "cut.x")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match=r"gone\.png does not exist"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ImageError, match=r"is no path|does not exist"):
        read_image("a\0b.png")
    with pytest.raises(ImageError, match=r"cannot be opened|does not exist"):
        read_image(tmp_path / ("x" * 400 + ".png"))


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 100)
    (tmp_path / "huge.bmp").write_bytes(_encoded(_corners(), "BMP"))
    with pytest.raises(ImageError, match=r"huge\.bmp is larger"):
        read_image(tmp_path / "huge.bmp")


def test_source_is_the_path_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(_encoded(_corners()))
    monkeypatch.chdir(tmp_path)
    assert read_image("./a.png").source == "./a.png"
    assert read_image("a.png", "upload.png").source == "upload.png"


def test_a_hostile_name_does_not_spoil_the_message() -> None:
    with pytest.raises(ImageError) as caught:
        read_image(b"", "a\nb\x1b[31m\udcff" + "y" * 500 + ".jpg")
    message = str(caught.value)
    assert "\n" not in message and "\x1b" not in message and len(message) < 250
    message.encode()


def test_real_pictures(shared_data: Path) -> None:
    faces = shared_data / "samples" / "faces"
    astronaut = read_image(faces / "astronaut.png")
    assert astronaut.size_wh_px == (512, 512) and astronaut.note == ""
    assert read_image(faces / "t1.jpg").image_rgb.std() > 30
    with pytest.raises(ImageError, match="is a video"):
        read_image(faces / "demo.mp4")


# --- listing


def test_kinds_come_from_content_for_all_that_can_be_written() -> None:
    for file_format in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF"):
        assert kind_of(_encoded(_corners(), file_format)[:512]) == "image", file_format
    assert kind_of(b"RIFF\0\0\0\0AVI LIST") == "video"
    assert kind_of(b"BMW drives well") == "text"
    assert kind_of(b"") == "empty" and kind_of(b"\0\1\2") == "other"


def test_natural_order() -> None:
    names = ["b2", "a10", "a9", "A1", "a", "10", "9", "a09"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "A1", "a09", "a9", "a10", "b2"]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Ten-before-two pictures, a video, notes, a hidden file, a sub folder and a loop."""
    picture = _encoded(_corners())
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    for name in ("img10.png", "img2.png", "noextension", ".hidden.png", "sub/img1.png"):
        (folder / name).write_bytes(picture)
    (folder / "clip.mp4").write_bytes(BAD["photo.jpg"][0])
    (folder / "notes.jpg").write_bytes(b"only text")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "loop").symlink_to(folder)
    return folder


def test_a_folder_is_listed_by_content_in_natural_order(album: Path) -> None:
    listing = list_images([album])
    assert [Path(p).name for p in listing.paths] == ["img2.png", "img10.png", "noextension"]
    assert all(p.startswith(str(album)) for p in listing.paths)
    why = {Path(skip.path).name: skip.why for skip in listing.skipped}
    assert set(why) == {".hidden.png", "clip.mp4", "notes.jpg", "empty.jpg", "sub", "loop"}
    assert "text" in why["notes.jpg"] and "empty" in why["empty.jpg"] and "video" in why["clip.mp4"]
    assert "notes.jpg is text" in listing.skipped_text()
    assert listing.skipped_text(at_most=2).endswith("And 4 more.")


def test_recursion_takes_sub_folders_and_no_loops(album: Path) -> None:
    listing = list_inputs([album], recursive=True)
    assert [Path(p).relative_to(album).as_posix() for p in listing.paths] == [
        "clip.mp4",
        "img2.png",
        "img10.png",
        "noextension",
        "sub/img1.png",
    ]
    assert [file.kind for file in listing.files[:2]] == ["video", "image"]


def test_files_named_themselves_are_kept_and_nothing_is_read_twice(album: Path) -> None:
    named = [str(album / "notes.jpg"), str(album / "img2.png"), str(album), str(album / "gone")]
    listing = list_images(named)
    assert listing.paths[0] == named[0] and listing.files[0].kind == "text"
    assert [Path(p).name for p in listing.paths].count("img2.png") == 1
    assert any(skip.path == named[3] and "does not exist" in skip.why for skip in listing.skipped)
    assert any("twice" in skip.why for skip in listing.skipped)
    assert list_images(["a\0b"]).skipped[0].why


def test_printable_names() -> None:
    assert printable("täst 日本.jpg") == "täst 日本.jpg"
    assert len(printable("x" * 1000)) < 130
