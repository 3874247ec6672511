"""The scores of a model: accuracies, curves, accuracies of classes, and the only reader of a TestSplit."""
