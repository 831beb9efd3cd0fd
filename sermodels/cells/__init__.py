"""Cells of the table of results on a machine that only trains: it needs no recordings and no MLflow."""
