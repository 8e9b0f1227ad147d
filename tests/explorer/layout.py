"""HTML without the white space that a browser does not show either."""

import re

TAG = re.compile(r"""<!?/?[A-Za-z](?:[^"'>]|"[^"]*"|'[^']*')*>|<!--.*?-->""", re.DOTALL)
QUOTED = re.compile(r"""("[^"]*"|'[^']*')""")
BLOCKS = frozenset(
    re.findall(
        r"\w+",
        "doctype article aside body br button circle dd details dialog div dl dt fieldset footer "
        "form h1 h2 h3 head header html legend li line link main meta nav noscript ol optgroup "
        "option p path rect script section select style summary svg table tbody td text th thead "
        "title tr ul",
    )
)
"""Elements at whose edges white space is not shown."""
SPACES = " \t\r\n"
VOID = frozenset(["br", "hr", "img", "input", "link", "meta"])
INLINE_BOXES = frozenset(["img", "input", "output", "textarea", "t"])
PRESERVED = frozenset(["pre", "textarea"])
PRESERVED_CLASSES = re.compile(r'class="[^"]*\b(tokens|diff|prose|log|code-block)\b')


def collapsed(html: str) -> str:
    """The same page with each run of white space as one space, and none at the edges of blocks."""
    parts: list[str] = []
    space: int | None = None  # where among the parts a space stands if something follows
    at_edge = True
    preserved: list[int] = []  # depths of the elements in which white space is shown
    depth = end = 0

    def show(text: str) -> None:
        nonlocal space, at_edge
        if space is not None:
            parts[space] = " "
        parts.append(text)
        space, at_edge = None, False

    def pause() -> None:
        nonlocal space
        if space is None and not at_edge:
            space = len(parts)
            parts.append("")

    for match in [*TAG.finditer(html), None]:
        text = html[end : match.start() if match else None]
        if preserved:
            show(text)
        elif text:
            if text[0] in SPACES:
                pause()
            if words := " ".join(re.findall(r"[^ \t\r\n]+", text)):
                show(words)
                if text[-1] in SPACES:
                    pause()
        if match is None:
            break
        end = match.end()
        tag = _tidy(match[0])
        name = re.match(r"<[!/]?([\w-]+)", tag)[1].lower()
        opens, closes = _opens(tag, name), tag.startswith("</")
        if opens and (name in PRESERVED or PRESERVED_CLASSES.search(tag)):
            preserved.append(depth)
        if closes:
            depth -= 1
            if preserved and preserved[-1] == depth:
                preserved.pop()
        depth += opens
        if name in BLOCKS:
            space, at_edge = None, True
            parts.append(tag)
        elif name in INLINE_BOXES and not closes:
            show(tag)
        else:
            parts.append(tag)
    return "".join(parts)


def _opens(tag: str, name: str) -> bool:
    return not tag.startswith(("</", "<!")) and not tag.endswith("/>") and name not in VOID


def _tidy(tag: str) -> str:
    """One space between attributes, none before the end."""
    parts = [
        part if i % 2 else re.sub(r"\s+", " ", part) for i, part in enumerate(QUOTED.split(tag))
    ]
    return re.sub(r" (/?>)$", r"\1", "".join(parts))
