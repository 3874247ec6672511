"""A method with a loss of your own: a bilinear score x W a, trained by a smooth ranking loss.

python examples/own_loss.py                                                # after `make quickstart`
python scripts/train_dcrgan.py --method examples/own_loss.py:METHOD        # with γ, seeds and a report
python scripts/table.py --methods sje ale examples/own_loss.py:METHOD      # beside others, all chosen alike
"""

from __future__ import annotations

from pathlib import Path

import tyro
from torch import Tensor
from torch.nn.functional import softplus

import zsl
from zsl.baselines import LinearCompatibility, RankingConfig, fit_ranking
from zsl.scores import Scores
from zsl.training import Log, silent


def smooth_loss(scores: Tensor, targets: Tensor, margin: float) -> Tensor:
    """Mean over the batch of Σ_k log(1 + exp(margin + F(x, k) - F(x, y))), k ≠ y.

    scores: F [B, S] for seen classes.  targets: columns of the true classes y [B].
    """
    violation = softplus(margin + scores - scores.gather(1, targets[:, None]))
    return (violation.sum(1) - softplus(scores.new_tensor(margin))).mean()  # less the summand of k = y


@zsl.stage
def train_smooth(train: zsl.TrainSplit, config: RankingConfig, *, log: Log = silent) -> LinearCompatibility:
    """Fit W on trainval features and the attributes of seen classes."""
    return fit_ranking(train, config, smooth_loss, "smooth ranking", log)


METHOD = zsl.Method(name="smooth-ranking", steps=zsl.one_step(train_smooth), config=RankingConfig(), goal="acc_zsl")


def main(benchmark: str = "shapes", backbone: str = "efficientnet_lite0", data: Path = Path("data")) -> Scores:
    """Train the method once, and print its scores."""
    table = zsl.read_features(zsl.find_features(data, benchmark, backbone))
    train, test = zsl.split_features(table, zsl.load_splits(benchmark, data, table))
    scores = zsl.evaluate(METHOD.train(train, METHOD.config, seed=0), test)
    print(f"{METHOD.name}: T1 {scores.acc_zsl:.1%}, AUSUC {scores.ausuc:.1%}")
    return scores


if __name__ == "__main__":
    tyro.cli(main)
