"""Fine-tuning of a backbone on the photos of seen classes, and the question whether it helps unseen ones."""
