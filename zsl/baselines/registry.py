"""Earlier methods behind the evaluator of DCR-GAN, each with configs among which validation folds may choose.

All are inductive: attributes of unseen classes first appear in the scorer of the trained model.  Each is written from
its paper, one file each; what is common to the linear ones is in `compatibility`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from zsl.baselines import ale, dap, devise, eszsl, sae, sje, supervised
from zsl.scores.model import ZeroShotModel


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A method by its stage, `train(train, config, *, seed, log)`, and what may be chosen about it."""

    train: Callable[..., ZeroShotModel]
    config: Any  # default, one of the candidates
    candidates: tuple[Any, ...]  # of the default's type
    citation: str
    chosen_by: Literal["acc_zsl", "acc_seen"] = "acc_zsl"  # score on the validation folds that tells candidates apart


BASELINES = {
    "dap": Baseline(
        train=dap.train_dap,
        config=dap.DAPConfig(),
        candidates=dap.CANDIDATES,
        citation="Lampert, Nickisch, Harmeling: Attribute-Based Classification for Zero-Shot Visual Object "
        "Categorization, TPAMI 2014",
    ),
    "devise": Baseline(
        train=devise.train_devise,
        config=devise.DeViSEConfig(),
        candidates=devise.CANDIDATES,
        citation="Frome et al.: DeViSE: A Deep Visual-Semantic Embedding Model, NeurIPS 2013",
    ),
    "ale": Baseline(
        train=ale.train_ale,
        config=ale.ALEConfig(),
        candidates=ale.CANDIDATES,
        citation="Akata, Perronnin, Harchaoui, Schmid: Label-Embedding for Image Classification, TPAMI 2016",
    ),
    "sje": Baseline(
        train=sje.train_sje,
        config=sje.SJEConfig(),
        candidates=sje.CANDIDATES,
        citation="Akata, Reed, Walter, Lee, Schiele: Evaluation of Output Embeddings for Fine-Grained Image "
        "Classification, CVPR 2015",
    ),
    "eszsl": Baseline(
        train=eszsl.train_eszsl,
        config=eszsl.ESZSLConfig(),
        candidates=eszsl.CANDIDATES,
        citation="Romera-Paredes, Torr: An Embarrassingly Simple Approach to Zero-Shot Learning, ICML 2015",
    ),
    "sae": Baseline(
        train=sae.train_sae,
        config=sae.SAEConfig(),
        candidates=sae.CANDIDATES,
        citation="Kodirov, Xiang, Gong: Semantic Autoencoder for Zero-Shot Learning, CVPR 2017",
    ),
    "supervised": Baseline(
        train=supervised.train_supervised,
        config=supervised.SupervisedConfig(),
        candidates=supervised.CANDIDATES,
        citation="softmax on real features of the seen classes: no zero-shot method, but an upper bound on S",
        chosen_by="acc_seen",
    ),
}
