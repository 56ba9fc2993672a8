# The program in an image of its own: no compiler, no root. What it holds lies in /data, the embedded Postgres included,
# unless DATABASE_URL or a secret named database_url leads to a server.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md requirements.lock ./
COPY domain domain
COPY application application
COPY infrastructure infrastructure
COPY projections projections
COPY interfaces interfaces
COPY study_query_llm study_query_llm
# Everything comes as wheels, so that nothing is compiled here either.
RUN python -m venv /opt/study
RUN /opt/study/bin/pip install --no-cache-dir --disable-pip-version-check --constraint requirements.lock '.[artifacts]'
RUN /opt/study/bin/pip uninstall --yes --quiet pip

FROM python:${PYTHON}-slim-bookworm
RUN useradd --uid 10001 --create-home --home-dir /data --shell /usr/sbin/nologin study
COPY --from=build /opt/study /opt/study
# Machine code of the clustering kernels is kept beside the data, since the program's own folder belongs to root.
ENV PATH=/opt/study/bin:/usr/local/bin:/usr/bin:/bin \
    STUDY_HOME=/data \
    PANEL_ADDRESS=0.0.0.0 \
    PANEL_PORT=5006 \
    NUMBA_CACHE_DIR=/data/numba \
    PYTHONUNBUFFERED=1
USER study
WORKDIR /data
VOLUME /data
EXPOSE 5006
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PANEL_PORT\"]}/health/ready', timeout=8)"]
ENTRYPOINT ["study"]
CMD ["serve", "--first-token"]
