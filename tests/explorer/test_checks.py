"""Misconfiguration shows up in `manage.py check`, with what to do about it."""

import pytest
from django.core.checks import run_checks


def found() -> dict[str, str]:
    """The explorer's own findings by id, with their hints."""
    return {
        message.id: f"{message.msg} {message.hint}"
        for message in run_checks()
        if message.id.startswith("explorer.")
    }


def test_the_tests_own_configuration_is_fine():
    assert found() == {}


def test_a_data_folder_that_is_not_there_is_an_error(settings, tmp_path):
    settings.VAR = tmp_path / "nowhere"
    assert "FEATURESCOPE_VAR" in found()["explorer.E001"]


@pytest.mark.parametrize("address", ["pigeon://roof/artifacts", "nosuch://bucket"])
def test_artifacts_of_an_unknown_scheme_are_an_error(settings, address):
    settings.ARTIFACTS_URL = address
    assert "fsspec" in found()["explorer.E002"]


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:one", ""])
def test_a_device_that_torch_does_not_know_is_an_error(settings, device):
    settings.DEVICE = device
    assert "cuda:1" in found()["explorer.E003"]


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "mps"])
def test_devices_that_torch_knows_pass(settings, device):
    settings.DEVICE = device
    assert found() == {}


def test_listening_to_the_world_under_local_names_only_is_a_warning(settings):
    settings.HOST = "0.0.0.0"
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    assert "ALLOWED_HOSTS" in found()["explorer.W001"]
    settings.ALLOWED_HOSTS = ["scope.example.org"]
    assert found() == {}
