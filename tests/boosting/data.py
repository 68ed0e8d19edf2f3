"""Data sets, models of both libraries by their own objective and by ours, and what is compared of them."""

import json

import numpy as np

from crossent import boosting


class Rows:
    """What an objective asks a data set for."""

    def __init__(self, labels, weights=None):
        self.labels, self.weights = labels, weights

    def get_label(self):
        return self.labels

    def get_weight(self):
        return self.weights


def some_data(classes, rows=400):
    """Two features that tell the classes apart, four that do not, and a weight per row."""
    rng = np.random.default_rng(classes)
    y = rng.integers(0, classes, rows)
    x = rng.normal(0, 1, (rows, 6))
    x[:, 0] += np.cos(2 * np.pi * y / classes) * 1.5
    x[:, 1] += np.sin(2 * np.pi * y / classes) * 1.5
    return x, y, rng.uniform(0.2, 3, rows)


def objective_of(classes, **options):
    return boosting.Softmax(classes, **options) if classes > 2 else boosting.Logistic(**options)


def xgboost_trees(model):
    """(structure, leaves) of each tree."""
    found = []
    for tree in json.loads(model.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]:
        inner, values = np.array(tree["left_children"]) >= 0, np.array(tree["split_conditions"], np.float32)
        kept = tree["left_children"], tree["right_children"], tree["split_indices"], tree["default_left"]
        found.append(((*kept, values[inner].tolist()), values[~inner]))
    return found


def lightgbm_trees(model):
    """(structure, leaves) of each tree, nodes in preorder."""
    def nodes(node):
        if "leaf_value" in node:
            return ["leaf"], [node["leaf_value"]]
        left, right = nodes(node["left_child"]), nodes(node["right_child"])
        own = node["split_feature"], node["threshold"], node["default_left"]
        return [own, *left[0], *right[0]], left[1] + right[1]

    found = [nodes(tree["tree_structure"]) for tree in model.dump_model()["tree_info"]]
    return [(structure, np.array(leaves)) for structure, leaves in found]


def assert_same_trees(theirs, ours):
    assert len(theirs) == len(ours) > 0
    for (structure, leaves), (ours_structure, ours_leaves) in zip(theirs, ours, strict=True):
        assert structure == ours_structure
        np.testing.assert_allclose(ours_leaves, leaves, rtol=0, atol=1e-6)
