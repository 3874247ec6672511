"""Attribute evidence, checked against a loop over attributes."""

import torch

from zsl.dcrgan.evidence import attribute_evidence, strongest, usual_strengths


def test_evidence_is_positive_where_photo_and_class_deviate_in_the_same_direction() -> None:
    draw = torch.Generator().manual_seed(0)
    attributes, photo = torch.rand(5, 40, generator=draw), torch.rand(40, generator=draw)
    seen = torch.tensor([0, 2, 3])
    evidence = attribute_evidence(photo, attributes[4], usual_strengths(attributes, seen))
    for k, weight in enumerate(evidence.tolist()):
        usual = sum(attributes[s, k].item() for s in (0, 2, 3)) / 3
        both_more = photo[k] > usual and attributes[4, k] > usual
        both_less = photo[k] < usual and attributes[4, k] < usual
        assert (weight > 0) == (both_more or both_less)
        assert abs(weight - (photo[k].item() - usual) * (attributes[4, k].item() - usual)) < 1e-6


def test_the_strongest_are_in_order_and_zero_speaks_neither_for_nor_against() -> None:
    leading = strongest(torch.tensor([0.5, -2.0, 0.0, 3.0, -1.0]), 4)
    assert leading.speak_for == (3, 0)
    assert leading.speak_against == (1, 4)
    leading = strongest(torch.tensor([0.5, -2.0, 0.0, 3.0, -1.0]), 1)
    assert (leading.speak_for, leading.speak_against) == ((3,), (1,))
