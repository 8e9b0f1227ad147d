"""Asking the warm models for a form: what is in the way is told beside the field."""

from collections.abc import Callable, Container
from typing import TypeVar

from django import forms

from features.inference import requests as inference_requests

T = TypeVar("T")


def inference_result(
    form: forms.Form, field: str | None, read: Callable[[], T], own: Container[str] = ()
) -> T | None:
    """What `read` is answered; None where it is refused or nobody answers, which `field` then tells
    (the whole form where None).

    A refusal that names one of the fields in `own` is told there.
    """
    try:
        return read()
    except inference_requests.Refused as refused:
        form.add_error(refused.field if refused.field in own else field, refused.message)
    except inference_requests.NoAnswer as nobody:
        form.add_error(field, str(nobody))
    return None
