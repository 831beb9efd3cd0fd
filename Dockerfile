# The pipeline in an image; runs, models and the tracking database are kept in the volume.
#   docker build -t sermodels .
#   docker run --rm -v sermodels:/workspace sermodels
#   docker run --rm -v sermodels:/workspace -v "$PWD/data:/data:ro" sermodels -P preset=quick -P data_dir=/data
FROM python:3.11-slim

ENV DO_NOT_TRACK=1 \
    GIT_PYTHON_REFRESH=quiet \
    GRADIO_ANALYTICS_ENABLED=False \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_TRACKING_URI=sqlite:////workspace/mlflow.db \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120 \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /app
COPY requirements.lock .
RUN pip install --no-cache-dir "$(grep -o '^uv==[^ ]*' requirements.lock)" \
    && uv pip install --system --no-cache --require-hashes -r requirements.lock

COPY . .
RUN useradd --create-home --uid 1000 sermodels \
    && install --directory --owner=sermodels /workspace
USER sermodels

# MLflow keeps artifacts in ./mlruns: the volume, too.
WORKDIR /workspace
VOLUME /workspace
ENTRYPOINT ["mlflow", "run", "/app", "--env-manager", "local", "--experiment-name", "sermodels", "-P", "workspace=/workspace"]
CMD ["-P", "preset=demo"]
