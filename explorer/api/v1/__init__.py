"""Version 1 of the API: docs/api.md is its guide, `/api/v1/schema/` its contract."""
