# One image for every process of Alpha Trader. Stages: build (installs), runtime (the default), flower (the queue's page).
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
RUN /opt/venv/bin/pip install --require-hashes -r /tmp/requirements.txt

FROM build AS build-flower
RUN /opt/venv/bin/pip install flower==2.2.0

FROM python:3.13-slim AS base
# libgomp is the OpenMP runtime that LightGBM and XGBoost link against.
RUN apt-get update \
    && apt-get install --no-install-recommends -y libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 trader \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin trader
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/srv/alpha-trader \
    COMPILED_CACHE_DIR=/tmp/compiled
WORKDIR /srv/alpha-trader
COPY pyproject.toml gunicorn_config.py LICENSE ./
COPY app ./app
# Owned by the process's user, so that volumes mounted here are writable from the first start.
RUN mkdir models best_params database logs && chown 10001:10001 models best_params database logs

FROM base AS flower
COPY --from=build-flower /opt/venv /opt/venv
USER 10001:10001
EXPOSE 5555
CMD ["celery", "-A", "app.worker", "flower", "--port=5555"]

FROM base AS runtime
COPY --from=build /opt/venv /opt/venv
USER 10001:10001
EXPOSE 5000
HEALTHCHECK --interval=15s --timeout=5s --start-period=40s --retries=4 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:5000/api/health', timeout=4)"]
CMD ["gunicorn", "-c", "gunicorn_config.py", "app.wsgi:app"]
