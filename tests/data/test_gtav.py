from __future__ import annotations

import shutil

import pytest
from PIL import Image

from yolo_synth.data.gtav import read_gtav

CAR, PERSON, SKY = 24, 20, 2
THREE_D = ",0.5" * 22


def line(first, second, *edges):
    return f"{first},{second}," + ",".join(map(str, edges)) + THREE_D + "\n"


def write(base, sequences, suffix=".jpg"):
    """Write {sequence: [text or None, …]}; None is a frame without box file."""
    for sequence, texts in sequences.items():
        for kind in ("img", "bb"):
            (base / kind / sequence).mkdir(parents=True)
        for number, text in enumerate(texts, 1):
            stem = f"{sequence}_{number:05d}"
            Image.new("RGB", (96, 54)).save(base / "img" / sequence / f"{stem}{suffix}")
            if text is not None:
                (base / "bb" / sequence / f"{stem}.csv").write_text(text)


TEXTS = {
    "001": [line(CAR, 900, 1, 2.5, 30, 40) + line(PERSON, 901, 5, 6, 20, 50), None],
    "024": ["", line(SKY, 1000, 0, 0, 96, 20) + line(CAR, 1001, 3, 3, 60, 40).rstrip("\n"), "\n\n"],
}


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "train", TEXTS)
    return tmp_path


def test_boxes_of_all_sequences_make_one_table(root):
    table = read_gtav(root)
    assert table["image"].tolist() == ["001_00001.jpg"] * 2 + [
        "001_00002.jpg", "024_00001.jpg", "024_00002.jpg", "024_00002.jpg", "024_00003.jpg"
    ]  # fmt: skip
    assert table["label"].tolist() == [2, 0, -1, -1, -1, 2, -1]
    assert table["category"].tolist()[4] == "sky"
    assert table["dropped"].tolist() == ["", "", "no box", "no box", "label", "", "no box"]
    assert table["instance"].tolist() == [900, 901, -1, -1, 1000, 1001, -1]
    assert table.loc[0, ["x1", "y1", "x2", "y2"]].tolist() == [1, 2.5, 30, 40]
    assert table["group"].tolist() == ["001"] * 3 + ["024"] * 4
    assert table["path"].iloc[0] == "train/img/001/001_00001.jpg"
    assert set(table["width"]) == {96}
    assert set(table["height"]) == {54}


def test_the_train_folder_itself_and_a_missing_sequence_of_boxes(root):
    assert read_gtav(root / "train")["path"].iloc[0] == "img/001/001_00001.jpg"
    shutil.rmtree(root / "train/bb/024")
    assert (read_gtav(root)["dropped"] == "no box").sum() == 4


def test_empty_missing_and_superfluous_files_are_counted(root, caplog):
    (root / "train/bb/001/001_00099.csv").write_text(line(CAR, 950, 0, 0, 9, 9))
    with caplog.at_level("INFO", "yolo_synth"):
        read_gtav(root)
    assert (
        "2 sequences, 5 images, 4 boxes (columns class,instance); 2 images have an empty and 1 no"
        in caplog.text
    )
    assert "1 box files have no image" in caplog.text


@pytest.mark.parametrize(
    ("images", "boxes"),
    [
        ("img", "bb"),
        ("train_img/train/img", "train_bb/train/bb"),
        ("viper/gtav/train/img", "viper/gtav/train/bb"),
        ("gtav/img", "gtav/bb"),
    ],
)
def test_layouts(root, tmp_path_factory, images, boxes):
    expected = read_gtav(root)
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(root / "train/img", other / images)
    shutil.copytree(root / "train/bb", other / boxes)
    table = read_gtav(other)
    assert all((other / path).is_file() for path in table["path"])
    assert table.drop(columns="path").equals(expected.drop(columns="path"))


def test_archives_that_were_unpacked_side_by_side_are_put_together(root):
    expected = read_gtav(root)
    for number, sequence in enumerate(("001", "024")):
        above = root / f"train_{number}/train"
        shutil.move(root / "train/img" / sequence, above / "img" / sequence)
        shutil.move(root / "train/bb" / sequence, above / "bb" / sequence)
    shutil.rmtree(root / "train")
    table = read_gtav(root)
    assert table.drop(columns="path").equals(expected.drop(columns="path"))
    shutil.copytree(root / "train_0", root / "train_2")
    with pytest.raises(ValueError, match=r"sequence 001 is in .*train_0.* and in .*train_2"):
        read_gtav(root)


@pytest.mark.parametrize("inside", ["bb", "x/train/bb"])
def test_boxes_apart_from_images(root, tmp_path_factory, inside):
    expected = read_gtav(root)
    apart = tmp_path_factory.mktemp("apart")
    (apart / inside).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / "train/bb", apart / inside)
    assert read_gtav(root, label_root=apart).equals(expected)
    with pytest.raises(FileNotFoundError, match=r"no boxes .*data\.label_root"):
        read_gtav(root)


def test_png_frames_are_named_as_split_lists_name_them(tmp_path):
    write(tmp_path / "train", TEXTS, ".png")
    table = read_gtav(tmp_path)
    assert table["image"].iloc[0] == "001_00001.jpg"
    assert table["path"].iloc[0] == "train/img/001/001_00001.png"


