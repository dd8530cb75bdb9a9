"""Run folders: names, reading, and what is said of folders that are none."""

from __future__ import annotations

import pytest
import yaml

from yolo_synth import runs


def config(data: str, mode: object) -> dict:
    return {"data": {"class_path": f"yolo_synth.{data}"}, "freezing": {"mode": mode}}


@pytest.mark.parametrize(
    ("data", "mode", "name"),
    [
        ("BDD100K", "none", "U-Real"),
        ("GTAV", "none", "U-Synthetic"),
        ("GTAV", "backbone", "F-Synthetic"),
        ("BDD100K", [0, 36], "F0:36-Real"),
        ("Cityscapes", "none", "U-Cityscapes"),
    ],
)
def test_models_are_named_as_in_the_paper(data, mode, name):
    assert runs.model_name(config(data, mode)) == name


def data(kind: str, **settings: object) -> dict:
    return {"class_path": f"yolo_synth.{kind}", "init_args": settings}


@pytest.mark.parametrize(
    ("config", "train", "test"),
    [
        (data("BDD100K"), "Real", "Real"),
        (data("COCO", domain="KITTI", where=None), "KITTI", "KITTI"),
        (data("BDD100K", where={"timeofday": "night"}), "Real-night", "Real-night"),
        (
            data(
                "GTAV", where={"weather": ["rainy", "dawn/dusk"], "test": {"scene": "city street"}}
            ),
            "Synthetic-rainy+dawn_dusk",
            "Synthetic-rainy+dawn_dusk-city_street",
        ),
        (
            data("BDD100K", domain="Day", where={"test": {"weather": "rainy"}, "weather": "clear"}),
            "Day-clear",
            "Day-rainy",
        ),
    ],
)
def test_domains_are_named_by_the_conditions_of_their_images(config, train, test):
    assert runs.domain_name(config) == train
    assert runs.domain_name(config, "test") == test
    assert runs.test_domains(config) == {test: config}


def test_a_mixture_is_tested_on_its_parts():
    parts = {"a": data("BDD100K", root="x", resize="letterbox"), "b": data("COCO", domain="Sim")}
    mixture = data("Mixed", parts=parts, resize="stretch")
    assert runs.domain_name(mixture) == "Mixed"
    assert runs.test_domains(mixture) == {
        "Real": data("BDD100K", root="x", resize="stretch"),
        "Sim": data("COCO", domain="Sim", resize="stretch"),
    }
    alike = data("Mixed", parts={"a": data("COCO", root="x"), "b": data("COCO", root="y")})
    assert runs.test_domains(alike) == {
        "COCO": data("COCO", root="x"),
        "COCO-b": data("COCO", root="y"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "not a run folder, it has no config.yaml"),
        ("model: {", "not YAML"),
        ("model: {}", "seed_everything is missing"),
        ("just words", "seed_everything is missing"),
    ],
)
def test_a_folder_that_is_no_run_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        runs.read_run(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_configuration_of_more_classes_than_anybody_has_is_refused(tmp_path):
    """The names of a milliard classes take more memory than there is."""
    whole = config("BDD100K", "none") | {"seed_everything": 0, "model": {"num_classes": 10_000_000}}
    (tmp_path / "config.yaml").write_text(yaml.dump(whole))
    with pytest.raises(ValueError, match=r"config\.yaml: .*num_classes is above 100,000"):
        runs.read_run(tmp_path)
