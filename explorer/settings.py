"""Settings. Those that differ between machines come from the environment: docs/running.md has the
table.
"""

from pathlib import Path

import django_stubs_ext
from django.conf import global_settings

from explorer import env
from explorer.api import framework
from explorer.local import database as local_database

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent

# Where data lives
VAR = (
    BASE_DIR
    / Path(
        env.text("FEATURESCOPE_VAR", "var", "Folder of database, broker, artifacts and logs.")
    ).expanduser()
)
ARTIFACTS_URL = env.text(
    "FEATURESCOPE_ARTIFACTS", "", "Folder or fsspec URL of weights and exports."
)
ARTIFACTS_URL = ARTIFACTS_URL or str(VAR / "artifacts")
_DATABASE = env.database(
    "DATABASE_URL", "PostgreSQL with pgvector; unset, one runs embedded in FEATURESCOPE_VAR."
)
DATABASE_IS_EMBEDDED = _DATABASE is None
DATABASES = {"default": _DATABASE or local_database.database(VAR)}
PREPARE = env.flag(
    "FEATURESCOPE_PREPARE", True, "0 behind a pooler that loses prepared statements."
)
CONNECTIONS = env.number(
    "FEATURESCOPE_CONNECTIONS",
    0,
    "Connections to the database that a process keeps; the website 60.",
    low=0,
    high=1000,
)
if CONNECTIONS:
    _pool = {"min_size": 1, "max_size": CONNECTIONS, "timeout": 5.0}
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = _pool
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = (
        True  # one that a restart of the database broke is not given out
    )
_BROKERS = {"amqp", "amqps", "redis", "rediss", "filesystem", "sqs", "memory"}
CELERY_BROKER_URL = env.url(
    "CELERY_BROKER_URL", _BROKERS, "Celery's broker; unset, files in FEATURESCOPE_VAR."
)

# How it is reached
PORT = env.number("PORT", 8000, "Port of the website.", low=1, high=65535)
HOST = env.text(
    "FEATURESCOPE_HOST",
    "127.0.0.1",
    "Address to listen on; 0.0.0.0 for every network of this machine.",
)
ALLOWED_HOSTS = env.names(
    "ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"], "Host names that it answers to."
)
CSRF_TRUSTED_ORIGINS = env.names(
    "CSRF_TRUSTED_ORIGINS", [], "Origins to accept forms from: https://example.org"
)
HTTPS = env.flag(
    "FEATURESCOPE_HTTPS", False, "1 behind a proxy that speaks HTTPS and sets X-Forwarded-Proto."
)

# What it does
DEBUG = env.flag(
    "DEBUG", False, "1 shows tracebacks in the browser and rereads templates; for developers only."
)
DEMO = env.flag("FEATURESCOPE_DEMO", True, "0 starts an empty instance without the demo model.")
DEMO_TOKENS = env.number(
    "FEATURESCOPE_DEMO_TOKENS",
    1_000_000,
    "Tokens that each job of the demo reads at most; fewer make a smaller demo sooner.",
    low=10_000,
    high=10**9,
)
DEVICE = env.text(
    "FEATURESCOPE_DEVICE", "auto", "Where workers compute: auto, cpu, cuda, cuda:1 or mps."
)
EMBEDDER = env.text(
    "FEATURESCOPE_EMBEDDER",
    "all-MiniLM-L6-v2",
    "What reads the meaning of labels for searches: a sentence-transformers folder or hub id; "
    "off for words alone.",
)
THREADS = env.number(
    "FEATURESCOPE_THREADS", 0, "Threads of torch in a worker; 0: one per core.", low=0, high=1024
)
HANG_MINUTES = env.number(
    "FEATURESCOPE_HANG_MINUTES",
    30,
    "A worker whose job gives no sign of life for so long ends itself.",
    low=1,
    high=10_000,
)
LEASE_SECONDS = env.number(
    "FEATURESCOPE_LEASE_SECONDS",
    20,
    "A worker that says nothing for so long loses its job to another; longer than a restart of "
    "the database takes.",
    low=5,
    high=3600,
)
PRIVATE_ENDPOINTS = env.flag(
    "FEATURESCOPE_PRIVATE_ENDPOINTS",
    True,
    "0 forbids endpoints at private addresses, where people who are not trusted with this "
    "network may add some.",
)
SIGNUP = env.flag("FEATURESCOPE_SIGNUP", True, "0 closes sign-up: an admin makes the accounts.")
SUPERUSER_NAME = env.text("DJANGO_SUPERUSER_USERNAME", "admin", "Name of the first admin.")
SUPERUSER_PASSWORD = env.text(
    "DJANGO_SUPERUSER_PASSWORD", "", "Password of the first admin; unset, one is printed once."
)
SECRET_KEY = env.secret(
    "SECRET_KEY", VAR / "secret_key", "Signs sessions; unset, one is kept in FEATURESCOPE_VAR."
)

INSTALLED_APPS = [
    "explorer",
    "features",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.admin",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "template_partials",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "explorer.http.compression.CompressionMiddleware",
    "explorer.http.static.StaticFilesMiddleware",
    "explorer.http.fragments.FragmentsMiddleware",
    "explorer.http.options.OptionsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "explorer.http.health.DatabaseAway",
]

_CACHED_LOADER = (
    "django.template.loaders.cached.Loader",
    ["explorer.http.templates.Loader", "django.template.loaders.app_directories.Loader"],
)
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [("template_partials.loader.Loader", [_CACHED_LOADER])],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

ROOT_URLCONF = "explorer.urls.root"
ASGI_APPLICATION = "explorer.asgi.application"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = global_settings.STORAGES | {
    "staticfiles": {"BACKEND": "explorer.http.static.StaticUrls"}
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "explorer.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 30 * 86400 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
# Whether to serve over HTTPS is the operator's choice, made with FEATURESCOPE_HTTPS.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008", "security.W012", "security.W016"]

API_RATE_ANONYMOUS = env.number(
    "FEATURESCOPE_API_RATE_ANONYMOUS", 600, "API requests a minute by address.", low=1, high=10**6
)
API_RATE_USER = env.number(
    "FEATURESCOPE_API_RATE_USER", 3000, "API requests a minute by user.", low=1, high=10**6
)
# without a proxy X-Forwarded-For is whatever the caller wrote
REST_FRAMEWORK = framework.rest_framework(
    anonymous=API_RATE_ANONYMOUS, user=API_RATE_USER, proxies=1 if HTTPS else 0
)
SPECTACULAR_SETTINGS = framework.SPECTACULAR

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        **{name: {"level": "INFO"} for name in ("explorer", "features", "workers")},
    },
}
