"""Image-text similarity of a CLIP or SigLIP model (Radford et al. 2021): nothing is trained.

    score(x, c) = scale · cos(x, t_c)

x is the image tower's embedding of a photo, and t_c the text tower's embedding of prompts with the class's name.  The
method is no generalized zero-shot learning from attributes: it uses the names of all classes, and nobody knows which
classes, and which test photos, the model was trained on.  Results name the side information.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import normalize

from zsl.baselines.compatibility import ClassScorer
from zsl.common.ranges import Positive, check_ranges
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, one_step
from zsl.training.stage import stage

NAME = "clip"


@dataclass(frozen=True, kw_only=True)
class CLIPConfig:
    """The settings of the similarity."""

    scale: Positive = 100.0  # of the cosine, which CLIP learns and caps at 100; it changes γ alone, no answer

    def __post_init__(self) -> None:
        check_ranges(self)


class CLIP(ClassScorer):
    """The cosine of image and text embeddings, times a scale."""

    low: Tensor  # [D] undoes the scaling of features, with `span`
    span: Tensor  # [D]
    texts: Tensor  # [S + U, D], of length 1

    def __init__(self, train: TrainSplit, scale: float) -> None:
        super().__init__(train)
        self.scale = scale
        self.register_buffer("low", train.scaler.low)
        self.register_buffer("span", train.scaler.span)
        self.register_buffer("texts", normalize(train.attributes[self.gzsl_classes], dim=1))
        self.eval()

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map scaled features [N, D] to scores of all classes [N, S + U]."""
        return self.scale * normalize(features * self.span + self.low, dim=1) @ self.texts.T


@stage
def train_clip(train: TrainSplit, config: CLIPConfig, *, log: Log = silent) -> CLIP:
    """Make the model of the class vectors; no feature is used.

    Raises:
        ValueError: the class vectors have another size than the features.
    """
    size, wanted = train.attributes.shape[1], train.features.shape[1]
    if size != wanted:
        raise ValueError(
            f"--method clip compares features of size {wanted} with class vectors of size {size}: take the features of "
            "an openclip backbone and, by --class-vectors, what scripts/embed_names.py makes with the same backbone"
        )
    return CLIP(train, config.scale)


METHOD = Method(
    name=NAME,
    steps=one_step(train_clip),
    quick=True,
    config=CLIPConfig(),
    citation="Radford et al.: Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
)
