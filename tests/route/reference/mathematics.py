"""Scores, and the gradients of what is made from them."""
import math

import numpy as np

SUM_FLOOR = 1e-20

phi_cdf = np.frompyfunc(lambda x: 0.5 * math.erfc(-x / math.sqrt(2.0)), 1, 1)


def normal_cdf(x):
    return phi_cdf(x).astype(np.float64)


def normal_pdf(x):
    return np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def log_sum_exp(x):
    top = x.max(axis=1, keepdims=True)
    return (top + np.log(np.exp(x - top).sum(axis=1, keepdims=True)))[:, 0]


def softmax(x, mask=None):
    """Softmax of each row, over the entries of mask alone where one is given (each row has one)."""
    if mask is not None:
        x = np.where(mask, x, -np.inf)
    top = x.max(axis=1, keepdims=True)
    weights = np.exp(x - np.where(np.isfinite(top), top, 0.0))
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)


def softmax_backward(p, grad):
    return p * (grad - (grad * p).sum(axis=1, keepdims=True))


def sigmoid(x):
    return np.where(x >= 0, 1.0 / (1.0 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1.0 + np.exp(-np.abs(x))))


def softplus(x):
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def shares(s, mask):
    """s over its sum, both over the entries of mask."""
    kept = np.where(mask, s, 0.0)
    return kept / (kept.sum(axis=1, keepdims=True) + SUM_FLOOR)


def shares_backward(s, mask, grad):
    kept = np.where(mask, s, 0.0)
    total = kept.sum(axis=1, keepdims=True) + SUM_FLOOR
    return np.where(mask, grad / total - (grad * kept).sum(axis=1, keepdims=True) / total**2, 0.0)


def best(keys, count):
    """The columns of the `count` highest keys of each row, by falling key, the lower column first."""
    return np.argsort(-keys, axis=1, kind="stable")[:, :count]


def mask_of(ids, num_experts):
    """Which experts each token has; ids [T, C] with -1 for none."""
    mask = np.zeros((ids.shape[0], num_experts), bool)
    rows, columns = np.nonzero(ids >= 0)
    mask[rows, ids[rows, columns]] = True
    return mask


def columns_of(mask, keys):
    """ids [T, C] of a mask by falling key, padded with -1; C = the most experts of a token, at least 1."""
    counts = mask.sum(axis=1)
    width = max(1, int(counts.max(initial=0)))
    ids = best(np.where(mask, keys, -np.inf), width)
    return np.where(np.arange(width) < counts[:, None], ids, -1)
