"""Photos to answers: classes, votes of the spaces, attributes; new classes; a page."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.predict.answers import Answer, as_text
    from zsl.predict.encoders import export
    from zsl.predict.new_classes import add_classes
    from zsl.predict.photos import Limits, Unread, find_photos
    from zsl.predict.predictor import Predictor, load_predictor
    from zsl.predict.reader import Reader, open_reader
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "Answer",
    "Limits",
    "Predictor",
    "Reader",
    "Unread",
    "add_classes",
    "as_text",
    "export",
    "find_photos",
    "load_predictor",
    "open_reader",
]
