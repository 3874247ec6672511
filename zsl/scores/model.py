"""The contract of a model that can be scored, and calibrated stacking, which lowers scores of seen classes by γ."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Protocol

import torch
from numpy.linalg import LinAlgError
from torch import Tensor, nn

from zsl.common.memory import is_lack_of_memory

# Of a training whose settings do not suit it: a term that is not finite, a matrix that a solver refuses.
DIVERGED = (FloatingPointError, LinAlgError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]
OWN_MODULE = "own_method_"  # how the name of a module begins that is the file of a user's own method


class ZeroShotModel(Protocol):
    """A model that can be scored: it gives each image a score for each class, and higher is likelier."""

    zsl_classes: Tensor  # [U] ids of the columns of `zsl_scores`: unseen classes
    gzsl_classes: Tensor  # [S + U] ids of the columns of `gzsl_scores`: seen and unseen classes

    def zsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of unseen classes [N, U]."""

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of all classes [N, S + U]."""


class BrokenMethod(ValueError):
    """Error: a method, or a model that it made, breaks its contract (docs/own-method.md)."""


class DivergedMethod(BrokenMethod):
    """Error: a user's own method diverges, as with settings that do not suit it; the message names the line."""


def ask(scores_of: Callable[[Tensor], Tensor], features: Tensor, *, copies: bool = True) -> Tensor:
    """Return the scores of `features` [N, D], or name the line of a user's own method in which an error came up.

    With `copies` the model gets copies of the features, so that one that changes what it is given changes nothing else.

    Raises:
        BrokenMethod: the code of a user's own method raises an error that the program has no words for.
    """
    try:
        return scores_of(features.clone() if copies else features)
    except (OSError, FloatingPointError, BrokenMethod):
        raise
    except Exception as error:  # the user's file can raise any error
        place = _own_place(error)
        if place is None or is_lack_of_memory(error):
            raise
        raise broken_at(place, error) from error


def needs_copies(model: Any) -> bool:
    """Whether a model is given copies of features: all are, but those that are known to change none."""
    return not getattr(model, "leaves_features", False)


def broken_at(place: str, error: Exception) -> BrokenMethod:
    """Make the one line for an error in the user's file; `place` is FILE:LINE."""
    kind = DivergedMethod if isinstance(error, DIVERGED) else BrokenMethod
    return kind(f"{place}: {type(error).__name__}: {error}; ZSL_TRACEBACK=1 shows how the program came there")


def _own_place(error: Exception) -> str | None:
    """The last line of a user's own method on the way to an error; None for an error of other code."""
    places = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).startswith(OWN_MODULE)
    ]
    return places[-1] if places else None


def check_parts(model: Any) -> None:
    """Check that a model has the parts of a ZeroShotModel.

    Raises:
        BrokenMethod: it lacks one, or its class ids are no tensor of different numbers.
    """
    for name in ("gzsl_classes", "zsl_classes", "gzsl_scores", "zsl_scores"):
        if not hasattr(model, name):
            raise BrokenMethod(
                f"the method returned a {type(model).__name__} without {name}; needed is a ZeroShotModel "
                "(docs/own-method.md)"
            )
    for name in ("gzsl_classes", "zsl_classes"):
        ids = getattr(model, name)
        if not isinstance(ids, Tensor) or ids.ndim != 1 or ids.dtype.is_floating_point or len(ids.unique()) < len(ids):
            raise BrokenMethod(f"the model's {name} are {ids}; needed is a tensor of class ids [n], each once")


def check_shape(scores: Any, count: int, classes: Tensor, what: str) -> None:
    """Check that `scores` have a row for each of `count` images and a column for each of the `classes` [n].

    Other columns would be taken for the classes of the first ones, and one column would spread to all.

    Raises:
        BrokenMethod: they are no tensor, or of another shape.
    """
    shape = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
    if shape != [count, len(classes)]:
        raise BrokenMethod(
            f"the model's {what} are {shape}; needed is a tensor [{count}, {len(classes)}], a row for each image and a "
            "column for each class (docs/own-method.md)"
        )


class Calibrated(nn.Module):
    """A model with calibrated stacking: γ is subtracted from the GZSL scores of seen classes (Chao et al. 2016).

    Its ZSL scores do not change.  Nothing else subtracts γ.
    """

    zsl_classes: Tensor
    gzsl_classes: Tensor
    is_seen: Tensor
    gamma: Tensor

    def __init__(self, model: ZeroShotModel, gamma: float, seen: Tensor) -> None:
        """Calibrate `model` with `gamma`; `seen` holds the ids of the seen classes [S].

        Raises:
            BrokenMethod: `model` is no ZeroShotModel.
        """
        super().__init__()
        check_parts(model)
        self.model: Any = model
        self.register_buffer("zsl_classes", model.zsl_classes, persistent=False)
        self.register_buffer("gzsl_classes", model.gzsl_classes, persistent=False)
        self.register_buffer("is_seen", torch.isin(model.gzsl_classes, seen))
        self.register_buffer("gamma", torch.tensor(float(gamma)))
        self.eval()

    @property
    def leaves_features(self) -> bool:
        """Whether scoring is known to change no feature; other models are given copies."""
        return not needs_copies(self.model)

    @property
    def calibration(self) -> Tensor:
        """The summand of the GZSL scores [S + U]: −γ for seen classes, 0 for unseen classes."""
        return torch.where(self.is_seen, -self.gamma, 0.0)

    def zsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of unseen classes [N, U]."""
        return self.model.zsl_scores(features)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to calibrated scores of all classes [N, S + U]."""
        scores = self.model.gzsl_scores(features)
        check_shape(scores, len(features), self.gzsl_classes, "GZSL scores")
        return scores + self.calibration
