from __future__ import annotations

import inspect
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from damage import FUZZ, damaged
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from yolo_synth.data import bdd100k, coco, gtav, headers, index, listing, yolo
from yolo_synth.data.bdd100k import BDD100K, read_bdd100k
from yolo_synth.data.coco import COCO, read_coco
from yolo_synth.data.gtav import GTAV, read_gtav
from yolo_synth.data.table import WITH_SPLIT
from yolo_synth.data.yolo import YOLO, read_yolo
from yolo_synth.files import digest

READERS = {
    "bdd100k": (bdd100k, read_bdd100k, BDD100K),
    "gtav": (gtav, read_gtav, GTAV),
    "coco": (coco, read_coco, COCO),
    "yolo": (yolo, read_yolo, YOLO),
}


@pytest.fixture(params=READERS)
def data(request, formats, tmp_path, monkeypatch):
    """Copy a drawn data set, with its reader and the number of times that it has really read."""
    name = request.param
    module, read, _ = READERS[name]
    root = tmp_path / name
    shutil.copytree(formats[name], root, ignore=shutil.ignore_patterns(".yolo_synth"))
    readings = []
    really = module._read
    monkeypatch.setattr(module, "_read", lambda *args: readings.append(1) or really(*args))
    return root, read, readings


def index_of(root):
    (file,) = (root / ".yolo_synth").iterdir()
    return file


def test_a_second_start_gives_the_same_table_from_the_index(data, caplog):
    root, read, readings = data
    with caplog.at_level("INFO", "yolo_synth"):
        first = read(root)
        second = read(str(root))
    assert len(readings) == 1
    pd.testing.assert_frame_equal(first, second)
    lines = [record.message for record in caplog.records]
    assert lines[0] == lines[1], "what the reader saw is said at every start"
    assert "40 images, " in lines[0]


def test_data_modules_start_from_the_index(data):
    root, _, readings = data
    module = READERS[root.name][2]
    for _ in range(2):
        module(root, image_size=64).prepare_data()
    assert len(readings) == 1


def some(root, *ends):
    return sorted(path for path in root.rglob("*") if path.suffix in ends)


def test_a_copy_has_the_index_with_it(data, tmp_path):
    root, read, readings = data
    first = read(root)
    shutil.copytree(root, tmp_path / "copy")  # keeps the times, as rsync -a does
    pd.testing.assert_frame_equal(read(tmp_path / "copy"), first)
    assert len(readings) == 1


def edit(path):
    """Change one digit of a box, so that the length stays."""
    text = path.read_text()
    place = text.index("1", text.find("bbox") + 1)
    path.write_text(text[:place] + "2" + text[place + 1 :])


def replace(path):
    Image.new("RGB", (10, 10)).save(path)


def add(path):
    shutil.copy(path, path.with_stem(path.stem + "0"))


def call_cycles_trucks(path):
    path.write_text(path.read_text().replace("cycle", "truck"))


LABELS = {"bdd100k": ".json", "gtav": ".csv", "coco": ".json", "yolo": ".txt"}
CHANGES = [
    *((name, edit, end) for name, end in LABELS.items()),
    *((name, change, ".jpg") for name in LABELS for change in (replace, add, Path.unlink)),
    *((name, change, LABELS[name]) for name in ("gtav", "yolo") for change in (add, Path.unlink)),
    ("coco", Path.unlink, ".json"),
    ("yolo", call_cycles_trucks, ".yaml"),
]


def _id(value):
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("data", "change", "end"), CHANGES, indirect=["data"], ids=_id)
def test_a_change_is_noticed(data, change, end):
    root, read, readings = data
    read(root)
    change([path for path in some(root, end) if path.stat().st_size][-1])
    again = read(root)
    assert len(readings) == 2
    index_of(root).unlink()
    pd.testing.assert_frame_equal(read(root), again)


@pytest.mark.parametrize("data", ["gtav"], indirect=True)
def test_another_order_of_columns_has_another_table(data):
    root, read, _ = data
    table = read(root)
    with pytest.raises(ValueError, match="in column 1 is not one"):
        read(root, "instance,class")
    pd.testing.assert_frame_equal(read(root, "class,instance"), table)
    assert len(list((root / ".yolo_synth").iterdir())) == 2


