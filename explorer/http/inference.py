"""Inference requests from forms: an error of the worker becomes an error of a form field."""

from collections.abc import Callable, Container
from typing import TypeVar

from django import forms

from features.inference import requests as inference_requests

T = TypeVar("T")


def inference_result(
    form: forms.Form, field: str | None, infer: Callable[[], T], own: Container[str] = ()
) -> T | None:
    """What `infer` returns; None if the worker refuses the request or does not answer.

    The error is added to `field` (None: to the whole form), or to the field that the refusal names
    where that is in `own`.
    """
    try:
        return infer()
    except inference_requests.Refused as refused:
        form.add_error(refused.field if refused.field in own else field, refused.message)
    except inference_requests.NoAnswer as no_answer:
        form.add_error(field, str(no_answer))
    return None
