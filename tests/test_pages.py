"""Pages of reports: escaped, complete, with every picture inside."""

import base64
import re

import numpy as np
import pytest
from jinja2 import UndefinedError

from vaegan.errors import UserError
from vaegan.media import decode_image
from vaegan.reports import chart, pages, png, render_page, write_page


@pytest.fixture
def template(monkeypatch):
    """A page made of text: returns a function that renders it."""
    environment = pages._environment()

    def render(text, **values):
        whole = '{% extends "page.html" %}{% import "parts.html" as parts %}' + text
        return environment.from_string(whole).render(**values)

    return render


def test_values_are_escaped_and_a_missing_one_is_an_error(template):
    text = template("{% block content %}{{ parts.table(['<b>'], [[name]]) }}{% endblock %}", name="<script>")
    assert "&lt;script&gt;" in text and "<th>&lt;b&gt;</th>" in text and "<script>" not in text
    with pytest.raises(UndefinedError):
        template("{% block content %}{{ forgotten }}{% endblock %}")


def test_json_in_a_page_cannot_end_its_script(template):
    text = template("{% block content %}<script>{{ facts | tojson }}</script>{% endblock %}", facts={"a": "</script>"})
    assert text.count("</script>") == 1 and "\\u003c/script" in text


def test_arrays_figures_and_pngs_are_pictures_inside_the_page(template):
    figure = chart(120, 80)
    figure.subplots().plot([1, 2])
    array = np.full((8, 16, 3), 200, np.uint8)
    body = "{% block content %}{% for image in images %}{{ parts.picture(image, 'a \"b\"') }}{% endfor %}{% endblock %}"
    text = template(body, images=[array, figure, png(figure)])
    found = re.findall(r'src="data:image/(webp|png);base64,([^"]+)"', text)
    assert [kind for kind, _ in found] == ["webp", "png", "png"]
    shapes = [decode_image(base64.b64decode(data)).shape for _, data in found]
    assert shapes == [(8, 16, 3), (80, 120, 3), (80, 120, 3)]
    assert 'alt="a &#34;b&#34;"' in text


def test_a_page_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((UserError, NotADirectoryError)):
        write_page(tmp_path / "file" / "page.html", "page.html")
    assert render_page("page.html").startswith("<!doctype html>")
