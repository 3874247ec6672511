"""Photos to answers: classes, votes of the spaces, attributes; new classes; a page."""