@pytest.mark.parametrize("data", ["coco", "yolo"], indirect=True)
def test_another_label_map_has_another_table(data):
    root, read, readings = data
    table = read(root)
    turned = read(root, labels={"car": "truck"})
    assert (turned["label"] == 4).sum() > (table["label"] == 4).sum()
    for _ in range(2):
        pd.testing.assert_frame_equal(read(root), table)
        pd.testing.assert_frame_equal(read(root, labels={"car": "truck"}), turned)
    assert len(readings) == 2


@pytest.mark.parametrize("data", ["coco"], indirect=True)
def test_other_files_and_folders_have_another_table(data):
    root, read, readings = data
    file, folder = "annotations/instances_{part}.json", "images/{part}"
    parts = [
        read(root, *(x.format(part=part) for x in (file, folder))) for part in ("train", "test")
    ]
    assert [part["image"].nunique() for part in parts] == [24, 8]
    pd.testing.assert_frame_equal(read(root, file, folder), read(root))
    assert len(readings) == 4


@pytest.mark.parametrize("data", ["coco", "yolo"], indirect=True)
def test_groups_and_least_areas_of_today_are_used_with_the_index_of_before(data):
    root, _, readings = data
    module = READERS[root.name][2]
    whole = module(root)
    grouped = module(root, group=r"(\d+)_\d+\.jpg$", min_area=1000)
    assert set(grouped.table["group"]) < {f"{number:03}" for number in range(100)}
    assert (grouped.table["dropped"] == "area").sum() > (whole.table["dropped"] == "area").sum()
    assert grouped.names("test") == whole.names("test")
    assert len(readings) == 1


def test_another_reader_reads_again(data, monkeypatch):
    root, read, readings = data
    read(root)
    source = inspect.getsource
    reader = sys.modules[test_another_reader_reads_again.__module__]  # which counts the readings
    monkeypatch.setattr(inspect, "getsource", lambda m: "another" if m is reader else source(m))
    read(root)
    assert len(readings) == 2


