"""What trainings are worth in real pictures, and that recipes cost the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yolo_synth.curves.equivalents import worth
from yolo_synth.curves.fit import fit_curve
from yolo_synth.curves.recipes import Plan, Training, budget, trainings

NUMBERS = np.array([10.0, 40.0, 160.0])
WOBBLE = np.array([[0.004, -0.003, 0.002], [-0.001, 0.004, -0.003], [-0.003, -0.001, 0.001]])


def error(n):
    return 1.2 * n**-0.4 + 0.25


@pytest.fixture(scope="module")
def real():
    return fit_curve(NUMBERS, error(NUMBERS) + WOBBLE)


@pytest.mark.parametrize("equal", [12.0, 60.0, 150.0])
def test_a_training_is_worth_the_pictures_whose_curve_it_meets(real, equal):
    found = worth(real, error(np.array([equal])) + np.array([0.001, 0.0, -0.001]))
    assert found.value == pytest.approx(equal, rel=0.05)
    low, high = found.interval
    assert (low or 0) <= equal <= (high or np.inf)
    assert found.words().startswith(f"{found.value:.0f} [")


def test_outside_the_numbers_that_were_tried_nothing_is_said_but_on_which_side(real):
    spread = np.array([0.001, 0.0, -0.001])
    better, worse = (worth(real, level + spread) for level in (0.2, 0.9))
    assert better.value is None
    assert better.words() == "more than 160 [all of it more than 160]"
    assert worse.words() == "fewer than 10 [all of it fewer than 10]"
    near = worth(real, error(np.array([170.0])) + spread)
    assert near.value is None
    assert near.interval[0] < 160
    assert near.words() == f"more than 160 [{near.interval[0]:.0f}, more than 160]"
    assert worth(real, np.array([0.9])).interval is None


def test_its_interval_holds_the_planted_number_in_95_of_100_cases():
    generator = np.random.default_rng(0)
    draws, held = 100, 0
    for _ in range(draws):
        noise = 0.01 * generator.standard_normal((3, 4)) + 0.01 * generator.standard_normal((3, 1))
        curve = fit_curve(NUMBERS, error(NUMBERS) + noise[:, :3])
        low, high = worth(curve, error(60.0) + noise[:, 3]).interval
        held += (low is None or low <= 60) and (high is None or high >= 60)
    assert held >= 88


REAL = {"class_path": "yolo_synth.BDD100K", "init_args": {"root": "r", "batch_size": 4}}
SYNTHETIC = {"class_path": "yolo_synth.GTAV", "init_args": {"root": "s", "batch_size": 4}}


@pytest.mark.parametrize(("steps", "whole"), [(570, 570), (41, 50), (60_001, 60_024)])
def test_every_recipe_takes_the_same_steps_in_all(steps, whole):
    plan = Plan({"trainer": {"max_epochs": 3}, "name": "x"}, REAL, SYNTHETIC, budget(steps, 4))
    assert whole == plan.budget.steps

    def length(recipe, images):
        said = plan.settings(Training(recipe, images, 1), Path("runs"))
        assert said["trainer"]["check_val_every_n_epoch"] == said["trainer"]["max_epochs"]
        return said["trainer"]["max_epochs"] * said["data"]["init_args"]["epoch_images"] / 4

    assert length("real", 10) == length("both", 10) == whole
    assert length("synthetic", 0) == length("tuned", 10) == whole / 2


def test_recipes_of_one_seed_have_the_same_pictures_and_the_second_starts_from_the_first():
    plan = Plan({"model": {"backbone": "b", "lr": 0.1}}, REAL, SYNTHETIC, budget(20, 4))
    [first, second] = trainings([0, 10, 40], 2, 0.03)
    assert len(first) == 2 + 2 * 2 * 2
    tuned = plan.settings(second[-1], Path("runs"))
    assert tuned["name"] == "tuned-40-lr=0.03"
    assert tuned["model"] == {
        "backbone": None,
        "lr": 0.03,
        "weights": "runs/synthetic/1/best.ckpt",
    }
    both = plan.settings(Training("both", 40, 1), Path("runs"))
    assert both["model"] == {"backbone": "b", "lr": 0.1}
    part = both["data"]["init_args"]["parts"]["real"]["init_args"]
    drawn = {key: part[key] for key in ("train_images", "train_seed")}
    assert drawn == {"train_images": 40, "train_seed": 1}
    assert drawn.items() <= tuned["data"]["init_args"].items()
    assert both["data"]["init_args"]["batch_size"] == 4
