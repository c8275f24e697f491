# One image for studies and for the dashboard.
#
#   docker build -t autorl .
#   docker run --rm --user "$(id -u)" -v "$PWD:/data" autorl run studies/cartpole-ppo.yaml
#   docker run --rm --user "$(id -u)" -v "$PWD:/data" --network host autorl dashboard --headless
#
# The dashboard binds 127.0.0.1 only; on the host's network that is the host's own loopback, and nobody else's. For
# others, with a token and behind a proxy: docs/operations.md.
# To take torch from an index of CPU builds, which are gigabytes smaller: --build-arg PIP_EXTRA_INDEX_URL=...
FROM python:3.11-slim AS build
ARG PIP_EXTRA_INDEX_URL
WORKDIR /src
RUN python -m venv /opt/autorl
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY autorl autorl
COPY dashboard dashboard
COPY search_spaces search_spaces
COPY studies studies
RUN /opt/autorl/bin/pip install --no-cache-dir --constraint constraints.txt '.[sb3,jax,dashboard,postgres]'

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 autorl && mkdir /data && chown autorl /data
COPY --from=build /opt/autorl /opt/autorl
ENV PATH=/opt/autorl/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    AUTORL_STORAGE=sqlite:////data/autorl.db
USER autorl
WORKDIR /data
COPY --chown=autorl search_spaces search_spaces
COPY --chown=autorl studies studies
# A study is healthy while its process lives; a dashboard when it answers.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", \
  "import urllib.request as u; b'dashboard' in open('/proc/1/cmdline', 'rb').read() and u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=3)"]
ENTRYPOINT ["autorl"]
CMD ["--help"]
