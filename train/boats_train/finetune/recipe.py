"""Fine-tuning of a backbone, or of its last blocks, together with a linear classifier.

The recipe, with the source of each element:

- Images are sampled by the square root of the class frequency: `boats_train.finetune.sampling`.
- Images are flipped, zoomed and changed in color at random: `boats_train.finetune.augmentation`.
- Cross-entropy with label smoothing (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567).
- AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101) without weight decay on biases
  and norms (He et al. 2019, https://arxiv.org/abs/1812.01187); the learning rate of the new layer
  is ten times that of the pretrained layers (Chen et al. 2015, https://arxiv.org/abs/1412.7062).
- Linear warm-up (Goyal et al. 2017, https://arxiv.org/abs/1706.02677), then a cosine decay to zero
  (Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983), updated every step.
- BatchNorm keeps its statistics, also in trained blocks, as in
  https://keras.io/guides/transfer_learning and in detection (He et al. 2016,
  https://arxiv.org/abs/1512.03385, appendix A): the features of an image do not depend on other
  images, and a batch can be small or spread over processes. Random weights have no statistics;
  these are computed once from a few images. Dropout and stochastic depth are active in the trained
  blocks.
- The evaluated weights are an exponential moving average (Polyak & Juditsky 1992; Tarvainen &
  Valpola 2017, https://arxiv.org/abs/1703.01780) over about one epoch.
- The epoch with the best macro-F1 on the validation images is used (early stopping, Prechelt 1998).
- On CUDA, float16 with loss scaling (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740);
  convolutions run in the channels-last format everywhere.

The processes share each batch, and the sampled images do not depend on the number of processes:
more GPUs give the same training in less time, up to rounding and the random numbers of dropout.
"""

from collections.abc import Callable

from torch import nn

from boats_runtime.errors import RunError
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.loop import Checkpoint, EpochMetrics, TrainingLoop
from boats_train.finetune.trainer import FineTuningData, FineTuningSettings, Trainer
from boats_train.models.feature_network import FeatureNetwork

PATIENCE = 10
"""Epochs without a better macro-F1 after which training stops."""


def fine_tune(
    network: FeatureNetwork,
    data: FineTuningData,
    settings: FineTuningSettings,
    checkpoint: Checkpoint,
    distributed: DistributedContext,
    log: Callable[[str], None],
) -> tuple[nn.Linear, list[EpochMetrics]]:
    """Train a network in place, together with a new layer from its features to the classes.

    All processes that train together must call this; rank 0 alone calls `log`. Afterwards the
    network is in evaluation mode, with the averaged weights of the best epoch in all processes.

    Returns:
        The layer of the best epoch, D to K, and the metrics of each epoch: `train_loss` and
        `train_accuracy` on augmented images, `rate`, the last learning rate of the backbone, and
        `valid_loss`, `valid_accuracy` and `valid_macro_f1` of the averaged weights. Both losses use
        label smoothing.

    Raises:
        UsageError: If the backbone has fewer blocks, or the processes cannot share a batch evenly.
        DataError: If an image cannot be decoded any more.
        RunError: If the loss is not finite, or the checkpoint cannot be used.
        OutputError: If the checkpoint cannot be written.
    """
    trainer = Trainer(network, data, settings, distributed)
    loop = TrainingLoop(trainer.state, checkpoint, settings.seed, distributed.rank)
    if not distributed.all_equal(len(loop.history)):
        raise RunError(
            f"{checkpoint.folder}: the processes read different checkpoints; use a folder that "
            "all of them share, or train again without --resume"
        )
    if distributed.is_main:
        log(trainer.describe())

    def train_epoch(number: int) -> EpochMetrics:
        metrics = trainer.train_epoch(number) | trainer.evaluate()
        macro_f1 = metrics["valid_macro_f1"]
        improved = all(macro_f1 > epoch["valid_macro_f1"] for epoch in loop.history)
        if improved:
            trainer.save_best()
        if distributed.is_main:
            log(
                f"epoch {number}: train loss {metrics['train_loss']:.3f}, "
                f"valid macro-F1 {macro_f1:.3f}{', the best so far' if improved else ''}"
            )
        return metrics

    history = loop.run(settings.epochs, train_epoch, _has_stopped_improving)
    return trainer.load_best(), history


def _has_stopped_improving(history: list[EpochMetrics]) -> bool:
    scores = [epoch["valid_macro_f1"] for epoch in history]
    return len(scores) - 1 - scores.index(max(scores)) >= PATIENCE
