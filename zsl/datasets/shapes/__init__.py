"""A configuration and a folder in; out: an embedded benchmark of drawn photos in the layout of a real one.

A class is one value of each attribute group (two red striped stars, framed, on bricks, say); unseen classes are new
combinations of values that seen classes have.  Nothing is downloaded, and equal configurations give equal bytes.

    design.py    which classes there are, and their attributes    write.py    the folder with photos and official files
    photo.py     one photo: ground, clutter, objects, camera      ground.py, objects.py, clutter.py on canvas.py

Letters: `H, W` pixels, `C` classes, `A` attributes, `G` groups, `N` images.  Colours and tones are in [0, 1].
"""

from zsl.datasets.shapes.design import ShapesConfig, make_design
from zsl.datasets.shapes.photo import draw_jpeg
from zsl.datasets.shapes.write import split_rows, write_shapes

__all__ = ["ShapesConfig", "draw_jpeg", "make_design", "split_rows", "write_shapes"]
