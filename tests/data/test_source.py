from __future__ import annotations

import sys

import pytest
import yaml

import yolo_synth
from yolo_synth.data import SETS
from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import data_module, open_data


def data(name, **settings):
    return {"class_path": f"yolo_synth.{name}", "init_args": settings}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            data("PascalVOC", root="x"),
            r"'yolo_synth.PascalVOC' is no data set of ours; there are .*BDD100K, .*Mi",
        ),
        (data("GTAV", root="x", hood=True), "yolo_synth.GTAV cannot be the data: .*hood"),
        (data("GTAV", root="x", min_area="big"), "yolo_synth.GTAV cannot be the data: .*min_area"),
        (data("BDD100K"), "yolo_synth.BDD100K cannot be the data: .*root"),
        ({"class_path": ["yolo_synth.GTAV"]}, "no data set of ours"),
        ({"class_path": "yolo_synth.GTAV", "init_args": ["x"]}, "by class_path and init_args"),
        ("yolo_synth.GTAV", "by class_path and init_args"),
    ],
)
def test_data_that_there_are_not_are_named(config, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        data_module(config)


@pytest.mark.parametrize("name", SETS)
def test_every_listed_data_set_is_a_public_name(name):
    assert issubclass(getattr(yolo_synth, name), DetectionData)


STRANGERS = {
    "itself": lambda stranger: stranger,
    "a part": lambda stranger: data("Mixed", parts={"a": stranger, "b": data("GTAV", root="x")}),
    "a part of a part": lambda stranger: data(
        "Mixed",
        parts={
            "a": data("GTAV", root="x"),
            "b": data("Mixed", parts={"c": data("GTAV", root="y"), "d": stranger}),
        },
    ),
    "an option": lambda stranger: data("GTAV", root="x", where=stranger),
    "deep in an option": lambda stranger: data("COCO", root="x", labels={"car": [stranger]}),
    "beside the options": lambda stranger: (
        data("GTAV", root="x") | {"dict_kwargs": {"a": stranger}}
    ),
}


@pytest.mark.parametrize("place", STRANGERS)
def test_a_strangers_class_is_neither_imported_nor_run(place, tmp_path, monkeypatch):
    (tmp_path / "strange_module.py").write_text(
        f"open({str(tmp_path / 'imported')!r}, 'w')\n"
        f"def run(*args, **named): open({str(tmp_path / 'called')!r}, 'w')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    programs = [
        {"class_path": "strange_module.run"},
        {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", f"{tmp_path}/called"]}},
        {"class_path": "yolo_synth.Detector"},
        {"class_path": "yolo_synth.data.source.import_module", "init_args": {"name": "os"}},
    ]
    for program in programs:
        with pytest.raises(ValueError, match=f"{program['class_path']}' is no data set of ours"):
            data_module(STRANGERS[place](program))
    assert "strange_module" not in sys.modules
    assert [path.name for path in tmp_path.iterdir()] == ["strange_module.py"]


@pytest.mark.parametrize("part", ["strange_module.Data", "part.yaml", None, {"root": "x"}])
def test_a_part_is_a_class_and_options_and_no_text_that_leads_elsewhere(
    part, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "part.yaml").write_text(yaml.dump({"class_path": "subprocess.Popen"}))
    mixture = data("Mixed", parts={"a": data("GTAV", root="x"), "b": part})
    with pytest.raises(ValueError, match=r"data\.parts: b is .*, not class_path and init_args"):
        data_module(mixture)


def test_a_class_of_ones_own_is_used_if_it_is_trusted(tmp_path, monkeypatch):
    (tmp_path / "own_data.py").write_text(
        "from yolo_synth import GTAV\nclass Own(GTAV):\n    default_domain = 'Own'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "own.yaml"
    file.write_text(yaml.dump({"class_path": "own_data.Own", "init_args": {"root": str(tmp_path)}}))
    with pytest.raises(ValueError, match=r"own\.yaml: .*'own_data\.Own' is no data set of ours"):
        open_data(file)
    assert type(open_data(file, trust=True)).__name__ == "Own"
