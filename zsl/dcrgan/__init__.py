"""DCR-GAN (Ye et al. 2022): the method, its parts, its recipes and its variants."""
