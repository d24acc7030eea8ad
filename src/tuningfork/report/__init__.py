"""One HTML page of a run, from its files alone."""

from tuningfork.report.page import render_report

__all__ = ["render_report"]
