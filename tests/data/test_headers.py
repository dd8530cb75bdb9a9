"""Headers and decoders together: how a picture is turned, how large it may be, what breaks them."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from yolo_synth.boxes import place
from yolo_synth.data.headers import MAX_PIXELS, image_size, read_header
from yolo_synth.data.images import ImageError, decode

FORMS = {
    "jpg": {"quality": 100, "subsampling": 0},
    "png": {},
    "webp": {"lossless": True},
    "tif": {},
}


def quarters():
    """Draw a picture, 96x64, with another colour in each quarter."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :48], pixels[32:, :48], pixels[:32, 48:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", FORMS)
def test_a_picture_is_turned_as_it_is_shown(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{form}"
    quarters().save(path, exif=exif, **FORMS[form])
    shown = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    assert image_size(path) == shown.size
    for side in (96, 24):  # a JPEG is decoded at a quarter
        pixels = decode(path, *shown.size, place(*shown.size, side))
        expected = np.asarray(shown.resize(pixels.shape[1::-1], Image.Resampling.BOX), int)
        assert np.abs(pixels.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_size_as_stored_keeps_the_picture_as_it_is_stored(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    quarters().save(path, exif=exif)
    assert (decode(path, 96, 64, place(96, 64, 96)) == np.asarray(quarters())).all()
    with pytest.raises(ImageError, match=r"a\.png has 96x64 pixels, not 64x95"):
        decode(path, 64, 95, place(64, 95, 96))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\xff\xff", b"no tags at all"]
)
def test_notes_of_a_camera_that_cannot_be_read_do_no_harm(tmp_path, exif):
    path = tmp_path / "a.jpg"
    quarters().save(path, exif=exif)
    assert read_header(path) == (96, 64, 1)


def bomb(width, height):
    """Make a PNG of few bytes whose header promises many pixels."""
    head = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("size", [(50_000, 50_000), (20_000, 14_000), (MAX_PIXELS + 1, 1)])
def test_an_image_of_too_many_pixels_is_refused_before_memory_is_taken(tmp_path, size):
    path = tmp_path / "a.png"
    path.write_bytes(bomb(*size))
    message = rf"a\.png has {size[0]}x{size[1]} pixels, and images of more than 268,435,456 pixels"
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        image_size(path)
    with pytest.raises(ImageError, match=message):
        decode(path, *size, place(*size, 64))
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_a_panorama_is_read(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("L", (20_000, 10_000), 51).save(path)
    assert image_size(path) == (20_000, 10_000)
    pixels = decode(path, 20_000, 10_000, place(20_000, 10_000, 64))
    assert pixels.shape == (1250, 2500, 3)


def picture(form):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


PICTURES = {form: picture(form) for form in ("JPEG", "PNG", "WEBP", "TIFF", "BMP")}


@pytest.mark.parametrize("kept", [0.99, 0.5])
@pytest.mark.parametrize("form", PICTURES)
def test_a_picture_of_any_form_that_is_cut_off_is_named(tmp_path, form, kept, capfd):
    path = tmp_path / "a.img"
    path.write_bytes(PICTURES[form])
    assert decode(path, 64, 48, place(64, 48, 64)).shape == (48, 64, 3)
    path.write_bytes(PICTURES[form][: int(len(PICTURES[form]) * kept)])
    with pytest.raises(ImageError, match=r"a\.img is (damaged or cut off|not an image)"):
        decode(path, 64, 48, place(64, 48, 64))


@pytest.mark.fuzz
@given(
    form=st.sampled_from(sorted(PICTURES)),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=8)), max_size=4),
)
def test_no_exception_of_a_decoder_passes_through(tmp_path_factory, form, changes):
    data = bytearray(PICTURES[form])
    for place_of, text in changes:
        start = int(place_of**3 * len(data))  # most of them in the header
        data[start : start + len(text)] = text
    path = tmp_path_factory.mktemp("fuzz") / "a.img"
    path.write_bytes(data)
    try:
        size = image_size(path)
        decode(path, *size, place(*size, 64))
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - most are refused, some are still pictures


def test_a_picture_that_is_too_high_for_the_decoder_is_named(tmp_path):
    path = tmp_path / "a.bmp"
    data = bytearray(PICTURES["BMP"])
    data[22:26] = struct.pack("<i", 2**20 + 1)  # OpenCV says so in two lines
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.bmp is damaged .* \(OpenCV.*\); fetch it anew"):
        decode(path, *image_size(path), place(*image_size(path), 64))


@pytest.mark.parametrize("stray", [1, 3, 12])
def test_stray_bytes_before_a_jpegs_end_do_no_harm(tmp_path, stray):
    path = tmp_path / "a.jpg"
    path.write_bytes(PICTURES["JPEG"])
    whole = decode(path, 64, 48, place(64, 48, 64))
    path.write_bytes(PICTURES["JPEG"][:-2] + b"\x11" * stray + PICTURES["JPEG"][-2:])
    assert (decode(path, 64, 48, place(64, 48, 64)) == whole).all()


def test_stray_bytes_do_not_hide_that_pixels_are_missing(tmp_path):
    data = PICTURES["JPEG"]
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:-402] + b"\x11" * 3 + data[-2:])
    with pytest.raises(ImageError, match="damaged or cut off"):
        decode(path, 64, 48, place(64, 48, 64))


def test_bytes_beyond_a_pictures_end_do_no_harm(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(PICTURES["PNG"] + b"of another program" * 20)
    assert decode(path, 64, 48, place(64, 48, 64)).shape == (48, 64, 3)
