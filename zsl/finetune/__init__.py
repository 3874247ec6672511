"""Fine-tuning of a backbone on the photos of seen classes, and the verdict whether unseen ones gain."""
