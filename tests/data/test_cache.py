from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolo_synth.boxes import place
from yolo_synth.data import cache as cache_module
from yolo_synth.data.cache import ImageCache
from yolo_synth.data.images import ImageError, read

WIDTH, HEIGHT = 320, 180


def write(path, seed, width=WIDTH, height=HEIGHT):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def image(tmp_path):
    return write(tmp_path / "a.jpg", 0)


@pytest.fixture
def cache(tmp_path):
    return ImageCache(tmp_path / "cache")


def files(cache):
    return [path for path in cache.folder.rglob("*") if path.is_file()]


def forbid_decoding(monkeypatch):
    monkeypatch.setattr(cache_module, "read", lambda *_: pytest.fail("decoded again"))


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize("size", [32, 96, 416])
def test_an_image_is_decoded_once_and_comes_back_as_it_was(image, cache, monkeypatch, size, resize):
    placement = place(WIDTH, HEIGHT, size, resize)
    direct = read(image, WIDTH, HEIGHT, placement)
    first = cache.read(image, WIDTH, HEIGHT, placement)
    forbid_decoding(monkeypatch)
    again = ImageCache(cache.folder).read(image, WIDTH, HEIGHT, placement)
    assert np.array_equal(first, direct)
    assert np.array_equal(again, direct)
    assert [path.stat().st_size for path in files(cache)] == [direct.size + 4]


def test_another_size_or_resize_is_another_file(image, cache):
    shapes = [
        cache.read(image, WIDTH, HEIGHT, place(WIDTH, HEIGHT, size, resize)).shape
        for size, resize in ((96, "letterbox"), (64, "letterbox"), (96, "stretch"))
    ]
    assert shapes == [(54, 96, 3), (36, 64, 3), (96, 96, 3)]
    assert len(files(cache)) == 3


def test_a_changed_image_is_noticed(image, cache):
    placement = place(WIDTH, HEIGHT, 96)
    before = cache.read(image, WIDTH, HEIGHT, placement)
    write(image, 1)
    after = cache.read(image, WIDTH, HEIGHT, placement)
    assert not np.array_equal(before, after)
    assert np.array_equal(after, read(image, WIDTH, HEIGHT, placement))
    with pytest.raises(ImageError, match="has 320x180 pixels, not 321x180"):
        cache.read(image, 321, HEIGHT, placement)
    image.unlink()
    with pytest.raises(ImageError, match=r"a\.jpg cannot be read: No such file"):
        cache.read(image, WIDTH, HEIGHT, placement)


def test_another_decoder_is_another_file(image, cache, monkeypatch):
    placement = place(WIDTH, HEIGHT, 96)
    cache.read(image, WIDTH, HEIGHT, placement)
    monkeypatch.setattr(cache_module, "DECODER", "2 another")
    cache.read(image, WIDTH, HEIGHT, placement)
    assert len(files(cache)) == 2


def test_a_folder_and_a_way_round_to_it_share_what_they_keep(image, cache, monkeypatch):
    placement = place(WIDTH, HEIGHT, 96)
    cache.read(image, WIDTH, HEIGHT, placement)
    monkeypatch.chdir(image.parent)
    forbid_decoding(monkeypatch)
    ImageCache("cache").read(Path("cache/../a.jpg"), WIDTH, HEIGHT, placement)


@pytest.mark.parametrize("spoil", ["cut", "empty", "zeros", "flip"])
def test_a_spoilt_file_is_written_anew(image, cache, spoil):
    placement = place(WIDTH, HEIGHT, 96)
    pixels = cache.read(image, WIDTH, HEIGHT, placement).copy()
    (file,) = files(cache)
    whole = file.read_bytes()
    file.write_bytes(
        {
            "cut": whole[:100],
            "empty": b"",
            "zeros": bytes(len(whole)),
            "flip": whole[:99] + bytes([whole[99] ^ 1]) + whole[100:],
        }[spoil]
    )
    assert np.array_equal(cache.read(image, WIDTH, HEIGHT, placement), pixels)
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"data\.cache: cannot write to .*/file"):
        ImageCache(tmp_path / "file")


def test_a_full_disk_ends_the_keeping_and_not_the_reading(image, cache, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module.tempfile, "NamedTemporaryFile", full)
    placement = place(WIDTH, HEIGHT, 96)
    with caplog.at_level(logging.WARNING, "yolo_synth"):
        for _ in range(2):
            assert cache.read(image, WIDTH, HEIGHT, placement).shape == (54, 96, 3)
    assert caplog.text.count("No space left on device") == 1
    assert not files(cache)


def fill(folder, paths, rounds):
    for _ in range(rounds):
        for path in paths:
            ImageCache(folder).read(path, WIDTH, HEIGHT, place(WIDTH, HEIGHT, 96))


def test_processes_fill_at_once_and_a_killed_one_leaves_nothing_half_done(tmp_path):
    paths = [write(tmp_path / f"{number}.jpg", number) for number in range(60)]
    folder = tmp_path / "cache"
    context = multiprocessing.get_context("fork")
    killed, *others = (
        context.Process(target=fill, args=(folder, paths[::step], rounds))
        for step, rounds in ((1, 10**6), (1, 2), (-1, 2))
    )
    killed.start()
    while not (folder.exists() and sum(1 for _ in folder.rglob("*")) > 10):
        time.sleep(0.001)
    os.kill(killed.pid, signal.SIGKILL)
    for process in others:
        process.start()
    for process in (killed, *others):
        process.join()
    assert [process.exitcode for process in others] == [0, 0]
    cache = ImageCache(folder)
    placement = place(WIDTH, HEIGHT, 96)
    for path in paths:
        file = cache.file(path, WIDTH, HEIGHT, placement)
        assert file.stat().st_size == 54 * 96 * 3 + 4
        kept = cache.read(path, WIDTH, HEIGHT, placement)
        assert np.array_equal(kept, read(path, WIDTH, HEIGHT, placement))
    assert len(files(cache)) == 60, "not even the one that was being written when the kill came"
