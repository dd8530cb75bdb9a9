"""Numbers: a training whose loss or weights are no numbers any more stops there and is told why."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class StopAtNonFinite(Callback):
    """End a training at the step whose loss is NaN or infinite, before it comes into a checkpoint.

    `last.ckpt` stays that of the last whole epoch, with finite weights.
    """

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Look at the loss.

        Raises:
            ValueError: If it is not finite; the batch's images are named.
        """
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is None or bool(torch.isfinite(loss).all()):
            return
        names = ", ".join(_names(trainer, batch_idx))
        raise ValueError(
            f"the loss is {float(loss)} in step {trainer.global_step}, epoch {trainer.current_epoch}, "
            f"of the images {names}: if they and their boxes are sound, {_REMEDY}"
        )

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Look at the gradients; those of float16 may overflow, and its scaler sees to them.

        Raises:
            ValueError: If one is not finite; the batch's images and the block it began in are named.
        """
        gradients = {n: p.grad for n, p in pl_module.named_parameters() if p.grad is not None}
        if trainer.precision.startswith("16") or not gradients:
            return
        if bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients.values()))):
            return
        where = [n for n, g in gradients.items() if not bool(torch.isfinite(g).all())]
        names = ", ".join(_names(trainer, trainer.fit_loop.epoch_loop.batch_idx))
        raise ValueError(
            f"the gradient of {where[-1] if where else 'all layers'} is not finite in step "
            f"{trainer.global_step + 1}, epoch {trainer.current_epoch}, of the images {names}: if they "
            f"and their boxes are sound, {_REMEDY}"
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the weights that training starts from."""
        _check(pl_module, "before the first step")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the weights before they are measured and kept."""
        if trainer.training or trainer.state.fn == "fit":
            _check(pl_module, f"after step {trainer.global_step}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the weights before they are kept, where no validation did."""
        _check(pl_module, f"after step {trainer.global_step}")


_REMEDY = "give a lower --model.lr or --trainer.gradient_clip_val 10"


def _check(pl_module: LightningModule, when: str) -> None:
    for name, value in pl_module.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name} holds weights that are not finite {when}: {_REMEDY}")


def _names(trainer: Trainer, batch_idx: int) -> list[str]:
    """Name the images of a batch; those that a mosaic adds are not among them."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning
    loader: Any = trainer.train_dataloader
    drawn = [index for index, _ in loader.sampler]
    names = data.names("train")
    size = loader.batch_size
    return [names[index] for index in drawn[batch_idx * size : (batch_idx + 1) * size]]
