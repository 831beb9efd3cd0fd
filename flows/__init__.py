"""The orchestration: Prefect flows, MLflow tracking, the registry and the command line."""
