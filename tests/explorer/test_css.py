"""CSS classes: each is styled in one file, and each that pages use exists."""

import re
from collections import defaultdict

from tests.conftest import ROOT

SHEETS = {path.name: path.read_text() for path in sorted((ROOT / "static/css").glob("*.css"))}
OWN = {
    "components.css": r"\.(entry|browse)\b",
    "collections.css": r"\.collection-",
    "jobs.css": r"\.job-|#start",
    "labels.css": r"\.(label|labels|feed|queue|comment)\b|#talk",
    "search.css": r"\.search\b|\.labels\b",
    "steer.css": r"\.steer\b|#mine",
}
"""What the selectors of a page's own sheet may begin with to restyle a shared component there."""
HOOKS = {"provenance", "test"}
"""Classes of templates that only tests look for."""
STATES = {"finished", "success"}
"""Values of a class that varies, which look like the component itself."""
CLASS = r"\.([a-z][\w-]*)"


def selectors(css: str) -> list[str]:
    """Every selector of a style sheet, one without commas each."""
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    css = re.sub(r"@(?:media|keyframes)[^{]*\{", "", css)
    lists = re.findall(r"([^{};]+)\{", re.sub(r"\{[^{}]*\}", "{}", css))
    return [part.strip() for text in lists for part in re.split(r",(?![^(]*\))", text)]


def subject(selector: str) -> set[str]:
    """Classes of the element that a selector styles, rather than those it only looks for."""
    own = re.sub(r":(?:not|has)\((?:[^()]|\([^()]*\))*\)", "", selector)
    return set(re.findall(CLASS, re.split(r"[ >+~](?![^(]*\))", own)[-1]))


def used_classes() -> dict[str, str]:
    """Classes in templates, template tags and scripts, with one file that has them."""
    used = {}
    for folder, ending in (("templates", "html"), ("explorer", "py"), ("static/js", "js")):
        for path in (ROOT / folder).rglob(f"*.{ending}"):
            if "admin" in path.parts:
                continue
            text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "{}", path.read_text(), flags=re.DOTALL)
            for names in re.findall(r'\bclass(?:Name)?(?:=|: | = )"([^"]*)"', text):
                used |= dict.fromkeys(re.findall(r"(?<!\S)[a-z][\w-]*(?!\S)", names), str(path))
    return used


def test_a_class_is_styled_in_one_sheet_or_below_a_component_of_another():
    sheets_of = defaultdict(set)
    for sheet, css in SHEETS.items():
        for selector in selectors(css):
            if not re.search(OWN.get(sheet, "(?!)"), selector):
                for name in subject(selector):
                    sheets_of[name].add(sheet)
    assert {name: sheets for name, sheets in sheets_of.items() if len(sheets) > 1} == {}


def test_every_class_of_a_page_is_styled():
    styled = {name for css in SHEETS.values() for name in re.findall(CLASS, css)}
    unknown = {k: v for k, v in used_classes().items() if k not in styled | HOOKS | STATES}
    assert unknown == {}
