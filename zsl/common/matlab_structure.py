"""The structure of a MATLAB 5 file, checked before SciPy reads it: a damaged one can crash SciPy's reader.

A file is a header of 128 bytes and then elements, each with a tag of type and length.  An array is an element that
holds others: flags, dimensions, name, values.  (MathWorks, "MAT-File Level 5 File Format".)
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

HEADER = 128
ORDERS = {b"IM": "<", b"MI": ">"}  # the last two bytes of the header, and the order of bytes that they mean
MATRIX, COMPRESSED = 14, 15  # types of elements
INT8, INT32, UINT32 = 1, 5, 6
ITEM_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}  # of types of numbers
TEXT_TYPES = (1, 2, 4, 16, 17, 18)
CELL, STRUCT, OBJECT, CHAR, SPARSE = 1, 2, 3, 4, 5  # classes of arrays
NUMERIC = range(6, 16)
COMPLEX = 0x800  # a flag of arrays
DEEPEST = 20  # cells in cells


class StructureError(ValueError):
    """What is wrong with a file, in words."""


@dataclass(frozen=True)
class Element:
    """One element: its type, and where in the buffer its bytes lie."""

    kind: int
    start: int
    length: int


@dataclass
class Walk:
    """A walk through the elements of a buffer."""

    buffer: memoryview
    order: str  # "<" or ">"
    position: int
    end: int

    def take(self) -> Element:
        """The next element, in the long or the short form; the walk goes on behind it.

        Raises:
            StructureError: the element does not fit.
        """
        if self.position + 8 > self.end:
            raise StructureError("it ends within an element")
        first, length = struct.unpack_from(f"{self.order}II", self.buffer, self.position)
        if first >> 16:  # short: type and length in four bytes, the content in the next four
            element = Element(first & 0xFFFF, self.position + 4, first >> 16)
            behind = self.position + 8
            if element.length > 4:
                raise StructureError("an element is longer than its place")
        else:
            element = Element(first, self.position + 8, length)
            padding = 0 if first == COMPRESSED else -length % 8
            behind = element.start + length + padding
        if element.start + element.length > self.end:
            raise StructureError("it is cut short, or a length in it is wrong")
        self.position = min(behind, self.end)
        return element

    def numbers(self, element: Element, kind: int) -> tuple[int, ...]:
        """The whole numbers of four bytes in an element, which is of type `kind`."""
        if element.kind != kind or element.length % 4:
            raise StructureError("dimensions or flags of an array are damaged")
        code = "i" if kind == INT32 else "I"
        return struct.unpack_from(f"{self.order}{element.length // 4}{code}", self.buffer, element.start)

    def into(self, element: Element) -> Walk:
        """A walk through what an element holds."""
        return Walk(self.buffer, self.order, element.start, element.start + element.length)


def check_structure(content: bytes | memoryview, wanted: Collection[str]) -> None:
    """Check the elements of a file, and the arrays of the names `wanted` to their end.

    Of other arrays SciPy reads no values, so that they may be of any class.

    Raises:
        StructureError: the file is damaged, or holds a wanted array of a class that is no plain data.
    """
    buffer = memoryview(content)
    order = ORDERS.get(bytes(buffer[HEADER - 2 : HEADER]))
    if order is None:
        raise StructureError("its header is damaged")
    walk = Walk(buffer, order, HEADER, len(buffer))
    while walk.position < walk.end:
        element = walk.take()
        if element.kind == COMPRESSED:
            _check_variable(_decompressed(walk, element), wanted)
        elif element.kind == MATRIX:
            _check_variable(walk.into(element), wanted)
        else:
            raise StructureError(f"it holds an element of type {element.kind} in the place of an array")


def _decompressed(walk: Walk, element: Element) -> Walk:
    """A walk through the array in a compressed element."""
    try:
        content = zlib.decompress(walk.buffer[element.start : element.start + element.length])
    except zlib.error as error:
        raise StructureError(f"a compressed array is damaged: {error}") from error
    inner = Walk(memoryview(content), walk.order, 0, len(content))
    array = inner.take()
    if array.kind != MATRIX:
        raise StructureError("a compressed element is no array")
    return inner.into(array)


def _check_variable(walk: Walk, wanted: Collection[str]) -> None:
    """Check a variable of the file, whose values are read if its name is a wanted one."""
    start = walk.position
    walk.take()  # flags
    second = walk.take()
    name = walk.take() if second.kind == INT32 else second  # functions and objects have no dimensions
    if bytes(walk.buffer[name.start : name.start + name.length]).decode("latin-1") in wanted:
        walk.position = start
        _check_array(walk, 0)


def _check_array(walk: Walk, depth: int) -> None:
    """Check one array, and the arrays in it; an array without bytes is an empty one."""
    if depth > DEEPEST:
        raise StructureError(f"it holds arrays in arrays, more than {DEEPEST} deep")
    if walk.position == walk.end:
        return
    flags = walk.numbers(walk.take(), UINT32)
    dimensions = walk.numbers(walk.take(), INT32)
    name = walk.take()
    if len(flags) != 2 or len(dimensions) < 2 or min(dimensions) < 0 or name.kind != INT8:
        raise StructureError("dimensions, flags or name of an array are damaged")
    kind, count, is_complex = flags[0] & 0xFF, math.prod(dimensions), bool(flags[0] & COMPLEX)
    if kind in NUMERIC:
        for _ in range(1 + is_complex):
            _check_values(walk, count)
    elif kind == CHAR:
        _check_text(walk, count)
    elif kind == SPARSE:
        _check_sparse(walk, dimensions, is_complex)
    elif kind == CELL:
        _check_inner(walk, count, depth)
    elif kind in (STRUCT, OBJECT):
        _check_struct(walk, count, depth, has_class=kind == OBJECT)
    else:
        raise StructureError(f"it holds an array of class {kind}, which is no plain data but a function or an object")
    if walk.position != walk.end:
        raise StructureError("bytes follow the values of an array")


def _check_values(walk: Walk, count: int) -> None:
    element = walk.take()
    size = ITEM_SIZES.get(element.kind)
    if size is None or element.length != size * count:
        raise StructureError(f"an array of {count} numbers has {element.length} bytes of type {element.kind}")


def _check_text(walk: Walk, count: int) -> None:
    """Text may lack its element where it is empty; in UTF-8 a character has one byte or more."""
    if walk.position == walk.end and count == 0:
        return
    element = walk.take()
    if element.kind not in TEXT_TYPES or (count and element.length < count):
        raise StructureError(f"a text of {count} characters has {element.length} bytes of type {element.kind}")


def _check_sparse(walk: Walk, dimensions: tuple[int, ...], is_complex: bool) -> None:
    rows = np.array(walk.numbers(walk.take(), INT32), dtype=np.int64)
    starts = np.array(walk.numbers(walk.take(), INT32), dtype=np.int64)
    fits = len(dimensions) == 2 and len(starts) == dimensions[1] + 1 and starts[0] == 0
    if not fits or (np.diff(starts) < 0).any() or starts[-1] > len(rows):
        raise StructureError("the columns of a sparse array are damaged")
    used = rows[: starts[-1]]
    if (used < 0).any() or (used >= dimensions[0]).any():
        raise StructureError("a sparse array has an entry outside it")
    for _ in range(1 + is_complex):
        element = walk.take()
        size = ITEM_SIZES.get(element.kind)
        if size is None or element.length % size or element.length // size < starts[-1]:
            raise StructureError("the entries of a sparse array are damaged")


def _check_inner(walk: Walk, count: int, depth: int) -> None:
    if count > (walk.end - walk.position) // 8:
        raise StructureError(f"a cell array of {count} cells has {walk.end - walk.position} bytes")
    for _ in range(count):
        element = walk.take()
        if element.kind != MATRIX:
            raise StructureError("a cell or a field is no array")
        _check_array(walk.into(element), depth + 1)


def _check_struct(walk: Walk, count: int, depth: int, *, has_class: bool) -> None:
    if has_class:
        walk.take()
    lengths, names = walk.numbers(walk.take(), INT32), walk.take()
    length = lengths[0] if len(lengths) == 1 else 0
    if length < 1 or names.kind != INT8 or names.length % length:
        raise StructureError("the names of a structure's fields are damaged")
    _check_inner(walk, count * (names.length // length), depth)
