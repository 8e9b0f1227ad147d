"""What every test stands on: a data folder of its own with a real PostgreSQL in it, and settings
that make tests fast.

Environment variables are set before Django reads its settings, so pytest.ini names no settings
module: this file does.
"""

import atexit
import importlib.abc
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VAR = Path(tempfile.mkdtemp(prefix="featurescope-tests-"))
VAR.chmod(0o711)  # where we are root, PostgreSQL runs as another user
CONFIGURATION = (
    "DATABASE_URL",
    "CELERY_BROKER_URL",
    "ALLOWED_HOSTS",
    "DEBUG",
    "PORT",
    "SECRET_KEY",
)
COMPUTE = frozenset(
    {
        "torch",
        "transformers",
        "datasets",
        "sae_lens",
        "safetensors",
        "tokenizers",
        "umap",
        "sklearn",
        "numba",
        "sentence_transformers",
    }
)

EMPTY_TABLES = """
DO $$ DECLARE name text; BEGIN
    SET LOCAL session_replication_role = replica;  -- no triggers
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN
        ('django_migrations', 'django_content_type', 'auth_permission') ORDER BY tablename
    LOOP
        EXECUTE format('LOCK TABLE %I', name);
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
END $$
"""

for name in [
    n for n in os.environ if n in CONFIGURATION or n.startswith(("FEATURESCOPE_", "DJANGO_"))
]:
    del os.environ[name]
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "explorer.settings",
    "FEATURESCOPE_VAR": str(VAR),
    "FEATURESCOPE_DEMO": "0",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
sys.path.insert(0, str(ROOT))

from django.conf import settings  # noqa: E402

from explorer.local import database as local_database  # noqa: E402

settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
settings.WHITENOISE_AUTOREFRESH = (
    True  # look files up when asked, rather than list them all for every test client
)
settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "testserver"]
atexit.register(shutil.rmtree, VAR, ignore_errors=True)


class _Blocked(importlib.abc.MetaPathFinder):
    """Makes the libraries of the workers impossible to import."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in COMPUTE:
            raise ModuleNotFoundError(f"{fullname} is blocked by --without-torch", name=fullname)
        return None


def pytest_addoption(parser):
    parser.addoption(
        "--without-torch",
        action="store_true",
        help="run as on a web server, where torch is not installed",
    )


def pytest_configure(config):
    if config.getoption("--without-torch"):
        sys.meta_path.insert(0, _Blocked())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes():
    """A worker of pytest-xdist that inherited this would read the settings before this file."""
    del os.environ["DJANGO_SETTINGS_MODULE"]


def pytest_report_header(config):
    return "torch and its kin: " + (
        "cannot be imported" if config.getoption("--without-torch") else "as installed"
    )


@pytest.fixture(scope="session", autouse=True)
def _rows_are_deleted_rather_than_tables_truncated():
    """After a test with transactions of its own, Django truncates all tables and writes the content
    types and permissions anew, which takes a quarter of a second. Here the rows are deleted, once
    no transaction of the test is left, and those tables stay as the migrations filled them.
    """
    from django.db import connection
    from django.test import TransactionTestCase

    def empty_tables(self):
        with connection.cursor() as cursor:
            cursor.execute(EMPTY_TABLES)

    TransactionTestCase._fixture_teardown = empty_tables


@pytest.fixture(scope="session")
def django_db_modify_db_settings():
    """Start the embedded PostgreSQL before the first test that needs it; nothing has to outlive a
    power cut here.
    """
    from django.db import connections

    connections["default"].settings_dict["OPTIONS"]["options"] = "-c synchronous_commit=off"
    local_database.ensure(VAR)
    yield
    connections.close_all()
    local_database.release(VAR)
