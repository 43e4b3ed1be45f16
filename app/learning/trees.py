"""Boosted trees as flat arrays, and one compiled walk through them: the libraries' answers without a call into them.

A forecast of 32 symbols asks 192 boosters for one row each; a call into XGBoost costs 150 us however small the model. The walk
gives the same bits, held to the libraries by tests/learning/test_trees.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from app.domain.bar import Floats
from app.domain.errors import InvalidInput

Indices = npt.NDArray[np.int32]


class Trees(NamedTuple):
    """Nodes of all trees, one after another. A row goes left where its `feature` is below `bound`; a leaf has feature -1.

    root: (n_trees,), index of each root. feature, left, right: (n_nodes,). bound, value: (n_nodes,). base: what the sum of the
    leaves begins with. narrow: whether features are rounded to 32 bits, and each sum too.
    """

    root: Indices
    feature: Indices
    left: Indices
    right: Indices
    bound: Floats
    value: Floats
    base: float
    narrow: bool


@njit(cache=True, nogil=True)
def walk(trees: Trees, features: Floats) -> Floats:
    """The sum of the leaves, shape (n_rows,). features: (n_rows, n_features), finite."""
    out = np.empty(len(features))
    for row in range(len(features)):
        total = trees.base
        for root in trees.root:
            node = root
            while trees.feature[node] >= 0:
                x = features[row, trees.feature[node]]
                if trees.narrow:
                    x = float(np.float32(x))
                node = trees.left[node] if x < trees.bound[node] else trees.right[node]
            total += trees.value[node]
            if trees.narrow:
                total = float(np.float32(total))
        out[row] = total
    return out


def from_lightgbm(text: str) -> Trees:
    """The trees of LightGBM's text format. Raises InvalidInput for trees with categories or linear leaves."""
    blocks = text.split("\nTree=")[1:]
    if not blocks:
        raise InvalidInput("a LightGBM model without trees")
    return _joined([_lightgbm_tree(block) for block in blocks], base=0.0, narrow=False)


def from_xgboost(document: bytes) -> Trees:
    """The trees of XGBoost's JSON format. Raises InvalidInput for trees with categories or several outputs."""
    learner = json.loads(document)["learner"]
    found = learner["gradient_booster"]["model"]["trees"]
    base = json.loads(learner["learner_model_param"]["base_score"])
    bases = base if isinstance(base, list) else [base]
    if len(bases) != 1 or any(any(tree["split_type"]) for tree in found):
        raise InvalidInput("an XGBoost model with categories or several outputs")
    return _joined([_xgboost_tree(tree) for tree in found], base=float(np.float32(bases[0])), narrow=True)


class _Tree(NamedTuple):
    """As `Trees`, of one tree; children count from its own root."""

    feature: Indices
    left: Indices
    right: Indices
    bound: Floats
    value: Floats


def _lightgbm_tree(block: str) -> _Tree:
    lines = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    if int(lines["num_cat"]) or int(lines.get("is_linear", "0")):
        raise InvalidInput("a LightGBM tree with categories or linear leaves")
    leaves = _numbers(lines["leaf_value"])
    splits = len(leaves) - 1
    if splits == 0:
        none = np.zeros(1, dtype=np.int32)
        return _Tree(none - 1, none, none, np.zeros(1), leaves)

    def children(name: str) -> Indices:
        told = np.array(lines[name].split(), dtype=np.int32)
        return np.where(told >= 0, told, splits + ~told)  # a leaf is told as the complement of its number

    none = np.zeros(len(leaves), dtype=np.int32)
    return _Tree(
        feature=np.concatenate((np.array(lines["split_feature"].split(), dtype=np.int32), none - 1)),
        left=np.concatenate((children("left_child"), none)).astype(np.int32),
        right=np.concatenate((children("right_child"), none)).astype(np.int32),
        # LightGBM goes left at or below its threshold.
        bound=np.concatenate((np.nextafter(_numbers(lines["threshold"]), np.inf), none)),
        value=np.concatenate((np.zeros(splits), leaves)),
    )


def _xgboost_tree(tree: dict[str, Any]) -> _Tree:
    left = np.array(tree["left_children"], dtype=np.int32)
    condition = np.array(tree["split_conditions"], dtype=np.float32).astype(np.float64)
    is_leaf = left < 0
    return _Tree(
        feature=np.where(is_leaf, -1, np.array(tree["split_indices"], dtype=np.int32)).astype(np.int32),
        left=left,
        right=np.array(tree["right_children"], dtype=np.int32),
        bound=condition,
        value=np.where(is_leaf, condition, 0.0),
    )


def _joined(trees: list[_Tree], *, base: float, narrow: bool) -> Trees:
    sizes = [len(tree.feature) for tree in trees]
    root = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int32)

    def moved(name: str) -> Iterator[Indices]:
        return (getattr(tree, name) + np.int32(first) for tree, first in zip(trees, root, strict=True))

    return Trees(
        root=root,
        feature=np.concatenate([tree.feature for tree in trees]),
        left=np.concatenate(list(moved("left"))),
        right=np.concatenate(list(moved("right"))),
        bound=np.concatenate([tree.bound for tree in trees]),
        value=np.concatenate([tree.value for tree in trees]),
        base=base,
        narrow=narrow,
    )


def _numbers(text: str) -> Floats:
    return np.array(text.split(), dtype=np.float64)
