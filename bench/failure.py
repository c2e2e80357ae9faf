"""Why something could not be measured.

A figure that was not measured is never printed as one: whoever cannot measure raises one of these,
and the report shows the sentence in place of a number.
"""

from __future__ import annotations


class RowFailed(Exception):
    """This row has no honest figure in this run; the message says why, in words."""


class ToolMissing(Exception):
    """A program or a place that every row needs is not there; the message says what to do."""
