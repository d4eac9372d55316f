# The image for running Issuetide beside your own PostgreSQL and OpenSearch (cron/, compose.yaml). It holds no server, no
# compiler and no settings; the extra `servers` is for trying on a machine without Docker. With the extra `app` it can
# read GitHub as a GitHub App as well as with tokens.
FROM python:3.13-slim AS build

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY etl etl
COPY schemas schemas
COPY migrations migrations
COPY dashboards dashboards
RUN pip wheel --no-cache-dir --wheel-dir /wheels '.[app]' \
    && python -m venv /opt/issuetide \
    && /opt/issuetide/bin/pip install --no-cache-dir --no-index --find-links /wheels 'issuetide[app]' \
    && /opt/issuetide/bin/python -m compileall -q /opt/issuetide/lib

FROM python:3.13-slim

RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/issuetide --shell /usr/sbin/nologin issuetide \
    && install -d -m 700 -o issuetide -g issuetide /var/lib/issuetide
COPY --from=build /opt/issuetide /opt/issuetide
COPY cron/loop.sh /usr/local/bin/issuetide-loop

ENV PATH=/opt/issuetide/bin:/usr/local/bin:/usr/bin:/bin \
    ISSUETIDE_DATA_DIR=/var/lib/issuetide \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
WORKDIR /var/lib/issuetide
ENTRYPOINT ["issuetide"]
CMD ["--help"]
