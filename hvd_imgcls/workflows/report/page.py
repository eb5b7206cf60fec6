"""Assembles a page: template, style sheet, scripts and Plotly in one file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import plotly.offline
from markupsafe import Markup, escape

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.atomic import write_bytes
from hvd_imgcls.workflows.report.charts import Chart

_FOLDER = Path(__file__).parent / "templates"
_SEPARATORS = re.compile(r"([/._:,-])(?=[^/._:,-])")


def page_text(template: str, charts: Sequence[Chart], **values: Any) -> str:
    """Returns a page, HTML.

    Args:
        template: Name of the template.
        charts: Charts, each drawn into the element with its name.
        values: Values for the template.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    environment.filters["interval"] = _interval
    environment.filters["breakable"] = breakable
    return environment.get_template(template).render(
        style=Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),
        script=Markup((_FOLDER / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(plotly.offline.get_plotlyjs()),
        charts_json=_for_script({chart.name: chart.figure.to_plotly_json() for chart in charts}),
        **values,
    )


def write_page(out_path: Path, text: str) -> None:
    """Writes a page atomically.

    Args:
        out_path: The file.
        text: From `page_text`.

    Raises:
        ConfigError: If it cannot be written.
    """
    try:
        # A path need not be text; what stands for its other bytes cannot be encoded.
        write_bytes(out_path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError(
            "--out",
            got=f"{out_path} ({error.strerror or error})",
            expected="a file that can be written",
            fix="choose another one with --out FILE",
        ) from error


def _for_script(value: Any) -> Markup:
    """Returns JSON that cannot close the script element that contains it."""
    import plotly.io

    text: str = plotly.io.json.to_json_plotly(value)
    for character, escaped in {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}.items():
        text = text.replace(character, escaped)
    return Markup(text)


def _interval(ends: Sequence[float]) -> str:
    """Formats a confidence interval for a table."""
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


def _figure(value: float | None) -> str:
    """Formats a number for a table: about four significant digits, whole from 1,000 on.

    >>> [_figure(value) for value in (None, 12, 3428.4, 61.25, 0.51667)]
    ['-', '12', '3,428', '61.2', '0.5167']
    """
    if value is None:
        return "-"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"


def breakable(text: str) -> Markup:
    """Returns text that may be broken after the separators of names, and not within words."""
    parts = _SEPARATORS.sub(r"\1\0", text.replace("\0", "")).split("\0")
    return Markup("<wbr>").join(escape(part) for part in parts)
