from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from yolo_synth.data.bdd100k import read_bdd100k
from yolo_synth.data.coco import read_coco
from yolo_synth.data.gtav import read_gtav
from yolo_synth.data.listing import list_below, list_folder, look_for, paths_below
from yolo_synth.data.yolo import read_yolo

READERS = {"bdd100k": read_bdd100k, "gtav": read_gtav, "coco": read_coco, "yolo": read_yolo}


def make(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"1")


def test_a_listing_is_sorted_and_leaves_out_what_is_hidden_or_ends_otherwise(tmp_path):
    make(tmp_path, "b.JPG", "a.png", "c.jpg", ".d.jpg", "e.txt", "f.jpg.part")
    listing = list_folder(tmp_path, tmp_path, (".jpg", ".png"))
    assert listing.names == ["a.png", "b.JPG", "c.jpg"]
    assert listing.states[:, 0].tolist() == [1, 1, 1]
    assert listing.states[0, 1] == (tmp_path / "a.png").stat().st_mtime_ns


def test_the_nearest_level_and_then_the_first_place_is_found(tmp_path):
    make(
        tmp_path,
        "one/two/img/x",
        "two/img/x",
        "one/train/img/x",
        ".hidden/img/x",
        "a/train/deep/img/x",
    )
    places = ("train/img", "img")
    assert look_for(tmp_path, places, Path.is_dir) == [tmp_path / "one/train/img"]
    assert look_for(tmp_path, ("img",), Path.is_dir) == [tmp_path / "two/img"]
    assert look_for(tmp_path / "a", ("img",), Path.is_dir) == [], "the parts are not looked through"
    make(tmp_path, "three/img/x")
    found = [tmp_path / "three/img", tmp_path / "two/img"]
    assert look_for(tmp_path, ("img",), Path.is_dir) == found


def test_a_link_that_goes_round_ends(tmp_path):
    (tmp_path / "again").symlink_to(tmp_path)
    assert look_for(tmp_path, ("img",), Path.is_dir) == []


def test_folders_below_are_listed_with_links_to_folders_but_none_twice_round(tmp_path):
    make(tmp_path, "a/b/x.jpg", "a/.hidden/x.jpg", "c/x.jpg", "c/notes.txt", "elsewhere/d/x.jpg")
    (tmp_path / "a/back").symlink_to("..")
    (tmp_path / "a/c").symlink_to("../c")
    (tmp_path / "c/d").symlink_to("../elsewhere")
    (tmp_path / "elsewhere/c").symlink_to("../c")
    listings = list_below(tmp_path / "a", tmp_path, (".jpg",))
    assert paths_below(tmp_path, listings) == ["a/b/x.jpg", "a/c/x.jpg"]
    listings = list_below(tmp_path / "c", tmp_path, (".jpg",))
    assert paths_below(tmp_path, listings) == ["c/x.jpg", "c/d/d/x.jpg"]
    assert paths_below(tmp_path / "c", listings) == ["x.jpg", "d/d/x.jpg"]


def test_folders_all_linked_to_each_other_are_listed_in_no_time(tmp_path):
    for one in range(12):
        make(tmp_path, f"{one}/x.jpg")
        for other in range(12):
            (tmp_path / f"{one}/to{other}").symlink_to(f"../{other}")
    assert len(list_below(tmp_path, tmp_path, (".jpg",))) == 1 + 12 + 12 * 11


def test_a_link_that_is_not_followed_may_not_lead_out_either(tmp_path):
    make(tmp_path, "root/a/x.jpg", "root/b/x.jpg")
    (tmp_path / "root/a/b").symlink_to("../b")
    (tmp_path / "root/b/out").symlink_to(tmp_path)
    with pytest.raises(ValueError, match=r"a/b/out leads to .*, outside of .*root, and links"):
        list_below(tmp_path / "root/a", tmp_path / "root", (".jpg",))


@pytest.fixture(params=READERS)
def data(request, formats, tmp_path):
    root = tmp_path / request.param
    shutil.copytree(formats[request.param], root)
    return root, READERS[request.param]


def first(root, end):
    return min(path for path in root.rglob(f"*{end}") if ".yolo_synth" not in path.parts)


@pytest.mark.parametrize("end", [".jpg", ".json", ".csv", ".txt", ".yaml"])
def test_a_file_that_is_a_link_out_of_the_root_is_refused(data, tmp_path, end):
    root, read = data
    for file in root.rglob(f"*{end}"):
        elsewhere = tmp_path / f"elsewhere{end}"
        file.rename(elsewhere)
        file.symlink_to(elsewhere)
        with pytest.raises(
            ValueError,
            match=rf"{file.name} leads to {elsewhere}, outside of .* as data\.root .* data\.label_root",
        ):
            read(root)
        return


def test_a_folder_that_is_a_link_out_of_the_root_is_refused(data, tmp_path):
    root, read = data
    images = first(root, ".jpg").parent
    shutil.move(images, tmp_path / "disk")
    images.symlink_to(tmp_path / "disk")
    with pytest.raises(ValueError, match=rf"{images} leads to .*disk, outside of {root}"):
        read(root)


def test_links_within_the_root_and_a_root_that_is_a_link_are_followed(data, tmp_path):
    root, read = data
    expected = read(root)
    image = first(root, ".jpg")
    image.rename(root / "kept elsewhere")
    image.symlink_to(root / "kept elsewhere")
    folder = image.parent
    folder.rename(root / "folder")
    folder.symlink_to("../" * len(folder.parent.relative_to(root).parts) + "folder")
    (tmp_path / "link").symlink_to(root)
    assert read(tmp_path / "link").equals(expected)
    assert read(root).equals(expected)


@pytest.mark.parametrize("harm", ["broken link", "folder", "pipe"])
def test_what_is_no_file_is_named_and_never_waited_for(data, harm):
    root, read = data
    image = first(root, ".jpg")
    image.unlink()
    if harm == "broken link":
        image.symlink_to(root / "not there")
    elif harm == "folder":
        image.mkdir()
    else:
        os.mkfifo(image)
    with pytest.raises(ValueError, match=rf"{image} is not a file"):
        read(root)


def test_a_name_that_is_no_text_is_named(data):
    root, read = data
    folder = os.fsencode(first(root, ".jpg").parent)
    Path(os.fsdecode(folder + b"/\xff.jpg")).write_bytes(b"")
    with pytest.raises(ValueError, match=r"'\\udcff\.jpg' is not a file name in UTF-8"):
        read(root)
