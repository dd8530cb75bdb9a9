"""Whatever a label file holds, there is a table or an error that a person can act on."""

from __future__ import annotations

import copy
import csv
import io
import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from yolo_synth.data import bdd100k, gtav
from yolo_synth.data.bdd100k_labels import BDD100K_LABELS
from yolo_synth.data.gtav_boxes import GTAV_CLASSES
from yolo_synth.data.table import COLUMNS, REASONS


@pytest.fixture(scope="module")
def gtav_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("gtav")
    for number in (1, 2):
        for folder in ("train/img/001", "train/bb/001"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (96, 54)).save(root / f"train/img/001/001_{number}.jpg")
        (root / f"train/bb/001/001_{number}.csv").write_text(
            f"24,{900 + number},1,2,3,4" + ",0" * 22
        )
    return root


pytestmark = pytest.mark.fuzz


@pytest.fixture(scope="module", params=["file of a part", "file of an image"])
def bdd100k_root(request, tmp_path_factory):
    """Return a root, and the label file that may hold anything."""
    root = tmp_path_factory.mktemp("bdd100k")
    (root / "images/100k/train").mkdir(parents=True)
    for name in ("a-1", "a-2"):
        Image.new("RGB", (64, 36)).save(root / f"images/100k/train/{name}.jpg")
    if request.param == "file of a part":
        (root / "labels").mkdir()
        return root, root / "labels/bdd100k_labels_images_train.json"
    (root / "labels/100k/train").mkdir(parents=True)
    (root / "labels/100k/train/a-2.json").write_text("{}")
    return root, root / "labels/100k/train/a-1.json"


def read_gtav(root, columns="auto"):
    """Read as `gtav.read_gtav` does, past the index: files may change within a clock's tick here."""
    return gtav._read(root, gtav._find(root, root), columns).table


def read_bdd100k(root):
    return bdd100k._read(root, bdd100k._find(root, root)).table


def table_or_error(read, *args, file):
    """Expect a table that is one, or an error in one short line that names the file."""
    try:
        table = read(*args)
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
        table = None
    if table is None:
        assert "\n" not in said
        assert len(said) < 1500
        assert str(file) in said or "columns=" in said or "neither" in said
        return
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == dict(COLUMNS)
    assert table["image"].nunique() == 2
    assert set(table["dropped"]) <= set(REASONS)
    used = table[table["dropped"] == ""]
    assert ((used["x2"] > used["x1"]) & (used["y2"] > used["y1"])).all()


numbers = st.one_of(
    st.integers(-3, 40).map(str),
    st.floats(width=32).map(str),
    st.sampled_from(
        ["1e400", "-0", "0x10", "1_0", " 5 ", "", "\x00", '"1"', "٣", "1e9", "9" * 400]
    ),
    st.text(max_size=3),
)
lines = st.one_of(
    st.lists(numbers, max_size=30).map(",".join),
    st.tuples(st.lists(numbers, min_size=6, max_size=6), st.just(["0.5"] * 22)).map(
        lambda parts: ",".join([*parts[0], *parts[1]])
    ),
)
ends = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\n \n", ""])
csv_texts = st.one_of(
    st.binary(max_size=200),
    st.lists(st.tuples(lines, ends).map("".join), max_size=5)
    .map("".join)
    .map(lambda text: text.encode("utf-8", "surrogatepass")),
)


@given(csv_texts, st.sampled_from(["auto", "class,instance", "instance,class"]))
@example(b"24,1,0,0,9,9" + b",0" * 22 + b"\x00", "auto")
@example(b",".join([b"1" * 200_000] * 28), "class,instance")  # beyond a block of the fast reader
def test_any_box_file_is_a_table_or_a_clear_error(gtav_root, content, columns):
    file = gtav_root / "train/bb/001/001_2.csv"
    file.write_bytes(content)
    named = file.parent if columns == "instance,class" else file  # the first file is at fault then
    table_or_error(read_gtav, gtav_root, columns, file=named)


whole = st.integers(0, 10**6)
edges = st.floats(-1e4, 1e4, width=32)
rows = st.lists(
    st.tuples(st.integers(0, len(GTAV_CLASSES) - 1), whole, edges, edges, edges, edges), max_size=8
)


