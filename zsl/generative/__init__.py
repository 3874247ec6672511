"""Methods of other papers that generate features or latents of unseen classes, one file each on shared parts."""
