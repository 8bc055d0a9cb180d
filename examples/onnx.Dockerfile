# Recognises without torch; the first stage, which exports the model, is not kept.
# Build: docker build -t affetto-onnx -f examples/onnx.Dockerfile .
# Run:   docker run --rm -v "$PWD:/data:ro" affetto-onnx /data/call.wav    More: docs/onnx.md
FROM python:3.11-slim-bookworm AS build

WORKDIR /src
COPY constraints.txt pyproject.toml LICENSE NOTICE ./
COPY src src
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu \
      "torch==$(sed -n 's/^torch==//p' constraints.txt)+cpu" ".[onnx]" \
 && affetto model export --output /opt/tiny-onnx
RUN python -m venv --without-pip /opt/affetto \
 && pip --python /opt/affetto/bin/python install --no-cache-dir -c constraints.txt \
      numpy onnxruntime pydantic soundfile soxr typer \
 && pip --python /opt/affetto/bin/python install --no-cache-dir --no-deps .

FROM python:3.11-slim-bookworm

RUN useradd --system --no-create-home --uid 10001 affetto
COPY --from=build /opt/affetto /opt/affetto
COPY --from=build /opt/tiny-onnx /opt/tiny-onnx
ENV PATH="/opt/affetto/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
USER 10001
ENTRYPOINT ["affetto", "recognise", "--model", "/opt/tiny-onnx"]