@given(rows, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_box_file_is_read_as_the_csv_module_reads_it(gtav_root, boxes, end, closed):
    stream = io.StringIO()
    csv.writer(stream, lineterminator=end).writerows([*box, *[0.5] * 22] for box in boxes)
    text = stream.getvalue() if closed else stream.getvalue().removesuffix(end)
    (gtav_root / "train/bb/001/001_2.csv").write_bytes(text.encode())
    table = read_gtav(gtav_root, "class,instance")
    read = table[(table["image"] == "001_2.jpg") & (table["dropped"] != "no box")]
    parsed = list(csv.reader(io.StringIO(text)))
    assert len(read) == len(parsed)
    for (_, row), fields in zip(read.iterrows(), parsed, strict=True):
        assert row["category"] == GTAV_CLASSES[int(fields[0])]
        assert row["instance"] == int(fields[1])
        assert [row[edge] for edge in ("x1", "y1", "x2", "y2")] == [
            np.float32(field) for field in fields[2:6]
        ]


junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=4),
        st.sampled_from(
            ["../a-1.jpg", "/a-1.jpg", "C:a-1.jpg", "a-1.jpg", "a-1", "", "\x00", 1e300]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
LABEL = {"category": "car", "box2d": {"x1": 1.5, "y1": 2, "x2": 30, "y2": 20}, "id": 7}
LANE = {"category": "lane", "poly2d": [{"vertices": [[0, 1]], "types": "L", "closed": False}]}
FRAME = {
    "name": "a-1.jpg",
    "attributes": {"weather": "clear", "scene": "tunnel", "timeofday": "night"},
    "labels": [LABEL, LANE],
    "frames": [{"objects": [LABEL]}],
}


def places(value, before=()):
    """Return the way to every part of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    ways = [
        way
        for key, part in inner
        for way in (
            places(part, (*before, key)) if isinstance(part, dict | list) else [(*before, key)]
        )
    ]
    return [before, *ways]


def put(value, way, part):
    if not way:
        return part
    value = copy.deepcopy(value)
    inner = value
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = part
    return value


changed = st.tuples(st.sampled_from(places(FRAME)), junk).map(lambda pair: put(FRAME, *pair))
json_texts = st.one_of(
    st.binary(max_size=100),
    junk.map(json.dumps).map(str.encode),
    st.lists(changed, max_size=2).map(json.dumps).map(str.encode),
    changed.map(lambda frame: json.dumps({"frames": [frame]}).encode()),
    changed.map(lambda frame: json.dumps(frame).encode()),
    st.tuples(
        st.just(json.dumps([FRAME]).encode()), st.integers(0, 300), st.binary(max_size=3)
    ).map(lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]),
)


@given(json_texts)
@example(b"[" * 50_000)
@example(b'{"a":' * 50_000)
@example(b'{"labels": ' * 50_000)
@example(b'{"frames": [{"objects": ' + b"[" * 50_000)
@example(b'[{"name": "\\ud800.jpg"}]')
def test_any_label_file_is_a_table_or_a_clear_error(bdd100k_root, content):
    root, file = bdd100k_root
    file.write_bytes(content)
    named = file if file.parent.name == "labels" else file.parent
    table_or_error(read_bdd100k, root, file=named)


frames = st.fixed_dictionaries(
    {"name": st.sampled_from(["a-1.jpg", "a-2.jpg"])},
    optional={
        "labels": st.none()
        | st.lists(
            st.tuples(st.sampled_from(sorted(BDD100K_LABELS)), edges, edges, edges, edges),
            max_size=5,
        )
    },
)


@given(st.lists(frames, min_size=1, max_size=2, unique_by=lambda frame: frame["name"]))
def test_a_label_file_is_read_as_the_json_module_reads_it(tmp_path_factory, gtav_root, said):
    root = gtav_root.parent / "bdd100k_exact"
    folder = root / "images/100k/train"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "labels").mkdir(exist_ok=True)
    for name in ("a-1.jpg", "a-2.jpg"):
        if not (folder / name).exists():
            Image.new("RGB", (64, 36)).save(folder / name)
    for frame in said:
        frame["labels"] = frame.get("labels") and [
            {"category": kind, "box2d": dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))}
            for kind, *box in frame["labels"]
        ]
    text = json.dumps(said)
    (root / "labels/det_train.json").write_text(text)
    table = read_bdd100k(root)
    expected = [
        (frame["name"], label["category"], *map(np.float32, label["box2d"].values()))
        for frame in sorted(json.loads(text), key=lambda frame: frame["name"])
        for label in frame["labels"] or []
    ]
    rows = table.loc[table["dropped"] != "no box", ["image", "category", "x1", "y1", "x2", "y2"]]
    assert list(rows.itertuples(index=False, name=None)) == expected
