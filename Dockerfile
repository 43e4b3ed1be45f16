# One image for every process of Alpha Trader. Stages: build (installs), runtime (the default), flower (the queue's page).
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
# The packages that install packages are not left in what is copied into the final image.
RUN /opt/venv/bin/pip install --require-hashes -r /tmp/requirements.txt \
    && /opt/venv/bin/pip uninstall --yes pip

FROM python:3.13-slim AS build-flower
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements-flower.txt /tmp/requirements.txt
RUN /opt/venv/bin/pip install --require-hashes -r /tmp/requirements.txt \
    && /opt/venv/bin/pip uninstall --yes pip

# TRADER_UID and TRADER_GID: the owner of the secret files (`trader init` writes both into .env), so that files of mode 600 can
# be read in here. Each stage names them anew: not every builder hands them on.
FROM python:3.13-slim AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

FROM base AS flower
ARG TRADER_UID=10001
ARG TRADER_GID=10001
COPY --from=build-flower /opt/venv /opt/venv
USER ${TRADER_UID}:${TRADER_GID}
EXPOSE 5555
CMD ["celery", "flower", "--port=5555"]

FROM base AS runtime
ARG TRADER_UID=10001
ARG TRADER_GID=10001
# libgomp is the OpenMP runtime that LightGBM and XGBoost link against.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y libgomp1 \
    && rm -rf /var/lib/apt/lists/*
ENV PYTHONPATH=/srv/alpha-trader \
    COMPILED_CACHE_DIR=/tmp/compiled
WORKDIR /srv/alpha-trader
# Owned by the process's user, so that volumes mounted here are writable from the first start.
RUN mkdir models best_params database logs strategies /opt/compiled \
    && chown "${TRADER_UID}:${TRADER_GID}" models best_params database logs strategies /opt/compiled
COPY --from=build /opt/venv /opt/venv
COPY pyproject.toml gunicorn_config.py LICENSE ./
COPY app ./app
USER ${TRADER_UID}:${TRADER_GID}
# What a cycle runs is compiled here, once. The compiler wants a directory to write to, so each container works on a copy.
RUN COMPILED_CACHE_DIR=/opt/compiled python -m app.local.precompile
ENTRYPOINT ["sh", "-c", "cp -rT /opt/compiled \"$COMPILED_CACHE_DIR\" && exec \"$@\"", "sh"]
EXPOSE 5000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 CMD ["python", "-m", "app.runtime.alive"]
CMD ["gunicorn", "-c", "gunicorn_config.py", "app.wsgi:app"]
