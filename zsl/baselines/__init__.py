"""Earlier methods, one file each; they have the same evaluator as DCR-GAN."""
