# local-ai in a small image: what it needs, as locked, and a user without rights.

FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/local-ai
WORKDIR /build
# The lock first: a change of the code alone installs nothing again.
COPY requirements/run.txt requirements/
RUN /opt/local-ai/bin/pip install --require-hashes -r requirements/run.txt
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY providers providers
COPY proxy proxy
RUN /opt/local-ai/bin/pip install --no-deps --no-build-isolation . \
    && /opt/local-ai/bin/python -m compileall -q /opt/local-ai/lib

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin local-ai \
    && install -d -o local-ai -g local-ai /data
COPY --from=build /opt/local-ai /opt/local-ai
# In a container loopback reaches nobody; what is published decides who may call.
ENV PATH=/opt/local-ai/bin:$PATH \
    PROXY_HOST=0.0.0.0 \
    PROXY_DATA_DIR=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 3500
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:3500/healthz', timeout=4)"]
ENTRYPOINT ["python", "-P", "-m", "proxy"]
CMD ["--port", "3500"]
