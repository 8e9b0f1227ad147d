# syntax=docker/dockerfile:1
# Two images from one file: web (no torch) and worker.

FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 FEATURESCOPE_VAR=/data
RUN useradd --create-home --uid 10001 featurescope \
    && mkdir -p /data /home/featurescope/.cache/huggingface \
    && chown -R featurescope /data /home/featurescope
WORKDIR /app
VOLUME /data

FROM base AS web
COPY requirements-web.lock ./
RUN pip install -r requirements-web.lock
COPY . .
USER featurescope
EXPOSE 8000
CMD ["uvicorn", "explorer.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--lifespan", "off", \
     "--no-server-header", "--timeout-graceful-shutdown", "5"]

FROM base AS worker
# The lock also pins what tests and linters need; only pins are taken from it, for what the worker asks for.
COPY pyproject.toml requirements.lock README.md LICENSE ./
RUN pip install --constraint requirements.lock ".[worker]"
COPY . .
USER featurescope
CMD ["celery", "--app", "explorer", "worker", "--queues", "jobs", "--include", "workers.tasks", \
     "--pool", "solo", "--loglevel", "INFO"]