def test_a_sequence_has_the_size_of_its_first_frame_that_is_an_image(root, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "gtav"
    shutil.copytree(root, copy)
    before = read_gtav(copy)
    first = copy / before["path"].iloc[0]
    first.write_bytes(b"")
    assert read_gtav(copy).equals(before)


def test_windows_line_ends_and_blank_lines_change_nothing(root, tmp_path_factory):
    plain = read_gtav(root)
    other = tmp_path_factory.mktemp("crlf")
    texts = {
        key: [t and t.replace("\n", "\r\n\r\n") for t in value] for key, value in TEXTS.items()
    }
    write(other / "train", texts)
    for file in other.glob("train/bb/*/*.csv"):
        file.write_bytes(file.read_bytes().replace(b"\r\r", b"\r"))
    assert read_gtav(other).equals(plain)


def swapped(first, second, *edges):
    return line(second, first, *edges)


@pytest.mark.parametrize("write_line", [line, swapped])
@pytest.mark.parametrize(
    "pairs",
    [
        [(CAR, 25), (PERSON, 32)],  # 32 is no class
        [(CAR, 12), (PERSON, 11)],  # 11 is a fence, which is no object
        [(CAR, 25), (CAR, 26), (PERSON, 27)],  # a frame has two 24s, so that is no instance
    ],
)
def test_the_columns_order_is_found(tmp_path, write_line, pairs):
    text = "".join(write_line(*pair, 0, 0, 30, 30) for pair in pairs)
    write(tmp_path / "train", {"001": [text]})
    table = read_gtav(tmp_path)
    assert table["label"].tolist() == [2 if pair[0] == CAR else 0 for pair in pairs]
    assert table["instance"].tolist() == [pair[1] for pair in pairs]


def test_evidence_of_all_files_counts_together(tmp_path):
    texts = [line(CAR, 25, 0, 0, 9, 9), line(CAR, 26, 0, 0, 9, 9), line(PERSON, 40, 0, 0, 9, 9)]
    write(tmp_path / "train", {"001": texts})
    assert read_gtav(tmp_path)["label"].tolist() == [2, 2, 0]


def test_an_order_that_cannot_be_told_must_be_said(tmp_path):
    write(tmp_path / "train", {"001": [line(CAR, PERSON, 0, 0, 30, 30)]})
    with pytest.raises(
        ValueError, match=r"do not tell .* columns='class,instance' or columns='instance,class'"
    ):
        read_gtav(tmp_path)
    assert read_gtav(tmp_path, "class,instance")["label"].tolist() == [2]
    assert read_gtav(tmp_path, "instance,class")["label"].tolist() == [0]


def test_an_order_that_the_files_contradict_is_refused(root, tmp_path_factory):
    with pytest.raises(
        ValueError, match=r"001_00001\.csv line 1: class 900 in column 1 is not one"
    ):
        read_gtav(root, "instance,class")
    other = tmp_path_factory.mktemp("neither")
    write(other / "train", {"001": [line(50, 900, 0, 0, 9, 9)]})
    with pytest.raises(ValueError, match=r"neither .* hold 50 to 50 and 900 to 900"):
        read_gtav(other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("24,1,3,4,5\n", "line 2: 5 columns instead of 28"),
        (line(CAR, 1, 3, "x", 5, 6), r"line 2: '24,1,3,x,5,6' is not class"),
        (line(CAR, 1, 3, "", 5, 6), r"line 2: '24,1,3,,5,6' is not class"),
        (line(CAR, 1, 3, "nan", 5, 6), r"line 2: '24,1,3,nan,5,6' is not class"),
        (line(CAR, 1.5, 3, 4, 5, 6), r"line 2: '24,1.5,3,4,5,6' is not class"),
        (line(CAR, 1e300, 3, 4, 5, 6), r"line 2: '24,1e\+300,3,4,5,6' is not class"),
        ('"24",1' + ",0" * 26, r"line 2: '\"24\",1,0,0,0,0' is not class"),
        ("\x00\xff\n", "line 2: 1 columns"),
    ],
)
def test_malformed_lines_are_named(root, text, message):
    file = root / "train/bb/024/024_00002.csv"
    file.write_text(line(CAR, 2000, 0, 0, 9, 9) + text)
    with pytest.raises(ValueError, match=rf"024_00002\.csv {message}"):
        read_gtav(root)


def test_labels_of_other_images_are_refused(root):
    for file in root.glob("train/bb/*/*.csv"):
        file.rename(file.with_name(f"x{file.name}"))
    with pytest.raises(FileNotFoundError, match=r"none of the 5 images .*bb/001/001_00001\.csv"):
        read_gtav(root)


def test_missing_folders_are_listed(tmp_path, root):
    with pytest.raises(FileNotFoundError, match=r"no GTAV images in .*train/img and img"):
        read_gtav(tmp_path / "nowhere")
    shutil.rmtree(root / "train/bb")
    with pytest.raises(FileNotFoundError, match=r"no boxes .*train/bb and bb in .*holds train/; "):
        read_gtav(root)
    shutil.rmtree(root / "train/img")
    (root / "train/bb").mkdir()
    (root / "train/img").mkdir()
    with pytest.raises(FileNotFoundError, match="no folder of a sequence"):
        read_gtav(root)
