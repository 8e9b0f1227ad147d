"""Concepts of any text: the characters of a token, the kind of word it is part of, and its place
in the line.
"""

from workers.pipeline.concepts.concept import Concept, pattern_concept

LETTER = r"[^\W\d_]"
SINGLE_CHARACTERS = (
    ("comma", "a comma", r","),
    ("period", "a period", r"\."),
    ("colon", "a colon", r":"),
    ("semicolon", "a semicolon", r";"),
    ("equals", "an equals sign", r"="),
    ("hyphen", "a hyphen or dash", r"[-–—]"),
    ("underscore", "an underscore", r"_"),
    ("asterisk", "an asterisk", r"\*"),
    ("slash", "a slash", r"/"),
    ("backslash", "a backslash", r"\\"),
    ("hash", "a hash sign", r"#"),
    ("at", "an at sign", r"@"),
    ("percent", "a percent sign", r"%"),
    ("angle", "an angle bracket", r"[<>]"),
    ("exclamation", "an exclamation mark", r"!"),
    ("question", "a question mark", r"\?"),
    ("apostrophe", "an apostrophe or single quote", r"['‘’]"),
    ("double-quote", "a double quote", r"[\"“”]"),
    ("backtick", "a backtick", r"`"),
    ("bar", "a vertical bar or ampersand", r"[|&]"),
    ("dollar", "a currency sign", r"[$€£¥]"),
    ("opening", "an opening bracket", r"[(\[{]"),
    ("closing", "a closing bracket", r"[)\]}]"),
    ("plus", "a plus sign", r"\+"),
    ("caret", "a caret or tilde", r"[\^~]"),
)
"""Name, words and expression of concepts of one character each."""