@pytest.mark.parametrize("harm", ["cut", "garbage", "empty", "foreign"])
def test_a_damaged_index_is_made_anew(data, harm, caplog):
    root, read, readings = data
    first = read(root)
    file = index_of(root)
    if harm == "foreign":
        pd.DataFrame({"a": [1]}).to_parquet(file)
    else:
        content = file.read_bytes()
        file.write_bytes(
            {"cut": content[: len(content) // 2], "garbage": b"PAR1" * 9}.get(harm, b"")
        )
    pd.testing.assert_frame_equal(read(root), first)
    assert len(readings) == 2
    assert "is damaged and made anew" in caplog.text
    read(root)
    assert len(readings) == 2


def test_a_folder_that_cannot_be_written_has_its_index_in_the_cache_folder(
    data, tmp_path, monkeypatch
):
    root, read, readings = data
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    (root / ".yolo_synth").write_text("in the way")  # root may write anywhere, so no chmod
    first = read(root)
    pd.testing.assert_frame_equal(read(root), first)
    assert len(readings) == 1
    assert [path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [
        ".parquet"
    ]


def test_where_nothing_can_be_written_it_is_said_and_the_table_comes_all_the_same(
    data, tmp_path, monkeypatch, caplog
):
    root, read, readings = data
    (root / ".yolo_synth").write_text("in the way")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: root / ".yolo_synth" / name)
    pd.testing.assert_frame_equal(read(root), read(root))
    assert len(readings) == 2
    assert "no index could be written" in caplog.text


def test_nothing_half_written_is_left(data, monkeypatch):
    root, read, _ = data

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("yolo_synth.files.os.fsync", full)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: root / ".yolo_synth" / name)
    read(root)
    assert not [path for path in (root / ".yolo_synth").rglob("*") if path.is_file()]


START = """
import hashlib, pathlib, sys
from yolo_synth import read_gtav

root = pathlib.Path(sys.argv[1])
for _ in range(4):
    for file in (root / ".yolo_synth").glob("*.parquet"):
        file.unlink(missing_ok=True)
    print(hashlib.md5(read_gtav(root).to_csv().encode()).hexdigest())
"""


def test_processes_that_start_at_once_do_not_break_each_other(tiny_root, tmp_path):
    root = tmp_path / "gtav"
    shutil.copytree(tiny_root / "gtav", root, ignore=shutil.ignore_patterns(".yolo_synth"))
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", START, str(root)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300) for process in running]
    assert all(process.returncode == 0 for process in running), said
    assert len({line for out, _ in said for line in out.splitlines()}) == 1
    assert [path.suffix for path in (root / ".yolo_synth").iterdir()] == [".parquet"]


def test_many_files_are_read_in_several_processes_to_the_same_table(data, monkeypatch):
    root, read, readings = data
    alone = read(root)
    index_of(root).unlink()
    started = []
    pool = listing.ProcessPoolExecutor
    monkeypatch.setattr(listing, "ProcessPoolExecutor", lambda n: started.append(n) or pool(n))
    monkeypatch.setattr(listing, "cores", lambda: 2)
    for module in (headers, gtav, yolo):
        monkeypatch.setattr(module, "MANY", 1)
    pd.testing.assert_frame_equal(read(root), alone)
    assert started or read is read_coco, "a COCO file tells sizes"
    assert len(readings) == 2


def test_an_error_in_another_process_is_the_same_error(tiny_root, tmp_path, monkeypatch):
    root = tmp_path / "gtav"
    shutil.copytree(tiny_root / "gtav", root, ignore=shutil.ignore_patterns(".yolo_synth"))
    monkeypatch.setattr(listing, "cores", lambda: 2)
    monkeypatch.setattr(gtav, "MANY", 1)
    file = some(root, ".csv")[-1]
    file.write_text("24,1\n")
    with pytest.raises(ValueError, match=rf"^{file} line 1: 2 columns instead of 28"):
        read_gtav(root)


def sealed(file, change):
    """Change the table in an index, with a digest that is right, as a stranger would."""
    old = parquet.read_table(pa.BufferReader(file.read_bytes()[:-32]))
    new = pa.Table.from_pandas(change(old.to_pandas()), preserve_index=False)
    stream = io.BytesIO()
    metadata = {**new.schema.metadata, b"yolo_synth": old.schema.metadata[b"yolo_synth"]}
    parquet.write_table(new.replace_schema_metadata(metadata), stream)
    file.write_bytes(stream.getvalue() + bytes.fromhex(digest(stream.getvalue())))


@pytest.mark.parametrize("data", ["coco"], indirect=True)
@pytest.mark.parametrize(
    "change",
    [
        {"path": "../secret/private.jpg"},
        {"path": "/etc/hostname"},
        {"path": "images/train/../../../secret/private.jpg"},
        {"path": ".."},
        {"path": ".linked/private.jpg"},
        {"path": "a\0b"},
        {"label": np.int16(77)},
        {"x2": np.float32("inf")},
        {"image": 3},
        {"width": np.int32(-1)},
        {"weather": 3},
        {"split": None},
    ],
    ids=str,
)
def test_an_index_that_came_with_a_data_set_is_believed_no_more_than_its_labels(
    data, change, tmp_path, caplog
):
    root, read, readings = data
    (tmp_path / "secret").mkdir()
    shutil.copy(next(root.rglob("*.jpg")), tmp_path / "secret/private.jpg")
    first = read(root)
    if "linked" in str(change):  # where no label looks
        (root / ".linked").symlink_to(tmp_path / "secret")
    file = index_of(root)
    [(name, value)] = change.items()

    def strange(table):
        if name == "split":
            return table.drop(columns="split")
        if name in ("image", "weather"):
            kind = "category" if name == "weather" else None
            table[name] = pd.Series([value] * len(table), dtype=kind)
        else:
            table.loc[table.index[table["dropped"] == ""][3], name] = value
        return table

    sealed(file, lambda table: table)
    pd.testing.assert_frame_equal(read(root), first)
    assert len(readings) == 1
    sealed(file, strange)
    pd.testing.assert_frame_equal(read(root), first)
    assert len(readings) == 2
    assert "is damaged and made anew" in caplog.text


@pytest.mark.fuzz
@FUZZ
@given(st.data())
def test_any_damage_to_an_index_is_noticed(formats, tmp_path_factory, data):
    root = tmp_path_factory.getbasetemp() / "fuzzed_coco"
    kept = root.with_suffix(".whole")
    if not root.exists():
        shutil.copytree(formats["coco"], root)
        read_coco(root)
        shutil.copy(index_of(root), kept)
    whole, file = kept.read_bytes(), index_of(root)
    metadata = parquet.ParquetFile(pa.BufferReader(whole[:-32])).schema_arrow.metadata
    made_from = json.loads(metadata[b"yolo_synth"])["made_from"]
    file.write_bytes(data.draw(damaged(whole)))
    content = index._load(file, root, made_from, WITH_SPLIT)
    assert (content is None) == (file.read_bytes() != whole)
