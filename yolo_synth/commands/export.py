"""Export: a run's best weights in the forms that other programs read."""

from __future__ import annotations


def export(run: str, file: str, last_layer: int | None = None) -> None:
    """Write a run's best weights for other programs, in the form that FILE's ending says.

    FILE.weights is Darknet's, with FILE.cfg and FILE.names beside it; with --last_layer 74 it is a
    backbone, as darknet53.conv.74 is, that other trainings can start from (any other ending is then
    Darknet's too). FILE.onnx and FILE.pt2 are the raw network for any number and size of images, without
    decoding, which docs/detect_with_onnx.py does. A name without an ending is a folder:
    model.safetensors and config.json, as the Hugging Face Hub takes it, for networks of any kind.

    Args:
        run: Run folder.
        file: File or folder to write; its folder is made.
        last_layer: Last layer to write to a Darknet file; all 107 by default.
    """
    from yolo_synth.commands.exporting import write_weights  # brings PyTorch

    write_weights(run, file, last_layer)
