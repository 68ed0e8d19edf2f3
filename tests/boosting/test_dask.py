"""Over two workers of Dask: an objective is pickled, and sees the rows of one worker."""

import numpy as np
import pytest
from boosting.data import some_data

import crossent as xe
from crossent import boosting

da = pytest.importorskip("dask.array", reason="an optional library: the session adapters has it")
distributed = pytest.importorskip("distributed", reason="an optional library: the session adapters has it")
pytestmark = pytest.mark.filterwarnings("default")  # those of Dask and its dependencies are not ours


@pytest.fixture(scope="module")
def client():
    with (distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
          distributed.Client(cluster) as client):
        yield client


def collections(classes):
    x, y, _ = some_data(classes)
    return x, y, da.from_array(x, chunks=(200, 6)), da.from_array(y, chunks=200)


def test_xgboost(client):
    xgb = pytest.importorskip("xgboost", reason="an optional library: the session adapters has it")
    from xgboost import dask as xgb_dask
    x, y, x_parts, y_parts = collections(3)
    data = xgb_dask.DaskDMatrix(client, x_parts, y_parts)
    params = {"num_class": 3, "base_score": 0.5, "max_depth": 3, "disable_default_eval_metric": True}
    model = xgb_dask.train(client, params, data, 10, obj=boosting.Softmax(3).xgboost)["booster"]
    assert xe.cross_entropy(model.predict(xgb.DMatrix(x), output_margin=True), y) < 0.8 * np.log(3)
    soft = boosting.Softmax(3, soft_labels=np.eye(3)[y])
    with pytest.raises(Exception, match="soft_labels has 400 rows"):
        xgb_dask.train(client, params, data, 2, obj=soft.xgboost)


def test_lightgbm(client):
    lgb = pytest.importorskip("lightgbm", reason="an optional library: the session adapters has it")
    x, y, x_parts, y_parts = collections(3)
    model = lgb.DaskLGBMClassifier(client=client, n_estimators=10, num_leaves=7, verbosity=-1,
                                   objective=boosting.Softmax(3).lightgbm_sklearn)
    model.fit(x_parts, y_parts)
    assert xe.cross_entropy(model.booster_.predict(x), y) < 0.8 * np.log(3)
