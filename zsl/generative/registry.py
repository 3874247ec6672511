"""Generative methods by name, each in two forms; a line below adds a file's methods."""

from __future__ import annotations

from zsl.generative import afcgan, cycle_clswgan, dascn, gazsl, gdan, lisgan, lsrgan, srgan

METHODS = (
    *cycle_clswgan.METHODS,
    *lsrgan.METHODS,
    *gazsl.METHODS,
    *afcgan.METHODS,
    *lisgan.METHODS,
    *gdan.METHODS,
    *srgan.METHODS,
    *dascn.METHODS,
)
GENERATIVE = {method.name: method for method in METHODS}
