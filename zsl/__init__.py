"""Generalized zero-shot learning: from features of seen classes to scores on unseen ones.

One legend of shapes holds in every file:

    N  images             B  batch                C  classes = S seen + U unseen
    D  visual feature     A  attribute            R  class representation    Z  noise

Labels are class ids in [0, C), the position of the class in the split file's `allclasses_names`; a softmax head's
local index never leaves the head.  Rows are 0-based official row numbers.  Accuracies are fractions in [0, 1].
"""
