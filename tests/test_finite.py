"""Losses and weights that are no numbers end a training, and no checkpoint holds them."""

from __future__ import annotations

import re

import torch
from helpers import fit_arguments, weights

from yolo_synth.cli import main
from yolo_synth.data.dataset import ImageDataset
from yolo_synth.detector import Detector


def test_a_loss_that_is_not_finite_names_the_images_and_keeps_the_last_checkpoint(
    tiny_root, tmp_path, monkeypatch, capsys
):
    options = ("--trainer.max_epochs=3", "--model.lr=1e-4")
    arguments = fit_arguments(tiny_root, tmp_path, "BDD100K", *options)
    load = ImageDataset.__getitem__
    broken = []

    def breaks(self, key):
        image, target = load(self, key)
        if isinstance(key, tuple) and len(broken) >= 40:  # in the second of 24 images an epoch
            target = {**target, "boxes": target["boxes"] * float("nan")}
        if isinstance(key, tuple):
            broken.append(self._paths[key[0]])
        return image, target

    monkeypatch.setattr(ImageDataset, "__getitem__", breaks)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    found = re.search(r"not finite in step 6, epoch 1, of the images ((?:\S+, ){7}\S+):", said)
    assert found, said
    assert all(name in str(broken[40:48]) for name in found[1].split(", "))
    run = tmp_path / "U-Real/0"
    assert all(value.isfinite().all() for value in weights(run).values())
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 3


def test_weights_that_are_not_finite_are_never_kept(tiny_root, tmp_path, capsys):
    arguments = fit_arguments(tiny_root, tmp_path, "BDD100K", "--model.lr=1e30")
    assert main(arguments) == 2
    assert "not finite" in (said := capsys.readouterr().err) or "the loss is" in said
    assert not (tmp_path / "U-Real/0/best.ckpt").exists()
    assert not (tmp_path / "U-Real/0/last.ckpt").exists()


def test_memory_that_ends_on_the_processor_names_the_option(
    tiny_root, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(Detector, "training_step", lambda *_: torch.empty(2**50))
    assert main(fit_arguments(tiny_root, tmp_path)) == 2
    said = capsys.readouterr().err
    assert "--data.batch_size" in said
    assert "Traceback" not in said
