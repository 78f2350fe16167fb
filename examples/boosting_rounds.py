"""No network at all: the rounds of gradient boosting are the epochs, on a real table. Finds labels that were flipped."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import train_test_split

from thresher import Recorder, select
from thresher.integrations.probabilities import record_rounds
from thresher.scorers import AUM
from thresher.selectors.top import Top

x, y = load_breast_cancer(return_X_y=True)  # 569 tumours, 30 measurements each
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
rng = np.random.default_rng(0)
flipped = rng.choice(len(y_train), size=20, replace=False)
noisy = y_train.copy()
noisy[flipped] = 1 - noisy[flipped]


def fit(rows: np.ndarray, labels: np.ndarray) -> GradientBoostingClassifier:
    """Boost 60 shallow trees, each on half of the rows, so that single labels are not learned by heart."""
    model = GradientBoostingClassifier(n_estimators=60, max_depth=2, subsample=0.5, random_state=0)
    return model.fit(x_train[rows], labels[rows])


everything = np.arange(len(noisy))
model = fit(everything, noisy)
recorder = Recorder(len(noisy), 2, scorers={"aum": AUM()})
record_rounds(recorder, model.staged_predict_proba(x_train), noisy)
aum = recorder.scores()["aum"]
print(f"{recorder.epoch} rounds recorded; on all {len(noisy)} rows: {model.score(x_test, y_test):.3f} of the test set")

suspects = np.argsort(aum.values)[: len(flipped)]
found = np.isin(suspects, flipped).sum()
print(f"{found} of the {len(flipped)} flipped labels are among the {len(flipped)} rows with the lowest AUM")

coreset = select(aum, recorder.pool(), keep=len(noisy) - len(flipped), selector=Top(end="easy"))
print(f"without those {len(flipped)} rows: {fit(coreset.ids, noisy).score(x_test, y_test):.3f}")
