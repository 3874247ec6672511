"""f-VAEGAN-D2 (Xian et al. 2019): a VAE and a conditional WGAN-GP that share decoder and generator."""

from __future__ import annotations

from dataclasses import dataclass

from zsl.features.split import TrainSplit
from zsl.generative.method import both_forms
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.vaegan import SigmoidGenerator, VAEGANConfig, VAEGANLosses
from zsl.generative.wgan import train_wgan
from zsl.training.log import Log, silent
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class FVAEGANConfig(VAEGANConfig):
    """The settings of f-VAEGAN-D2.

    `encoded_noise` is a flag of that code, which all of its scripts set: G's features that D sees are then those of the
    VAE, from noise of the encoder.  Without it they are made of normal noise, as at synthesis.
    """

    encoded_noise: bool = False


@stage
def train_f_vaegan(train: TrainSplit, config: FVAEGANConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train encoder, generator and critic on seen classes; attributes of unseen classes are not used."""
    generator = train_wgan(
        train,
        config.gan,
        lambda *_: VAEGANLosses(train, config, encoded_noise=config.encoded_noise),
        log,
        make_generator=SigmoidGenerator,
    )
    return GeneratorSynthesizer(train, generator, train.attributes)


METHODS = both_forms(
    name="f-VAEGAN-D2",
    train=train_f_vaegan,
    config=FVAEGANConfig(),
    rounds=(each("vae_weight", 0.01, 1.0),),
    citation="Xian, Sharma, Schiele, Akata: f-VAEGAN-D2: A Feature Generating Framework for Any-Shot Learning, "
    "CVPR 2019",
)
