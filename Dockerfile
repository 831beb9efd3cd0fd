# Four images; the last stage, the pipeline, is what `docker build` makes when it is told no target.
#   docker build -t sermodels .                              the pipeline; runs, models and tracking are in the volume
#   docker run --rm -v sermodels:/workspace sermodels
#   docker run --rm -v sermodels:/workspace -v "$PWD/data:/data:ro" sermodels -P preset=quick -P data_dir=/data
#   docker build -t sermodels-serve --target cpu .           a server of one bundle: only what serving needs
#   docker build -t sermodels-serve:cuda --target cuda .     the same on an NVIDIA GPU, with `docker run --gpus all`
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/workspace/served/champion:/bundle:ro" sermodels-serve
#   docker build -t sermodels-worker --target worker .       what runs the deployments of prefect.yaml in containers
# compose.yaml runs the servers locked down. The bundle is the one that `make serve` fetched from the registry.

FROM python:3.11-slim AS uv
COPY requirements.lock /
RUN pip install --no-cache-dir "$(grep -o '^uv==[^ ]*' /requirements.lock)"

# The environments of the two servers, compiled here: where they run, nothing can be written.
FROM uv AS venv
ENV UV_COMPILE_BYTECODE=1
RUN python -m venv --without-pip /opt/venv

FROM venv AS venv-cpu
COPY serve/requirements-cpu.lock .
RUN uv pip install --python /opt/venv/bin/python --require-hashes -r requirements-cpu.lock

FROM venv AS venv-cuda
COPY serve/requirements-cuda.lock .
RUN uv pip install --python /opt/venv/bin/python --require-hashes -r requirements-cuda.lock

# The code of serving, compiled: neither the export nor the library's parts that need torch.
FROM uv AS code
COPY serve/*.py /app/serve/
COPY sermodels/__init__.py sermodels/adaptation.py sermodels/audio.py sermodels/config.py sermodels/emotions.py \
    sermodels/errors.py sermodels/files.py sermodels/log_mel_statistics.py sermodels/mel.py /app/sermodels/
RUN python -m compileall -q /app

# Everything about the two servers but their files.
FROM python:3.11-slim AS server
ENV DO_NOT_TRACK=1 \
    GRADIO_ANALYTICS_ENABLED=False \
    HF_HUB_OFFLINE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    ORT_DISABLE_TELEMETRY=1 \
    PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --uid 1000 --home-dir /tmp --no-create-home sermodels
USER 1000:1000
WORKDIR /app
VOLUME /bundle
EXPOSE 8000
STOPSIGNAL SIGTERM
# No proxy between a container and itself; a status that is no success raises.
HEALTHCHECK --interval=15s --timeout=5s --start-period=90s --retries=3 CMD ["python", "-I", "-c", \
    "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-m", "serve", "--bundle", "/bundle", "--host", "0.0.0.0"]

FROM server AS cpu
COPY --from=venv-cpu /opt/venv /opt/venv
COPY --from=code /app /app

# CUDA and cuDNN come with the environment, the driver from the host.
FROM server AS cuda
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all
COPY --from=venv-cuda /opt/venv /opt/venv
COPY --from=code /app /app

FROM uv AS tools
ENV DO_NOT_TRACK=1 \
    GIT_PYTHON_REFRESH=quiet \
    GRADIO_ANALYTICS_ENABLED=False \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_TRACKING_URI=sqlite:////workspace/mlflow.db \
    ORT_DISABLE_TELEMETRY=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120 \
    PYTHONDONTWRITEBYTECODE=1 \
    UV_COMPILE_BYTECODE=1

WORKDIR /app
RUN uv pip install --system --no-cache --require-hashes -r /requirements.lock

COPY . .
RUN python -m compileall -q flows sermodels serve \
    && useradd --create-home --uid 1000 sermodels \
    && install --directory --owner=sermodels /workspace /app/workspace /app/data
USER sermodels

# What the Docker and Kubernetes work pools of prefect.yaml start: the worker gives the command.
FROM tools AS worker

FROM tools AS pipeline
# MLflow keeps artifacts in ./mlruns: the volume, too.
WORKDIR /workspace
VOLUME /workspace
ENTRYPOINT ["mlflow", "run", "/app", "--env-manager", "local", "--experiment-name", "sermodels", "-P", "workspace=/workspace"]
CMD ["-P", "preset=demo"]
