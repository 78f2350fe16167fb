"""MLflow's plain files (extra `mlflow`): a folder that `mlflow ui` and other tools read. No server, no network.

MLflow sends usage telemetry unless disabled; it is disabled before the import. Its file store is in maintenance mode and
must be enabled explicitly; it is used nevertheless, since it needs no database packages.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thresher.errors import MissingPackageError
from thresher.tracking import Ended, flat

_MOST = 6000  # characters of a parameter, as MLflow takes it


class MLflow:
    """One run in the experiment `thresher` of the file store in `folder`."""

    def __init__(self, folder: Path, name: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise MissingPackageError(
                f"Expected the package mlflow-skinny ({error}). pip install 'thresher[mlflow]'."
            ) from None
        self._client = MlflowClient(tracking_uri=folder.resolve().as_uri())
        found = self._client.get_experiment_by_name("thresher")
        experiment = self._client.create_experiment("thresher") if found is None else found.experiment_id
        self.run_id: str = self._client.create_run(experiment, run_name=name).info.run_id

    def params(self, values: Mapping[str, Any]) -> None:
        """Write each setting as a parameter."""
        for key, value in flat(values).items():
            self._client.log_param(self.run_id, key, value[:_MOST])

    def scalar(self, name: str, value: float, step: int) -> None:
        """Write one number; what MLflow does not take in a name (brackets, colons of a method) becomes an underscore."""
        plain = "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)
        self._client.log_metric(self.run_id, plain, value, step=step)

    def close(self, ended: Ended = "finished") -> None:
        """Mark the run as finished, failed or killed."""
        self._client.set_terminated(self.run_id, ended.upper())
