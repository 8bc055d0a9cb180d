# Build: docker build -t affetto .    Run: docker run --rm -p 127.0.0.1:8000:8000 affetto    More: docs/serve.md
FROM python:3.11-slim-bookworm AS build

WORKDIR /src
RUN python -m venv /opt/affetto
ENV PATH="/opt/affetto/bin:$PATH"
COPY constraints.txt pyproject.toml LICENSE NOTICE ./
COPY src src
# torch comes from its own index, built for CPUs alone; everything in the versions that are known to work together.
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu \
      "torch==$(sed -n 's/^torch==//p' constraints.txt)+cpu" ".[serve]"

FROM python:3.11-slim-bookworm

RUN useradd --system --no-create-home --uid 10001 affetto
COPY --from=build /opt/affetto /opt/affetto
ENV PATH="/opt/affetto/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["affetto", "serve", "--host", "0.0.0.0"]
