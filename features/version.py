"""The version of this program, as every dashboard and job names it."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("featurescope")
except PackageNotFoundError:  # run from a checkout that nobody installed
    VERSION = "unreleased"
