"""The template of a run's report: our own, or a studio's. It runs in a sandbox, and every text is escaped."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from .report_view import ReportView, sample
from .text_file import TextFileError, read_text

if TYPE_CHECKING:
    from jinja2 import Environment, Template

OURS = "report.html.j2"
"""Our own template; a studio's may extend it, and give its blocks another content."""
FOLDER = Path(__file__).parent / "templates"
MOST_BYTES = 2**20
_NEVER_IN_A_PAGE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class ReportTemplateError(Exception):
    """A template that no report can be made with. `kind` is a stable word."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ReportTemplate:
    """Makes pages."""

    def __init__(self, template: Template, name: str) -> None:
        self._template = template
        self._name = name

    def page(self, report: ReportView) -> str:
        """The page of a run; characters that no page may hold become U+FFFD. Raises ReportTemplateError."""
        try:
            page = self._template.render(report=report)
        except Exception as error:  # noqa: BLE001  a template may raise anything
            line = _line_of(error.__traceback__)
            where = f"{self._name}, line {line}" if line is not None else self._name
            raise ReportTemplateError("invalid_template", f"{where}: {error or type(error).__name__}") from None
        return _NEVER_IN_A_PAGE.sub("\ufffd", page)


def our_template() -> ReportTemplate:
    """Our own. Raises ReportTemplateError where Jinja isn't installed."""
    return ReportTemplate(_environment().get_template(OURS), OURS)


def read_template(path: Path) -> ReportTemplate:
    """A studio's template, which is tried at once. Raises ReportTemplateError that says what is wrong, and where."""
    environment = _environment()
    from jinja2 import TemplateError, TemplateSyntaxError, nodes

    try:
        text = read_text(path, MOST_BYTES, "template")
    except TextFileError as error:
        raise ReportTemplateError(error.kind, str(error)) from None
    try:
        if environment.parse(text).find(nodes.ScopedEvalContextModifier) is not None:
            raise ReportTemplateError("invalid_template", f"{path}: what is escaped can't be changed by a template")
        template = ReportTemplate(environment.from_string(text), str(path))
    except TemplateSyntaxError as error:
        raise ReportTemplateError("invalid_template", f"{path}, line {error.lineno}: {error.message}") from None
    except (TemplateError, RecursionError) as error:
        raise ReportTemplateError("invalid_template", f"{path}: {error}") from None
    template.page(sample())
    return template


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """A sandbox: a template reaches texts and numbers, no file but our templates, and no code. All is escaped."""
    try:
        from jinja2 import FileSystemLoader, StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        hint = "to write a run's report, pip install 'run-recorder[runner]'"
        raise ReportTemplateError("unavailable", hint) from None
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    del environment.filters["safe"]  # a prompt's text is anybody's
    return environment


def _line_of(trace: TracebackType | None) -> int | None:
    """The line of a studio's template at which it ended; null where that can't be told."""
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
