"""Generative methods by name, each in two forms; a line below adds a file's methods."""

from __future__ import annotations

from zsl.generative import (
    afcgan,
    cada_vae,
    ce_gzsl,
    cycle_clswgan,
    dascn,
    f_vaegan,
    free,
    gazsl,
    gdan,
    lisgan,
    lsrgan,
    srgan,
    tf_vaegan,
    zerodiff,
)

METHODS = (
    *cada_vae.METHODS,
    *f_vaegan.METHODS,
    *tf_vaegan.METHODS,
    *ce_gzsl.METHODS,
    *free.METHODS,
    *cycle_clswgan.METHODS,
    *lsrgan.METHODS,
    *gazsl.METHODS,
    *afcgan.METHODS,
    *lisgan.METHODS,
    *gdan.METHODS,
    *srgan.METHODS,
    *dascn.METHODS,
    *zerodiff.METHODS,
)
GENERATIVE = {method.name: method for method in METHODS}
