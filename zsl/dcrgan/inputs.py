"""The form in which networks take features and attributes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zsl.common.ranges import Power, Scale, check_ranges
from zsl.features.scaling import AttributeScaler, signed_power
from zsl.features.split import TrainSplit


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """The settings of that form; a method's configuration has them."""

    feature_power: Power = 1.0  # exponent of the features in [0, 1]; square roots (0.5) are spread more evenly
    attribute_power: Power = 1.0  # exponent of the split file's attributes
    attribute_norm: Scale | None = 1.0  # mean norm of the centred attributes; None: attributes as in the split file

    def __post_init__(self) -> None:
        check_ranges(self)


def attribute_scaler(train: TrainSplit, config: InputConfig) -> AttributeScaler:
    """Fit the scaling of attributes to the attributes of the seen classes."""
    return AttributeScaler.fit(train.attributes[train.seen], config.attribute_norm, config.attribute_power)


def as_networks_see(train: TrainSplit, scaler: AttributeScaler, config: InputConfig) -> TrainSplit:
    """Return the split with features and attributes in the form that all networks take."""
    return replace(
        train,
        features=signed_power(train.features, config.feature_power),
        attributes=scaler(train.attributes),
    )
