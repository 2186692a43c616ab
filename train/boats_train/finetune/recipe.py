"""Fine-tuning: the backbone's last blocks, or all of them, learn with a linear layer behind them.

The recipe, each element with its source:

- Photos are drawn with the square root of their class's frequency: `boats_train.finetune.sampling`.
- They are flipped, lit and zoomed anew each time: `boats_train.finetune.augmentation`.
- Cross-entropy with label smoothing (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567).
- AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101), no decay on biases and
  norms (He et al. 2019, https://arxiv.org/abs/1812.01187); the new layer learns ten times as fast
  as the pretrained ones (Chen et al. 2015, https://arxiv.org/abs/1412.7062).
- Linear warm-up (Goyal et al. 2017, https://arxiv.org/abs/1706.02677), then half a cosine down to
  zero (Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983), step by step.
- BatchNorm keeps its statistics, also where it learns, as in https://keras.io/guides/transfer_learning
  and in detection (He et al. 2016, https://arxiv.org/abs/1512.03385, appendix A): a photo's
  features depend on no other photo, and a batch may be small or spread over processes. In random
  weights, which come without, a few photos decide them once. Dropout and stochastic depth work in
  the blocks that learn.
- What is measured and kept is an exponential moving average of the weights (Polyak & Juditsky 1992;
  Tarvainen & Valpola 2017, https://arxiv.org/abs/1703.01780) over about one epoch.
- The epoch of the best macro-F1 on the valid photos is kept (early stopping, Prechelt 1998).
- On CUDA in float16 with scaled losses (Micikevicius et al. 2018,
  https://arxiv.org/abs/1710.03740); convolutions run on NHWC everywhere.

The batch is shared among processes, and the photos drawn do not depend on their number: more GPUs
give the same training, sooner, up to rounding and what dropout drops.
"""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from boats_runtime.errors import RunError
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.loop import Epochs, Row
from boats_train.finetune.trainer import Learner, Photos, Recipe
from boats_train.models.feature_network import FeatureNetwork

PATIENCE = 10
"""Epochs without a better macro-F1 after which training stops."""


def fine_tune(
    network: FeatureNetwork,
    photos: Photos,
    recipe: Recipe,
    *,
    folder: Path,
    resume: bool,
    distributed: DistributedContext,
    log: Callable[[str], None],
) -> tuple[nn.Linear, list[Row]]:
    """Trains a network in place, with a new layer from its features to the classes.

    Args:
        network: On the device to train on; in evaluation mode afterwards, with the averaged weights
            of the best epoch, the same in every process.
        photos: To learn from and to measure on.
        recipe: How.
        folder: Where `Epochs` keeps its checkpoint.
        resume: Whether to go on from it.
        distributed: This process among those that train together, each of which calls this.
        log: Takes a line about what goes on; called in rank 0 only.

    Returns:
        The layer, D to K, of the best epoch; and the curves, a row an epoch: `train_loss` and
        `train_accuracy` on the changed photos, `valid_loss`, `valid_accuracy` and `valid_macro_f1`
        of the averaged weights, and `rate`, the backbone's last one. Both losses are smoothed.

    Raises:
        UsageError: The backbone has fewer blocks, or the batch can't be shared evenly.
        DataError: A photo can't be decoded any more.
        RunError: The loss is not a number any more, or the checkpoint is of no use.
        OutputError: The checkpoint can't be written.
    """
    learner = Learner(network, photos, recipe, distributed)
    epochs = Epochs(learner.parts, folder, resume=resume, seed=recipe.seed, rank=distributed.rank)
    if not distributed.all_equal(len(epochs.rows)):
        raise RunError(f"{folder}: not every process finds the same checkpoint there")
    if distributed.is_main:
        log(learner.describe())

    def epoch(number: int) -> Row:
        row = learner.learn(number)
        measured, row["valid_loss"] = learner.measure()
        row |= {"valid_accuracy": measured.accuracy, "valid_macro_f1": measured.macro_f1}
        best = measured.macro_f1 > max(
            (earlier["valid_macro_f1"] for earlier in epochs.rows), default=-1.0
        )
        if best:
            learner.keep()
        if distributed.is_main:
            log(
                f"epoch {number}: train loss {row['train_loss']:.3f}, "
                f"valid macro-F1 {measured.macro_f1:.3f}{', the best so far' if best else ''}"
            )
        return row

    rows = epochs.run(recipe.epochs, epoch, "epochs", _out_of_patience)
    return learner.finish(), rows


def _out_of_patience(rows: list[Row]) -> bool:
    scores = [row["valid_macro_f1"] for row in rows]
    return len(scores) - 1 - scores.index(max(scores)) >= PATIENCE
