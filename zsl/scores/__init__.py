"""What a model is worth: scores, curves, accuracies of classes, and the only reader of a TestSplit."""
