"""Attribute evidence: the attributes of a photo that speak for a class, and those that speak against it.

Attribute k speaks for class c where the photo x and the class both have more of it than the seen classes usually have,
or both have less.  It speaks against c where one of them has more and the other has less.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Strongest:
    """Numbers of the attributes with the strongest evidence, the strongest first."""

    speak_for: tuple[int, ...]
    speak_against: tuple[int, ...]


def usual_strengths(attributes: Tensor, seen: Tensor) -> Tensor:
    """Return m [A], the mean of the seen classes' attributes.

    attributes: those of all classes [C, A].  seen: ids of the seen classes [S].
    """
    return attributes[seen].mean(0)


def attribute_evidence(photo: Tensor, of_class: Tensor, usual: Tensor) -> Tensor:
    """Return the evidence of each attribute [A]: w_k = (F1(x)_k − m_k) · (a_ck − m_k).

    w_k is above 0 where attribute k speaks for class c.

    photo: F1(x) [A], the attributes that the regressor predicts from the photo (eq. 7).  of_class: a_c [A].
    usual: m [A].  All three have the scale of the networks' inputs, so that no attribute counts more because of its
    unit.
    """
    return (photo - usual) * (of_class - usual)


def strongest(evidence: Tensor, number: int) -> Strongest:
    """Return at most `number` attributes that speak for the class, and at most `number` that speak against it.

    evidence: w [A].  An attribute with w = 0 speaks neither for nor against.
    """
    order = evidence.argsort(descending=True, stable=True).tolist()
    return Strongest(
        speak_for=tuple(k for k in order[:number] if evidence[k] > 0),
        speak_against=tuple(k for k in order[::-1][:number] if evidence[k] < 0),
    )
