"""Pages and charts of every report: Jinja2 templates with one style sheet, matplotlib, no file beside the page."""

from vaegan.reports.charts import chart, png
from vaegan.reports.pages import render_page, write_page
from vaegan.reports.pictures import grid

__all__ = ["chart", "grid", "png", "render_page", "write_page"]
