"""What the commands that make a job share: options from the kind's form, and `--wait` with a
progress bar.
"""

import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any, ClassVar

from django import forms
from django.core.management.base import BaseCommand, CommandError

from features.formfields import ListField
from features.jobs.forms import JobForm
from features.jobs.forms.placement import OPTIONS, Placing
from features.models import Job
from features.records import InvalidParams
from features.services import jobs as job_services

UNCLAIMED_SECONDS = 15


class JobCommand(BaseCommand):
    """A command that queues one job. Its options are the fields of `form`; `positional` names those
    without a dash.
    """

    form: ClassVar[type[JobForm]]
    positional: ClassVar[tuple[str, ...]] = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Every field of the form, with its help and default."""
        parser.description = self.form.about
        parser.formatter_class = RawDescriptionHelpFormatter
        for name in self.positional:
            several = (
                "+"
                if name == "target" and isinstance(self.form.base_fields.get("sae"), ListField)
                else None
            )
            parser.add_argument(
                name, metavar=name.upper() if name != "target" else "MODEL/SLUG", nargs=several
            )
        for name, field in self.form.base_fields.items():
            if name not in self.fields_from_arguments():
                self._add_option(parser, name, field)
        for name, choices in OPTIONS.items():
            field = Placing.base_fields[name]
            about = f"{field.help_text} Default {field.initial}."
            parser.add_argument(f"--{name}", choices=choices, default=field.initial, help=about)
        parser.add_argument(
            "--wait",
            action="store_true",
            help="Follow the job to its end; exit code 1 where it fails.",
        )

    def fields_from_arguments(self) -> set[str]:
        """Fields that the positional arguments fill."""
        return set(self.positional)

    def data(self, options: dict[str, Any]) -> dict[str, Any]:
        """The form's data from the parsed options."""
        found = {
            name: options[name] for name in self.form.base_fields if options.get(name) is not None
        }
        if "source" in found and Path(found["source"]).expanduser().exists():
            found["source"] = str(
                Path(found["source"]).expanduser().resolve()
            )  # the worker is in another folder
        return found

    def handle(self, *args: Any, **options: Any) -> None:
        """Queue the job; print its address, or follow it."""
        try:
            placing = {name: options[name] for name in OPTIONS}
            job = job_services.start(self.form.kind, self.data(options), placing=placing)
        except InvalidParams as error:
            raise CommandError(
                "\n".join(f"{field}: {' '.join(texts)}" for field, texts in error.errors.items())
            ) from None
        self.stdout.write(f"Job {job.pk}: {self.form.title.lower()}, at /jobs/{job.pk}/")
        if options["wait"]:
            self._follow(job)

    def _add_option(self, parser: ArgumentParser, name: str, field: forms.Field) -> None:
        flag = f"--{name.replace('_', '-')}"
        help_text = str(field.help_text).replace("%", "%%")
        if isinstance(field, forms.BooleanField):
            if field.initial:
                parser.add_argument(
                    f"--no-{name}",
                    dest=name,
                    action="store_false",
                    default=None,
                    help=f"Not: {help_text}",
                )
            else:
                parser.add_argument(
                    flag,
                    dest=name,
                    action="store_true",
                    default=None,
                    help=f"{field.label}. {help_text}",
                )
            return
        if isinstance(field, ListField):
            help_text += " Several with commas between make a sweep."
        if field.initial is not None:
            help_text += f" Default {field.initial}."
        parser.add_argument(
            flag, dest=name, required=field.required and field.initial is None, help=help_text
        )

    def _follow(self, job: Job) -> None:
        started, shown = time.monotonic(), ""
        while not job.over:
            time.sleep(0.3)
            job.refresh_from_db()
            if job.state == Job.State.QUEUED and time.monotonic() - started > UNCLAIMED_SECONDS:
                started = float("inf")
                self.stderr.write("No worker has taken the job yet: is `manage.py up` running?")
            line = f"[{'█' * round(30 * job.share):<30}] {job.share:4.0%}  {job.doing[:60]:<60}"
            if line != shown and sys.stdout.isatty():
                self.stdout.write(f"\r{line}", ending="")
                shown = line
        self.stdout.write("")
        if job.state != Job.State.FINISHED:
            field = f"{job.error_field}: " if job.error_field else ""
            raise CommandError(f"Job {job.pk} {job.state}. {field}{job.error}".strip())
        self.stdout.write(f"Finished: {job.result}")


class OnSaeCommand(JobCommand):
    """A command on an existing SAE, named MODEL/SLUG."""

    positional: ClassVar[tuple[str, ...]] = ("target",)

    def fields_from_arguments(self) -> set[str]:
        """The target is the SAE."""
        return {"sae"}

    def data(self, options: dict[str, Any]) -> dict[str, Any]:
        """The form's data, the target as the SAE."""
        return {**super().data(options), "sae": options["target"]}


class NewSaeCommand(JobCommand):
    """A command that makes an SAE, named MODEL/SLUG."""

    positional: ClassVar[tuple[str, ...]] = ("target",)

    def fields_from_arguments(self) -> set[str]:
        """The target is model and slug."""
        return {"model", "slug", *self.positional}

    def data(self, options: dict[str, Any]) -> dict[str, Any]:
        """The form's data, the target cut into model and slug."""
        model, slash, slug = options["target"].partition("/")
        if not slash:
            raise CommandError(f"Write MODEL/SLUG, such as {model}/2-res-topk.")
        return {**super().data(options), "model": model, "slug": slug}
