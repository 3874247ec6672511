"""Generalized zero-shot learning: from features of seen classes to scores of unseen classes.

All files use these letters for shapes:

    N  images             B  batch                C  classes = S seen + U unseen
    D  visual feature     A  attribute            R  class representation    Z  noise

Labels are class ids in [0, C): the position of the class in the split file's `allclasses_names`.  The local index of a
softmax head stays inside the head.  Rows are official row numbers, from 0.  Accuracies are fractions in [0, 1].
"""