CHARACTERS: tuple[Concept, ...] = (
    *(
        pattern_concept(f"character.{name}", words, f"(?:{expression})+")
        for name, words, expression in SINGLE_CHARACTERS
    ),
    pattern_concept("character.punctuation", "punctuation", r"[^\w\s]+"),
    pattern_concept("character.digit", "a digit", r"\d+"),
    pattern_concept("character.letter", "a letter", rf"{LETTER}+"),
    pattern_concept("character.upper", "a capital letter", r"[A-Z]+"),
    pattern_concept("character.non-ascii", "a character beyond ASCII", r"[^\x00-\x7f]+"),
    pattern_concept("character.line-end", "a line end", r"\n+"),
    pattern_concept("character.tab", "a tab", r"\t+"),
    pattern_concept(
        "character.repeated", "a character repeated three times or more", r"([^\s\w])\1\1+"
    ),
    pattern_concept("word.capitalised", "a capitalised word", rf"\b[A-Z][a-z]{LETTER}*\b"),
    pattern_concept("word.capitals", "an upper-case word", r"\b[A-Z]{2,}\b"),
    pattern_concept("word.lower", "a lower-case word", r"\b[a-z]+\b"),
    pattern_concept(
        "word.constant", "a name in capitals with underscores", r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b"
    ),
    pattern_concept("word.camel", "a name in CamelCase", r"\b[a-zA-Z]*[a-z][A-Z]\w*\b"),
    pattern_concept("word.snake", "a name in snake_case", r"\b[a-z0-9]*_?[a-z0-9]+_[a-z0-9_]*\b"),
    pattern_concept("word.dunder", "a name between double underscores", r"\b__\w+__\b"),
    pattern_concept("word.private", "a name after one underscore", r"\b_[a-zA-Z]\w*\b"),
    pattern_concept("word.letter", "a word of one letter", r"\b[a-zA-Z]\b"),
    pattern_concept("word.long", "a word of ten letters or more", rf"\b{LETTER}{{10,}}\b"),
    pattern_concept("word.with-digit", "a word with a digit in it", r"\b[a-zA-Z_]+\d\w*\b"),
    pattern_concept("number.whole", "a whole number", r"(?<![\w.])\d+(?![\w.])"),
    pattern_concept("number.decimal", "a number with a decimal point", r"\b\d+\.\d+\b"),
    pattern_concept("number.hex", "a hexadecimal number", r"\b0[xX][0-9a-fA-F]+\b"),
    pattern_concept("number.version", "a version number", r"\b\d+\.\d+\.\d+\w*"),
    pattern_concept("number.year", "a year", r"\b(?:19|20)\d\d\b"),
    pattern_concept(
        "number.date", "a date", r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b"
    ),
    pattern_concept("number.time", "a time of day", r"\b\d{1,2}:\d\d(?::\d\d)?\b"),
    pattern_concept("text.url", "in a web address", r"\b(?:https?|ftp)://[^\s<>\"']+"),
    pattern_concept("text.email", "in an e-mail address", r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    pattern_concept("text.path", "in a file path", r"(?:[\w.~-]+)?(?:/[\w.-]+){2,}"),
    pattern_concept(
        "text.file",
        "in a file name",
        r"\b[\w-]+\.(?:py|c|h|txt|json|html?|xml|js|css|md|rst|cfg|ini|toml|ya?ml|zip|gz)\b",
    ),
    pattern_concept("text.tag", "in a tag of HTML or XML", r"</?[a-zA-Z][^<>\n]*>"),
    pattern_concept("text.entity", "in an HTML entity", r"&#?\w+;"),
    pattern_concept(
        "text.escape",
        "in an escape sequence",
        r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{1,3}|.)",
    ),
    pattern_concept(
        "text.percent-field",
        "in a % field of a format",
        r"%(?:\(\w+\))?[-+ "
        r"#0]*[\d*]*(?:\.\d+)?[sdrifxXoeEgGc%]",
    ),
    pattern_concept("text.brace-field", "in a {} field of a format", r"\{[\w.!:\[\]]*\}"),
    pattern_concept("text.round", "inside round brackets", r"\(([^()\n]*)\)", 1),
    pattern_concept("text.square", "inside square brackets", r"\[([^\[\]\n]*)\]", 1),
    pattern_concept("text.curly", "inside curly brackets", r"\{([^{}\n]*)\}", 1),
    pattern_concept("text.double-quoted", "between double quotes", r"\"([^\"\n]*)\"", 1),
    pattern_concept("text.single-quoted", "between single quotes", r"(?<!\w)'([^'\n]*)'", 1),
    pattern_concept("text.backticked", "between backticks", r"`+([^`\n]*)`+", 1),
    pattern_concept(
        "text.sentence-start", "the first word of a sentence", r"(?:^|[.!?]\s+)([A-Z]\w*)", 1
    ),
    pattern_concept("text.doctest", "in a doctest", r"^\s*(?:>>>|\.\.\.).*$"),
    pattern_concept(
        "text.directive",
        "in a field or directive of reStructuredText",
        r"^\s*(?::\w[^:\n]*:|\.\. [\w-]+::).*$",
    ),
    pattern_concept("text.list", "in a list entry", r"^\s*(?:[-*+•]|\d+[.)])\s.*$"),
    pattern_concept(
        "text.todo", "a note such as TODO or XXX", r"\b(?:TODO|FIXME|XXX|HACK|NOTE|BUG)\b"
    ),
    pattern_concept(
        "text.licence",
        "in a line on licence or copyright",
        r"^.*\b(?:[Cc]opyright|[Ll]icen[cs]e[ds]?|COPYRIGHT)\b.*$",
    ),
    pattern_concept("text.rule", "in a line of dashes or the like", r"^\s*#?\s*[-=*~_#+]{3,}\s*$"),
    pattern_concept("text.table", "in a line with columns", r"^.*\S {3,}\S.*$"),
    pattern_concept("text.code-like", "in a line that looks like code", r"^.*[;{}:,()\[\]\\]\s*$"),
    pattern_concept("line.indentation", "indentation", r"^[ \t]+"),
    *(
        pattern_concept(f"line.indentation-{n}", f"indentation by {n}", rf"^ {{{n}}}(?! )")
        for n in (4, 8, 12, 16)
    ),
    pattern_concept("line.indented-more", "indentation by more than 16", r"^ {17,}"),
    pattern_concept(
        "line.continued", "indentation by no multiple of four", r"^(?: {4})* {1,3}(?! )"
    ),
    *(
        pattern_concept(f"line.at-{n}", f"in a line indented by {n}", rf"^ {{{n}}}(\S.*)$", 1)
        for n in (4, 8, 12)
    ),
    pattern_concept("line.unindented", "in a line without indentation", r"^\S.*$"),
    pattern_concept("line.first", "the first word of a line", r"^[ \t]*(\w+|[^\w\s]+)", 1),
    pattern_concept(
        "line.second", "the second word of a line", r"^[ \t]*\S+[ \t]+(\w+|[^\w\s]+)", 1
    ),
    pattern_concept("line.blank", "an empty line", r"\n[ \t]*\n"),
    pattern_concept("line.two-blank", "two empty lines", r"\n[ \t]*\n[ \t]*\n"),
    pattern_concept("line.long", "beyond the 60th column", r"^.{60}(.+)$", 1),
)
