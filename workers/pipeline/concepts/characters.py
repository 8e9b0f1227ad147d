"""Concepts of any text: what characters a token holds, what kind of word it is part of, where on
its line it lies.
"""

from workers.pipeline.concepts.concept import Concept, pattern

WORD = r"[^\W\d_]"
NAMED = (
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
"""Single characters: each a concept of its own."""

CHARACTERS: tuple[Concept, ...] = (
    *(
        pattern(f"character.{name}", words, f"(?:{expression})+")
        for name, words, expression in NAMED
    ),
    pattern("character.punctuation", "punctuation", r"[^\w\s]+"),
    pattern("character.digit", "a digit", r"\d+"),
    pattern("character.letter", "a letter", rf"{WORD}+"),
    pattern("character.upper", "a capital letter", r"[A-Z]+"),
    pattern("character.non-ascii", "a character beyond ASCII", r"[^\x00-\x7f]+"),
    pattern("character.line-end", "a line end", r"\n+"),
    pattern("character.tab", "a tab", r"\t+"),
    pattern("character.repeated", "a character repeated three times or more", r"([^\s\w])\1\1+"),
    pattern("word.capitalised", "a capitalised word", rf"\b[A-Z][a-z]{WORD}*\b"),
    pattern("word.capitals", "a word in capitals", r"\b[A-Z]{2,}\b"),
    pattern("word.lower", "a word in small letters", r"\b[a-z]+\b"),
    pattern(
        "word.constant", "a name in capitals with underscores", r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b"
    ),
    pattern("word.camel", "a name in CamelCase", r"\b[a-zA-Z]*[a-z][A-Z]\w*\b"),
    pattern("word.snake", "a name in snake_case", r"\b[a-z0-9]*_?[a-z0-9]+_[a-z0-9_]*\b"),
    pattern("word.dunder", "a name between double underscores", r"\b__\w+__\b"),
    pattern("word.private", "a name after one underscore", r"\b_[a-zA-Z]\w*\b"),
    pattern("word.letter", "a word of one letter", r"\b[a-zA-Z]\b"),
    pattern("word.long", "a word of ten letters or more", rf"\b{WORD}{{10,}}\b"),
    pattern("word.with-digit", "a word with a digit in it", r"\b[a-zA-Z_]+\d\w*\b"),
    pattern("number.whole", "a whole number", r"(?<![\w.])\d+(?![\w.])"),
    pattern("number.decimal", "a number with a decimal point", r"\b\d+\.\d+\b"),
    pattern("number.hex", "a hexadecimal number", r"\b0[xX][0-9a-fA-F]+\b"),
    pattern("number.version", "a version number", r"\b\d+\.\d+\.\d+\w*"),
    pattern("number.year", "a year", r"\b(?:19|20)\d\d\b"),
    pattern("number.date", "a date", r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b"),
    pattern("number.time", "a time of day", r"\b\d{1,2}:\d\d(?::\d\d)?\b"),
    pattern("text.url", "in a web address", r"\b(?:https?|ftp)://[^\s<>\"']+"),
    pattern("text.email", "in an e-mail address", r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    pattern("text.path", "in a file path", r"(?:[\w.~-]+)?(?:/[\w.-]+){2,}"),
    pattern(
        "text.file",
        "in a file name",
        r"\b[\w-]+\.(?:py|c|h|txt|json|html?|xml|js|css|md|rst|cfg|ini|toml|ya?ml|zip|gz)\b",
    ),
    pattern("text.tag", "in a tag of HTML or XML", r"</?[a-zA-Z][^<>\n]*>"),
    pattern("text.entity", "in an HTML entity", r"&#?\w+;"),
    pattern(
        "text.escape",
        "in an escape sequence",
        r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{1,3}|.)",
    ),
    pattern(
        "text.percent-field",
        "in a % field of a format",
        r"%(?:\(\w+\))?[-+ "
        r"#0]*[\d*]*(?:\.\d+)?[sdrifxXoeEgGc%]",
    ),
    pattern("text.brace-field", "in a {} field of a format", r"\{[\w.!:\[\]]*\}"),
    pattern("text.round", "inside round brackets", r"\(([^()\n]*)\)", 1),
    pattern("text.square", "inside square brackets", r"\[([^\[\]\n]*)\]", 1),
    pattern("text.curly", "inside curly brackets", r"\{([^{}\n]*)\}", 1),
    pattern("text.double-quoted", "between double quotes", r"\"([^\"\n]*)\"", 1),
    pattern("text.single-quoted", "between single quotes", r"(?<!\w)'([^'\n]*)'", 1),
    pattern("text.backticked", "between backticks", r"`+([^`\n]*)`+", 1),
    pattern("text.sentence-start", "the first word of a sentence", r"(?:^|[.!?]\s+)([A-Z]\w*)", 1),
    pattern("text.doctest", "in a doctest", r"^\s*(?:>>>|\.\.\.).*$"),
    pattern(
        "text.directive",
        "in a field or directive of reStructuredText",
        r"^\s*(?::\w[^:\n]*:|\.\. [\w-]+::).*$",
    ),
    pattern("text.list", "in a list entry", r"^\s*(?:[-*+•]|\d+[.)])\s.*$"),
    pattern("text.todo", "a note such as TODO or XXX", r"\b(?:TODO|FIXME|XXX|HACK|NOTE|BUG)\b"),
    pattern(
        "text.licence",
        "in a line on licence or copyright",
        r"^.*\b(?:[Cc]opyright|[Ll]icen[cs]e[ds]?|COPYRIGHT)\b.*$",
    ),
    pattern("text.rule", "in a line that is a rule", r"^\s*#?\s*[-=*~_#+]{3,}\s*$"),
    pattern("text.table", "in a line with columns", r"^.*\S {3,}\S.*$"),
    pattern("text.code-like", "in a line that ends as code does", r"^.*[;{}:,()\[\]\\]\s*$"),
    pattern("line.indentation", "indentation", r"^[ \t]+"),
    *(
        pattern(f"line.indentation-{n}", f"indentation by {n}", rf"^ {{{n}}}(?! )")
        for n in (4, 8, 12, 16)
    ),
    pattern("line.indented-more", "indentation by more than 16", r"^ {17,}"),
    pattern("line.continued", "indentation by no multiple of four", r"^(?: {4})* {1,3}(?! )"),
    *(
        pattern(f"line.at-{n}", f"in a line indented by {n}", rf"^ {{{n}}}(\S.*)$", 1)
        for n in (4, 8, 12)
    ),
    pattern("line.unindented", "in a line without indentation", r"^\S.*$"),
    pattern("line.first", "the first word of a line", r"^[ \t]*(\w+|[^\w\s]+)", 1),
    pattern("line.second", "the second word of a line", r"^[ \t]*\S+[ \t]+(\w+|[^\w\s]+)", 1),
    pattern("line.blank", "an empty line", r"\n[ \t]*\n"),
    pattern("line.two-blank", "two empty lines", r"\n[ \t]*\n[ \t]*\n"),
    pattern("line.long", "beyond the 60th column", r"^.{60}(.+)$", 1),
)
