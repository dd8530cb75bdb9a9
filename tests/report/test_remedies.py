"""What to try next: what the card makes of why and advise, and what it asks for without them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from report.run_folders import write_run

from yolo_synth.report.panels import remedies
from yolo_synth.report.selection import select

MINUS = "\N{MINUS SIGN}"


def estimate(value: float, low: float | None = None, high: float | None = None) -> dict:
    return {"value": value, "low": low, "high": high}


def answer(gain=(0.06, 0.01, 0.11), low_of_best=0.01, mistake="", **others) -> dict:
    """Return what why keeps, as far as the card and its panel read it."""
    best = {"layers": [0, 4], "gain": estimate(0.158, 0.055, 0.261), "low_of_best": low_of_best}
    kept = {
        "format": 1,
        "network": "U-Synthetic/0",
        "oracle": "U-Real/0",
        "domains": ["Real", "Synthetic"],
        "checks": [{"mistake": "bright", "excess": 9.0, "named": False}],
        "recalibration": {
            "pictures": 96,
            "gain": estimate(*gain),
            "cost": estimate(-0.134, -0.181, -0.088),
        },
        "blocks": {"best": best, "alone": [best], "seeds": [0]},
        "sentences": ["The gap is large.", "Block 0 is best."],
    }
    if mistake:
        kept["checks"].append({"mistake": mistake, "excess": 4.2, "named": True})
    return kept | others


def advice(better: bool, best: str = "layers 12-36") -> dict:
    row = {"trained": best, "gain": estimate(0.07, 0.02, 0.12)}
    own = {"trained": "everything", "gain": estimate(0.0)}
    return {
        "format": 1,
        "network": "U-Synthetic/0",
        "domain": "Real",
        "pictures": 10,
        "best": best,
        "yardstick": "everything",
        "better": better,
        "gain": estimate(0.07, 0.02, 0.12) if better else estimate(0.01, -0.05, 0.07),
        "candidates": [row, own],
        "settings": ["here: yolo-synth fit --freezing.mode 0"],
    }


def found(*answers: dict, advices=(), command="") -> remedies.Remedies:
    kept = [
        {Path(f"runs/{number}"): one for number, one in enumerate(some)}
        for some in (answers, advices)
    ]
    return remedies.Remedies(*kept, command)


def test_what_to_try_is_what_was_shown_to_help_with_its_cost():
    assert remedies.short(found(answer(), command="yolo-synth advise runs/0")) == (
        "Next, give U-Synthetic/0 the batch-norm statistics of 96 unlabelled Real images (why --save "
        f"FILE): mAP@0.5 +0.060 [+0.010, +0.110] on Real, {MINUS}0.134 [{MINUS}0.181, {MINUS}0.088] on "
        "Synthetic; of all blocks of U-Real/0 swapped in, layers 0\N{EN DASH}4 gain most, +0.158 [+0.055, "
        "+0.261] on Real."
    )
    untold = answer((0.02, -0.01, 0.05))
    other = untold | {"network": "U-Synthetic/1"}
    assert "(so in 1 of 2 runs)" in remedies.short(found(answer(), other))
    assert "batch-norm" not in remedies.short(found(untold))
    assert "swapped in" not in remedies.short(found(answer(low_of_best=-0.01)))
    assert "swapped in" not in remedies.short(found(answer(low_of_best=None)))  # seeds are apart
    two = answer()
    two["blocks"]["seeds"] = [0, 1]
    assert remedies.short(found(two)).endswith("+0.261] on Real (mean of 2 seeds).")


def test_a_mistake_in_the_data_goes_before_every_remedy():
    said = remedies.short(
        found(answer(mistake="boxes lie 8 px to the right"), advices=[advice(True)])
    )
    assert said == (
        "Next, look into the data of U-Synthetic/0 first: boxes lie 8 px to the right (4.2 times its "
        "floor)."
    )


def test_advice_that_is_better_is_given_and_advice_that_is_not_is_not():
    said = remedies.short(found(answer(), advices=[advice(True)]))
    assert said.startswith(
        "Next, train layers 12-36 of U-Synthetic/0 alone: on 10 labelled Real images mAP@0.5 +0.070 "
        "[+0.020, +0.120] against training everything"
    )
    as_it_is = remedies.short(found(advices=[advice(True, "as it is")]))
    assert as_it_is.startswith("Next, leave U-Synthetic/0 as it is: on 10 labelled")
    untold = remedies.short(found(advices=[advice(False)]))
    assert untold == (
        "Next, what of U-Synthetic/0 to train on 10 labelled Real images is undecided, +0.010 "
        f"[{MINUS}0.050, +0.070] against training everything."
    )
    both = remedies.short(found(answer(), advices=[advice(False)]))
    assert both.index("give U-Synthetic/0 the batch-norm") < both.index("is undecided, +0.010")
    assert both.count(";") == 1
    assert "train layers 12-36" not in untold + both


def test_where_nothing_is_shown_to_help_it_says_so_and_what_to_ask():
    nothing = answer((0.02, -0.01, 0.05), low_of_best=-0.1)
    command = "yolo-synth advise runs/0 --real FEW.yaml"
    assert remedies.short(found(nothing, command=command)) == (
        "Next, label a few images, since without labels nothing is shown to help (batch norms of 96 Real "
        f"images: +0.020 [{MINUS}0.010, +0.050]); ask for advice: {command}"
    )
    none = answer(recalibration=None, blocks=None)
    assert "nothing is shown to help; ask for advice" in remedies.short(
        found(none, command=command)
    )
    assert remedies.short(found()) == ""


def test_the_panel_tells_all_that_why_and_advise_say_and_tables_their_numbers():
    result = found(answer(), advices=[advice(True)])
    why, advised = remedies.sentences(result)
    assert why.endswith("(runs/0/why/why.html): The gap is large. Block 0 is best.")
    assert advised.endswith("here: yolo-synth fit --freezing.mode 0")
    (table,) = remedies.tables(result)
    frame = table.frame.reset_index()
    assert list(frame["difference"]) == [0.06, -0.134, 0.158, 0.07]
    assert list(frame["on"]) == ["Real", "Synthetic", "Real", "Real"]
    assert not list(remedies.tables(found()))


@pytest.fixture(scope="module")
def study(tiny_root, tmp_path_factory):
    """Return the runs that a report reads, in a folder whose name needs quotes."""
    folder = tmp_path_factory.mktemp("card") / "my runs"
    for model in ("U-Real", "U-Synthetic"):
        write_run(folder, model, 0, tiny_root)
    subjects = select(str(folder)).subjects
    labels = [subject.label for subject in subjects]
    return SimpleNamespace(
        subjects=subjects, labels=labels, domains=["Real", "Synthetic"], files=[], folder=folder
    )


def plant(study, name: str, content) -> Path:
    path = study.folder / "U-Synthetic/0" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_without_an_answer_the_card_ends_with_the_command_that_asks(study):
    said = remedies.short(remedies.compute(study))
    run, oracle = (study.folder / name for name in ("U-Synthetic/0", "U-Real/0"))
    assert said == f"Next, ask why: yolo-synth why '{run}' --oracle '{oracle}'"
    alone = SimpleNamespace(
        **vars(study) | {"subjects": study.subjects[1:], "labels": study.labels[1:]}
    )
    assert remedies.compute(alone).command == f"yolo-synth why '{run}' --real FILE.yaml"
    alone.files = ["more/real.yaml"]
    assert remedies.compute(alone).command == f"yolo-synth why '{run}' --real more/real.yaml"
    real = SimpleNamespace(
        **vars(study) | {"subjects": study.subjects[:1], "labels": study.labels[:1]}
    )
    assert remedies.short(remedies.compute(real)) == ""


def test_of_several_seeds_the_folders_of_both_models_are_asked(study):
    twins = [
        SimpleNamespace(
            label=one.label._replace(seed=1),
            run=SimpleNamespace(folder=one.run.folder.with_name("1")),
        )
        for one in study.subjects
    ]
    two = SimpleNamespace(**vars(study) | {"subjects": [*study.subjects, *twins]})
    own, oracle = (study.folder / model for model in ("U-Synthetic", "U-Real"))
    assert remedies.compute(two).command == f"yolo-synth why '{own}' --oracle '{oracle}'"
    twins[0].label = twins[0].label._replace(seed=2)  # no second seed in common
    assert remedies.compute(two).command == f"yolo-synth why '{own}/0' --oracle '{oracle}/0'"


def test_an_answer_counts_for_the_weights_that_it_is_of_alone(study):
    own = next(one.weights for one in study.subjects if one.label.model == "U-Synthetic")
    path = plant(study, "why/why.json", answer(weights=[own, "another"]))
    found = remedies.compute(study)
    assert list(found.answers) == [study.folder / "U-Synthetic/0"]
    assert found.command.startswith("yolo-synth advise")
    assert remedies.short(found).startswith("Next, give U-Synthetic/0 the batch-norm")
    for content, why_not in (
        (answer(weights=["another"]), "is of other weights than U-Synthetic/0 has now"),
        (answer(weights=[own], format=0), "is of another version of this program"),
        ({"sentences": ["as kept before"]}, "is of another version of this program"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
    ):
        plant(study, "why/why.json", content)
        left = remedies.compute(study)
        assert not left.answers
        assert f"Left out: {path} {why_not}; ask again." in list(remedies.sentences(left))
        assert "ask why: yolo-synth why" in remedies.short(left)
    path.unlink()


@pytest.mark.parametrize("lost", [*answer(), "advice"])
def test_a_file_that_lacks_something_is_left_out_and_named(study, lost):
    """As of a hand, or of a disk: the report goes on without it."""
    own = next(one.weights for one in study.subjects if one.label.model == "U-Synthetic")
    name, whole = (
        ("why/why.json", answer()) if lost in answer() else ("advise/advise.json", advice(True))
    )
    whole = whole | {"weights": [own]}
    del whole[lost if lost in whole else "gain"]
    path = plant(study, name, whole)
    found = remedies.compute(study)
    assert not found.answers
    assert not found.advices
    assert any(str(path) in text for text in remedies.sentences(found))
    path.unlink()
