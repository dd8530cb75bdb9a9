from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from yolo_synth.boxes import place
from yolo_synth.data.images import (
    PADDING,
    Augmentation,
    Canvas,
    Picture,
    centred,
    decode,
    read,
    recoloured,
    shrink_boxes,
)

RED, BLUE = (255, 0, 0), (0, 0, 255)
NO_BOXES = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)


def scene(width, height, box, color=RED, background=BLUE):
    """Draw one filled box; it covers x1 ≤ x < x2."""
    x1, y1, x2, y2 = box
    pixels = np.full((height, width, 3), background, np.uint8)
    pixels[y1:y2, x1:x2] = color
    return pixels


def save(path, pixels, **options):
    Image.fromarray(pixels).save(
        path, **({"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {}) | options
    )
    return path


def load(path, width, height, size, resize, boxes, labels):
    placement = place(width, height, size, resize)
    pixels = read(path, width, height, placement)
    return centred(Picture(pixels, shrink_boxes(boxes, placement), labels), size)


def load_box(path, pixels, box, size, resize="letterbox"):
    save(path, pixels)
    height, width = pixels.shape[:2]
    return load(path, width, height, size, resize, np.array([box], np.float32), np.array([3]))


def picture(path, pixels, boxes, size, resize="letterbox", label=3):
    save(path, pixels)
    height, width = pixels.shape[:2]
    placement = place(width, height, size, resize)
    boxes = shrink_boxes(np.array(boxes, np.float32).reshape(-1, 4), placement)
    labels = np.full(len(boxes), label)
    return Picture(read(path, width, height, placement), boxes, labels)


def augmented(pictures, size, seed, **choice):
    return Augmentation(**choice).sample(pictures, size, np.random.default_rng(seed))


def extent_of_red(image):
    """Find the edges of what is red in an image [3, S, S], to half a pixel, from its mixed pixels."""
    red, blue = image[0].numpy().astype(float), image[2].numpy().astype(float)
    share = np.clip((red - blue + 255) / 510, 0, 1) * (
        (red > 150) | (blue > 150) | (red + blue > 200)
    )
    rows, columns = np.flatnonzero(share.max(1) > 0.5), np.flatnonzero(share.max(0) > 0.5)
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1920, 1080)])
def test_a_letterboxed_street_image_is_416_by_234_with_91_rows_of_grey(
    tmp_path, width, height, suffix
):
    box = (width // 4, height // 3, width // 2, height // 2)
    image, target = load_box(tmp_path / f"a{suffix}", scene(width, height, box), box, 416)
    assert image.shape == (3, 416, 416)
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    assert (image[:, :91] == PADDING).all()
    assert (image[:, 325:] == PADDING).all()
    assert (image[:, 91:325] != PADDING).any(0).all()
    assert target["boxes"].tolist() == [pytest.approx([104, 91 + 78, 208, 91 + 117])]
    assert target["boxes"].dtype == torch.float32
    assert target["labels"].tolist() == [3]
    assert extent_of_red(image) == pytest.approx(target["boxes"][0].tolist(), abs=1)


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize(
    ("width", "height"), [(500, 300), (300, 500), (90, 60), (416, 416), (3000, 700)]
)
def test_boxes_follow_pixels(tmp_path, width, height, resize):
    box = (width // 5, height // 4, width // 2, 3 * height // 4)
    image, target = load_box(tmp_path / "a.png", scene(width, height, box), box, 416, resize)
    assert extent_of_red(image) == pytest.approx(target["boxes"][0].tolist(), abs=1.01)


def test_boxes_follow_pixels_through_augmentation(tmp_path):
    box = (100, 60, 260, 250)
    original = picture(tmp_path / "a.png", scene(500, 300, box), [box], 320)
    scales, shifts = set(), set()
    mirrored = 0
    for seed in range(30):
        image, target = augmented([original], 320, seed)
        x1, y1, x2, y2 = target["boxes"][0].tolist()
        assert extent_of_red(image) == pytest.approx((x1, y1, x2, y2), abs=1.6)
        mirrored += (x1 + x2) / 2 > 160
        scales.add(round((x2 - x1) / (160 * 0.64), 2))
        shifts.add(round((y1 + y2) / 2))
    assert 8 <= mirrored <= 22
    assert 0.88 <= min(scales) < 0.94 < 1.06 < max(scales) <= 1.12
    assert max(shifts) - min(shifts) > 10


def test_mirroring_scale_and_colour_are_drawn_apart(tmp_path):
    box = (0, 0, 50, 100)
    plain = scene(100, 100, box, (130,) * 3, (130,) * 3)
    original = picture(tmp_path / "a.png", plain, [box], 64, "stretch")
    draws = []
    for seed in range(200):
        image, target = augmented([original], 64, seed)
        x1, _, x2, _ = target["boxes"][0].tolist()
        draws.append(((x1 + x2) / 2 > 32, x2 - x1, float(image[0, 32, 32])))
    correlation = np.corrcoef(np.array(draws, float).T)
    assert abs(correlation[0, 2]) < 0.25
    assert abs(correlation[1, 2]) < 0.25


def test_padding_stays_grey_and_colours_change_lightly(tmp_path):
    brown = np.full((50, 100, 3), (150, 120, 90), np.uint8)
    original = picture(tmp_path / "a.png", brown, [], 128)
    centres = []
    for seed in range(40):
        image, _ = augmented([original], 128, seed)
        assert (image[:, 0] == PADDING).all()
        centres.append(image[:, 64, 64].tolist())
    change = np.abs(np.array(centres) - (150, 120, 90))
    assert change.max() < 80
    assert change.mean() > 5
    assert (np.array(centres)[:, 0] > np.array(centres)[:, 2]).all(), "brown stays brown"


def test_a_seed_decides_the_colours_and_grey_stays_grey():
    pixels = np.random.default_rng(0).integers(60, 180, (20, 30, 3), np.uint8)
    assert np.array_equal(recoloured(pixels, 1), recoloured(pixels, 1))
    assert not np.array_equal(recoloured(pixels, 1), recoloured(pixels, 2))
    grey = np.full((20, 30, 3), 100, np.uint8)
    changed = np.stack([recoloured(grey, seed)[0, 0] for seed in range(50)]).astype(int)
    assert (np.ptp(changed, axis=1) <= 1).all()
    # An even grey has no contrast or saturation to change: what is left is brightness, 0.8 to 1.2
    assert 79 <= changed.min() < 90
    assert 110 < changed.max() <= 121


@pytest.mark.parametrize("light", [False, True])
def test_a_mosaic_holds_four_images_and_boxes_follow_their_pixels(tmp_path, light):
    # Each image has a box of its own colour, by which its pixels are known again.
    colours = {0: (255, 0, 0), 1: (0, 255, 0), 2: (0, 0, 255), 3: (255, 255, 0)}
    sides = [(640, 360), (640, 360), (300, 500), (400, 400)]
    pictures = []
    for number, (width, height) in enumerate(sides):
        box = (width // 5, height // 4, 4 * width // 5, 3 * height // 4)
        pixels = scene(width, height, box, colours[number], (128, 128, 128))
        path = tmp_path / f"{number}.png"
        pictures.append(picture(path, pixels, [box], 416, label=number))
    seen = np.zeros(4, int)
    for seed in range(25):
        image, target = augmented(pictures, 416, seed, light=light, mosaic=True)
        assert image.shape == (3, 416, 416)
        pixels = image.numpy().transpose(1, 2, 0).astype(float)
        for box, label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
            seen[label] += 1
            # Light changes keep which channels of a colour are high.
            high = np.array(colours[label]) > 0
            is_box = (pixels[..., high] > 150).all(2) & (pixels[..., ~high] < 105).all(2)
            rows, columns = np.flatnonzero(is_box.any(1)), np.flatnonzero(is_box.any(0))
            found = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            assert found == pytest.approx(box, abs=1.6)
            x1, y1, x2, y2 = (round(edge) for edge in box)
            assert is_box[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].all(), "nothing lies over it"
        labels = set(target["labels"].tolist())
        assert len(labels) == len(target["labels"])
    assert (seen > 4).all()
    assert seen.sum() < 100, "some are cut off"


@pytest.mark.parametrize(
    ("left", "stays"), [(-89, True), (-91, False), (-150, False), (200, False)]
)
def test_a_box_of_which_less_than_a_tenth_remains_goes(left, stays):
    pixels = np.zeros((100, 100, 3), np.uint8)
    box = np.array([[0, 0, 100, 100]], np.float32)
    canvas = Canvas(200)
    canvas.paste(Picture(pixels, box, np.array([2])), left, 10)
    _, target = canvas.sample()
    assert target["boxes"].tolist() == ([[0, 10, 100 + left, 110]] if stays else [])
    assert target["labels"].tolist() == ([2] if stays else [])


def test_the_seed_decides_the_augmentation(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    original = picture(tmp_path / "a.png", pixels, [(9, 9, 50, 50)], 64)
    for choice in ({}, {"mosaic": True}, {"light": False, "mosaic": True}):
        pictures = [original] * (4 if "mosaic" in choice else 1)
        first, other, again = (augmented(pictures, 64, seed, **choice) for seed in (1, 2, 1))
        assert first[0].equal(again[0])
        assert first[1]["boxes"].equal(again[1]["boxes"])
        assert not first[0].equal(other[0])


def test_boxes_are_cut_at_the_image_and_left_out_if_nothing_remains(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((50, 100, 3), np.uint8))
    boxes = np.array(
        [[-20, -20, 30, 30], [90, 10, 140, 70], [100, 0, 130, 50], [-9, 0, 0, 9]], np.float32
    )
    _, target = load(path, 100, 50, 200, "letterbox", boxes, np.arange(4))
    assert target["boxes"].tolist() == [[0, 50, 60, 110], [180, 70, 200, 150]]
    assert target["labels"].tolist() == [0, 1]


@pytest.mark.parametrize("augment", [False, True])
def test_an_image_without_boxes(tmp_path, augment):
    path = save(tmp_path / "a.png", np.zeros((50, 100, 3), np.uint8))
    if augment:
        _, target = augmented([Picture(np.zeros((32, 64, 3), np.uint8), *NO_BOXES)], 64, 0)
    else:
        _, target = load(path, 100, 50, 64, "letterbox", *NO_BOXES)
    assert target["boxes"].shape == (0, 4)
    assert target["boxes"].dtype == torch.float32
    assert target["labels"].shape == (0,)
    assert target["labels"].dtype == torch.int64


@pytest.mark.parametrize(
    ("width", "height", "size", "decoded"),
    [
        (1280, 720, 416, (640, 360)),
        (1920, 1080, 416, (480, 270)),
        (1280, 720, 32, (160, 90)),
        (831, 467, 416, (831, 467)),
        (833, 469, 416, (417, 235)),
        (300, 200, 416, (300, 200)),
    ],
)
def test_a_jpeg_is_decoded_reduced_but_never_below_its_place(
    tmp_path, width, height, size, decoded
):
    path = save(tmp_path / "a.jpg", np.zeros((height, width, 3), np.uint8))
    assert decode(path, width, height, place(width, height, size)).shape[1::-1] == decoded


def test_reduced_decoding_shows_what_averaging_all_pixels_shows(tmp_path):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (45, 80, 3), np.uint8)
    pixels = cv2.resize(coarse, (1280, 720), interpolation=cv2.INTER_CUBIC)
    path = save(tmp_path / "a.jpg", pixels)
    image, _ = load(path, 1280, 720, 320, "letterbox", *NO_BOXES)
    averaged = np.asarray(Image.open(path)).reshape(180, 4, 320, 4, 3).mean((1, 3))
    error = np.abs(image[:, 70:250].numpy().transpose(1, 2, 0) - averaged)
    assert error.mean() < 1.5
    assert error.max() < 25


def jpeg_with_thumbnail():
    """Encode a JPEG that holds a whole JPEG of its own in a header segment."""
    rng = np.random.default_rng(0)
    pixels = Image.fromarray(rng.integers(0, 256, (200, 300, 3), np.uint8))
    small, large = io.BytesIO(), io.BytesIO()
    pixels.resize((30, 20)).save(small, "JPEG")
    pixels.save(large, "JPEG")
    segment = b"thumbnail\0" + small.getvalue()
    header = b"\xff\xef" + (len(segment) + 2).to_bytes(2, "big") + segment
    return large.getvalue()[:2] + header + large.getvalue()[2:]


@pytest.mark.parametrize("kept", [0.999, 0.9, 0.5, 0.1, 0])
@pytest.mark.parametrize("kind", ["jpg", "thumbnail", "png"])
def test_a_file_cut_off_is_named(tmp_path, kind, kept, capfd):
    path = tmp_path / "a.img"
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    if kind == "thumbnail":
        path.write_bytes(jpeg_with_thumbnail())
    else:
        Image.fromarray(pixels).save(path, "JPEG" if kind == "jpg" else "PNG")
    whole = path.read_bytes()
    load(path, 300, 200, 64, "letterbox", *NO_BOXES)
    path.write_bytes(whole + b"\0" * 16)  # bytes after the end do no harm
    load(path, 300, 200, 64, "letterbox", *NO_BOXES)
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ValueError, match=r"a\.img is (damaged or cut off|not an image)"):
        load(path, 300, 200, 64, "letterbox", *NO_BOXES)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_a_file_with_damage_in_its_middle_is_named(tmp_path, kind, capfd):
    path = tmp_path / f"a.{kind}"
    save(path, np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8))
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes(4096) + data[middle + 4096 :])
    with pytest.raises(ValueError, match=r"is (damaged or cut off|not an image)"):
        load(path, 300, 200, 64, "letterbox", *NO_BOXES)


def test_a_file_that_is_no_more_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read: No such file"):
        load(tmp_path / "a.jpg", 300, 200, 64, "letterbox", *NO_BOXES)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA"])
def test_other_kinds_of_pixels_become_rgb(tmp_path, mode):
    path = tmp_path / ("a.png" if mode in ("P", "RGBA") else "a.jpg")
    Image.new("RGB", (64, 64), (51, 51, 51)).convert(mode).save(path)
    image, _ = load(path, 64, 64, 64, "letterbox", *NO_BOXES)
    assert (image.int() - 51).abs().max() <= 3


def test_an_image_of_another_size_than_its_sequence_is_named(tmp_path):
    path = save(tmp_path / "a.jpg", np.zeros((100, 200, 3), np.uint8))
    with pytest.raises(ValueError, match=r"a\.jpg has 200x100 pixels, not 300x100"):
        load(path, 300, 100, 64, "letterbox", *NO_BOXES)
