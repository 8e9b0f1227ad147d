"""manage.py show_steering MODEL/SLUG INDEX… : what steering with some features does, as a table for
a document.
"""

import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from features.character_names import name_hidden
from features.inference.requests import NoAnswer
from features.models import FeatureEffect, SteeringRun
from features.records import InvalidParams
from features.selectors import features as feature_selectors
from features.steering import run_views
from features.steering import runs as steering_runs
from features.steering.forms import STRENGTHS, SteerForm
from features.token_spans import text_of

PATIENCE = 1800.0
HEAD = (
    "| Feature | Reads | Writes | Output role (logits) | d | Best dose | Expressed: default, "
    "best, random | Breaks |"
)


class Command(BaseCommand):
    """Sweep each feature over strengths, and write a Markdown table with its measured roles and its
    text at the best dose.
    """

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """The SAE, its features and the prompt."""
        parser.add_argument("sae", help="As MODEL/SLUG.")
        parser.add_argument("indices", nargs="+", type=int)
        parser.add_argument("--prompt", default="def load(path):\n    ")
        parser.add_argument("--length", type=int, default=32)

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, wait, and write."""
        model, _, sae = options["sae"].partition("/")
        self.stdout.write(f"{HEAD}\n|{' --- |' * HEAD.count(' | ')} --- |")
        texts = []
        for index in options["indices"]:
            run = self._swept(model, sae, index, options)
            self.stdout.write(self._row(run, model, sae, index))
            texts.append(self._text(run, index))
        self.stdout.write("\n" + "\n".join(texts))

    def _swept(self, model: str, sae: str, index: int, options: dict[str, Any]) -> SteeringRun:
        intervention = {"sae": sae, "index": index, "strength": 1}
        asked = {
            "model": model,
            "prompt": options["prompt"],
            "features": [intervention],
            "length": options["length"],
        }
        try:
            run = steering_runs.request_run(
                SteerForm.checked({**asked, "strengths": list(STRENGTHS)}), "command"
            )
        except (InvalidParams, NoAnswer, steering_runs.TooManyRuns) as error:
            raise CommandError(str(error)) from None
        if not steering_runs.wait(run.pk, PATIENCE):
            raise CommandError(f"Run {run.pk} is not over after {PATIENCE / 60:.0f} minutes.")
        run.refresh_from_db()
        if run.state != SteeringRun.State.FINISHED:
            raise CommandError(f"Run {run.pk} {run.state}: {(run.error or {}).get('message', '')}")
        return run

    def _row(self, run: SteeringRun, model: str, sae: str, index: int) -> str:
        dose = run_views.view(run.pk).sweep.dose or {}
        view, best, breaks = (
            feature_selectors.feature(model, sae, index),
            dose["best"],
            dose["breaks"],
        )
        row = FeatureEffect.objects.filter(feature=view.feature).first()
        role = (
            f"{row.writes['difference']:.2f} ({row.writes['low']:.2f} to "
            f"{row.writes['high']:.2f}), n {row.writes['n']}"
            if row
            else "–"
        )
        at = best if best is not None else len(dose["strengths"]) - 1
        both = [dose["control"][name] for name in ("concept", "mass")]
        control = max((a[at] + b[at]) / 2 for a, b in zip(*both, strict=True))
        default, mine = (
            (one["concept"] + one["mass"]) / 2
            for one in (dose["default"], _at(dose["feature"], at))
        )
        expressed = f"{default:.3f}, {mine:.3f}, at most {control:.3f}"
        names = [
            f"{dose['strengths'][place]:g}×" if place is not None else "none"
            for place in (best, breaks)
        ]
        effect = f"{view.feature.causal_effect:.1f}" if row else "–"
        reads = ", ".join(f"`{_plain(text)}`" for text in view.reads)
        writes = ", ".join(f"`{_plain(text)}`" for text in view.writes)
        return (
            f"| {index} | {reads} | {writes} | {role} | {effect} | {names[0]} | {expressed} | "
            f"{names[1]} |"
        )

    def _text(self, run: SteeringRun, index: int) -> str:
        view = run_views.view(run.pk)
        dose = view.sweep.dose or {}
        default, *others = [_plain(text_of(ids, view.vocabulary)) for ids in dose["texts"]]
        best = dose["best"]
        if best is None:
            return f"- {index}: no sound dose; by default `{default}`"
        return (
            f"- {index} at {dose['strengths'][best]:g}×: `{others[best]}`; by default `{default}`"
        )


def _at(values: dict[str, list[float]], place: int) -> dict[str, float]:
    return {name: one[place] for name, one in values.items()}


def _plain(text: str) -> str:
    """On one line, and harmless in a table."""
    return name_hidden(re.sub(r"\s+", " ", text)).replace("|", "¦").replace("`", "'").strip()
