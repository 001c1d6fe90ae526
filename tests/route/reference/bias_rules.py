"""Biases after a step of exactly these tokens."""
import numpy as np


def start(options, bias, num_experts):
    """The bias a router selects by, or None where none is in use."""
    if bias is not None:
        return bias
    kind = options.get("type", "none")
    if kind == "none":
        return None
    return np.full(num_experts, 1.0 if kind == "multiplicative" else 0.0)


def update(options, bias, decision, context, step):
    kind = options.get("type", "none")
    bias = np.zeros(context.num_experts) if bias is None else np.asarray(bias, np.float64)
    freeze = options.get("freeze_after")
    if kind == "none" or (freeze is not None and step >= freeze):
        return bias
    if kind == "quantile":
        bias = quantile(decision, bias, context)
    else:
        counts = decision.counts * (1.0 - options.get("ema", 0.0))
        bias = bias + change(options, counts, step)
    return bias - bias.mean() if options.get("zero_mean", False) else bias


def rate_at(options, step):
    """A number, or {step: number}: the one of the latest step that has come."""
    rate = options.get("rate", 0.001)
    return rate[max(s for s in rate if s <= step)] if isinstance(rate, dict) else rate


def change(options, counts, step):
    mean = counts.mean()
    error = (mean - counts) / mean
    if options["type"] in ("sign", "multiplicative"):
        return rate_at(options, step) * np.sign(counts.sum() - len(counts) * counts)
    if options["type"] == "proportional":
        return rate_at(options, step) * error
    return (options.get("kp", 0.0) + options.get("ki", 0.0) + options.get("kd", 0.0)) * error  # a first step


def quantile(decision, bias, context):
    s, K, experts = decision.scores, context.top_k, context.num_experts
    threshold = np.sort(s + bias, axis=1)[:, experts - K - 1]
    margins = np.sort(s - threshold[:, None], axis=0)[::-1]
    new = -margins[len(s) * K // experts]
    return new - new.mean()
