"""Pages and charts of every report: Jinja2 templates with one style sheet, matplotlib, no file beside the page."""

from vaegan.reports.charts import chart, png
from vaegan.reports.pages import render_page, write_page

__all__ = ["chart", "png", "render_page", "write_page"]
