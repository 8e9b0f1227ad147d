"""Labels as rows of a file: what each column is, and what is wrong with one that came in."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from django.db.models import F, QuerySet

from features.models import Label, LabelScore, Sae
from features.models.label import UPLOADED
from features.records import InvalidInput, InvalidParams, ScoreRecord
from features.text_cleaning import clean

COLUMNS = (
    "sae",
    "index",
    "text",
    "method",
    "author",
    "chosen",
    "for",
    "against",
    "support",
    "scores",
    "created",
    "updated",
)
SCORE_COLUMNS = (
    "kind",
    "scorer",
    "negatives",
    "value",
    "low",
    "high",
    "n",
    "f1",
    "balanced_accuracy",
    "auroc",
    "details",
)
LONGEST_METHOD = 50 - len(UPLOADED)
MAX_REPORTED_ERRORS = 20
"""Wrong rows that are listed; who has more repairs those first."""
SHARES = ("f1", "balanced_accuracy", "auroc")
MAX_SCORES = 50
MAX_DETAILS = 10_000
LARGEST = 1e300


class LabelRow(NamedTuple):
    """One label of a file, checked. `stated` is what the file says of its author and votes, which
    counts nothing here.
    """

    number: int
    index: int  # type: ignore[assignment]  # tuple has a method of that name, unused here
    text: str
    method: str
    scores: list[ScoreRecord]
    stated: dict[str, Any]


def rows_of(sae: Sae) -> Iterator[dict[str, Any]]:
    """Every label of an SAE that is shown, by feature, best first: two queries, and no more columns
    than are written.
    """
    scores = defaultdict(list)
    scored = LabelScore.objects.filter(label__sae=sae, version=F("label__version")).order_by(
        "label", "kind"
    )
    for label, *values in scored.values_list("label", *SCORE_COLUMNS).iterator():
        scores[label].append(dict(zip(SCORE_COLUMNS, values, strict=True)))
    rows: QuerySet[Any] = (
        Label.objects.shown().filter(sae=sae).order_by("feature__index", "-support", "id")
    )
    named = {
        "index": F("feature__index"),
        "writer": F("author__username"),
        "for": F("weight") + F("up"),
        "against": F("down"),
        "chosen": F("feature__label"),
    }
    columns: QuerySet[Any] = rows.values(
        "pk", "text", "method", "support", "created", "updated", **named
    )
    for row in columns.iterator():
        chosen, times = (
            row["chosen"] == row["pk"],
            {name: row[name].isoformat() for name in ("created", "updated")},
        )
        known = {
            "sae": str(sae),
            "author": row["writer"],
            "chosen": chosen,
            "scores": scores.get(row["pk"], []),
        }
        yield {name: row.get(name) for name in COLUMNS} | known | times


def check(rows: Iterable[Mapping[str, Any]], sae: Sae, known: set[int]) -> list[LabelRow]:
    """The rows as labels of an SAE whose computed features have the indices `known`. Raises
    `InvalidParams` with all that is wrong.
    """
    found, errors, seen = [], [], {}  # type: list[LabelRow], list[str], dict[Any, int]
    for number, row in enumerate(rows, 1):
        try:
            label = _label(number, row, sae, known)
        except InvalidInput as error:
            errors.append(f"Row {number}, {error.field}: {error.message}")
            continue
        key = (label.index, label.method, label.text.lower())
        if key in seen:
            errors.append(
                f"Row {number}, text: row {seen[key]} says the same of feature {label.index}."
            )
        seen.setdefault(key, number)
        found.append(label)
    if errors:
        more = len(errors) - MAX_REPORTED_ERRORS
        raise InvalidParams(
            {"file": errors[:MAX_REPORTED_ERRORS] + ([f"And {more} more."] if more > 0 else [])}
        )
    return found


def _label(number: int, row: Mapping[str, Any], sae: Sae, known: set[int]) -> LabelRow:
    unknown = [str(name) for name in row if name not in COLUMNS]
    if unknown:
        raise InvalidInput(
            unknown[0][:50], f"There is no such column. Known: {', '.join(COLUMNS)}."
        )
    if row.get("sae") not in (None, "", str(sae)):
        raise InvalidInput(
            "sae", f"It says “{str(row['sae'])[:100]}”, and the file was sent for {sae}."
        )
    index = _whole(row.get("index"), "index")
    if index not in known:
        raise InvalidInput(
            "index", f"{sae} has no computed feature {index:,}; its width is {sae.width:,}."
        )
    text = row.get("text")
    if not isinstance(text, str):
        raise InvalidInput("text", "A text is needed.")
    method = " ".join(_string(row, "method", LONGEST_METHOD).split()) or Label.PERSON
    if method != Label.PERSON:
        method = UPLOADED + method.removeprefix(UPLOADED)
    stated: dict[str, Any] = {"author": _string(row, "author", 200)}
    stated |= {
        name: _whole(row[name], name)
        for name in ("for", "against")
        if row.get(name) not in (None, "")
    }
    stated = {name: value for name, value in stated.items() if value not in (None, "")}
    return LabelRow(number, index, clean(text), method, list(_scores(row.get("scores"))), stated)


def _scores(given: Any) -> Iterator[ScoreRecord]:
    if isinstance(given, str):
        try:
            given = json.loads(given) if given.strip() else []
        except (ValueError, RecursionError):
            raise InvalidInput("scores", "Write them as a JSON list of objects.") from None
    if given is None:
        return
    if not isinstance(given, list) or len(given) > MAX_SCORES:
        raise InvalidInput("scores", f"Write them as a list of at most {MAX_SCORES}.")
    seen = set()
    for one in given:
        score = _score(one)
        if (key := (score.kind, score.scorer, score.negatives)) in seen:
            raise InvalidInput("scores", f"Two of the kind {score.kind} by the same scorer.")
        seen.add(key)
        yield score


def _score(one: Any) -> ScoreRecord:
    if not isinstance(one, dict) or one.keys() - set(SCORE_COLUMNS):
        raise InvalidInput("scores", f"Each is an object of {', '.join(SCORE_COLUMNS)}.")
    kind = one.get("kind")
    if kind not in LabelScore.Kind.values:
        raise InvalidInput("scores", f"kind is one of {', '.join(LabelScore.Kind.values)}.")
    value, low, high = (_number(one, name, name == "value") for name in ("value", "low", "high"))
    assert value is not None
    shares = {name: _number(one, name) for name in SHARES}
    if any(share is not None and not 0 <= share <= 1 for share in shares.values()):
        raise InvalidInput("scores", "f1, balanced_accuracy and auroc are from 0 to 1.")
    if kind == LabelScore.Kind.CONCEPT and shares["f1"] is None:
        shares["f1"] = value  # a concept's value is its F1
    details = one.get("details") or {}
    if not isinstance(details, dict) or not _plain(details):
        raise InvalidInput(
            "scores",
            f"details is an object of plain values, at most {MAX_DETAILS:,} characters as JSON.",
        )
    return ScoreRecord(
        kind,
        value,
        low,
        high,
        _whole(one.get("n", 0), "scores"),
        details=details,
        scorer=_string(one, "scorer", 200, "scores"),
        negatives=_string(one, "negatives", 20, "scores"),
        **shares,
    )


def _string(row: Mapping[str, Any], name: str, longest: int, column: str = "") -> str:
    value = row.get(name)
    if value is None:
        return ""
    if (
        not isinstance(value, str)
        or len(value) > longest
        or not all(c.isprintable() for c in value)
    ):
        raise InvalidInput(
            column or name, f"{name} is a text of at most {longest} characters on one line."
        )
    return value


def _plain(details: dict[str, Any]) -> bool:
    """Whether it is JSON that PostgreSQL accepts, and not too long."""
    try:
        text = json.dumps(details, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return len(text) <= MAX_DETAILS and "\\u0000" not in text


def _whole(value: Any, name: str) -> int:
    if (
        isinstance(value, str)
        and value.strip().isascii()
        and value.strip().isdecimal()
        and len(value) < 15
    ):
        value = int(value)
    if isinstance(value, float) and value.is_integer() and 0 <= value < 2**31:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
        return value
    raise InvalidInput(name, "A whole number from 0 on is needed.")


def _number(row: Mapping[str, Any], name: str, needed: bool = False) -> float | None:
    value = row.get(name)
    if value is None and not needed:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        raise InvalidInput("scores", f"{name} must be a number below {LARGEST:g}.")
    return float(value)
