"""Tests of pages read HTML as it is laid out, however its template is indented."""

import pytest
from django.test import Client

from tests.explorer.layout import collapsed


@pytest.fixture(autouse=True)
def _pages_without_indentation(monkeypatch):
    request = Client.request

    def tidied(self, **environ):
        response = request(self, **environ)
        if not response.streaming and response.headers.get("Content-Type", "").startswith(
            "text/html"
        ):
            response.content = collapsed(response.content.decode()).encode()
        return response

    monkeypatch.setattr(Client, "request", tidied)
