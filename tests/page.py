"""A page as its reader has it: elements by CSS selector and the text that is visible in them.

    page = Page(client.get("/tiny/"))
    assert page.one("h1").text == "Tiny"
    assert "3 SAEs" in page.one("main").text
    assert page.has('nav a[href="/tiny/"]')

A page is a `str` too, its HTML, for what must not be in it anywhere.
"""

from functools import cached_property
from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode

# fmt: off
INLINE = {
    "a", "abbr", "b", "bdi", "cite", "code", "del", "dfn", "em", "i", "ins", "kbd", "label",
    "mark", "q", "s",
    "samp", "small", "span", "strong", "sub", "sup", "t", "time", "tspan", "u", "var",
}
# fmt: on
INVISIBLE = {"head", "script", "style", "template", "noscript"}


class Element:
    """One element, and the elements below it."""

    def __init__(self, node: LexborNode) -> None:
        self.node = node

    @property
    def text(self) -> str:
        """The visible text, with single spaces."""
        return " ".join("".join(_visible(self.node)).split())

    def __getitem__(self, attribute: str) -> str:
        return self.node.attributes[attribute] or ""

    def __repr__(self) -> str:
        return (self.node.html or "")[:300]

    def all(self, selector: str, text: str = "") -> list["Element"]:
        """The elements, where `text` is given those in whose visible text it is."""
        text = " ".join(text.split())
        elements = (Element(node) for node in self.node.css(selector))
        return [element for element in elements if text in element.text]

    def one(self, selector: str, text: str = "") -> "Element":
        """The only element of that kind."""
        elements = self.all(selector, text)
        assert len(elements) == 1, f"{len(elements)} elements are {selector} {text}: {elements}"
        return elements[0]

    def has(self, selector: str, text: str = "") -> bool:
        """Whether there are such elements, one or more."""
        return bool(self.all(selector, text))


class Page(Element, str):
    """The HTML of a response: a whole page, or a fragment that a script asked for."""

    def __new__(cls, response: Any) -> "Page":
        return str.__new__(cls, response.content.decode())

    def __init__(self, response: Any) -> None:
        pass

    @cached_property
    def node(self) -> LexborNode:  # type: ignore[override]
        root = LexborHTMLParser(str(self)).root
        assert root is not None
        return root

    __getitem__ = str.__getitem__  # type: ignore[assignment]
    __repr__ = str.__repr__


def _visible(node: LexborNode) -> list[str]:
    if node.tag == "-text":
        return [node.text_content or ""]
    if node.tag in INVISIBLE or "hidden" in node.attributes:
        return []
    pieces = [piece for child in node.iter(include_text=True) for piece in _visible(child)]
    return pieces if node.tag in INLINE else [" ", *pieces, " "]
