"""Earlier methods behind the evaluator of DCR-GAN, one file each."""
