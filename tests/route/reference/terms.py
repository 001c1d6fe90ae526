"""Balance terms: the value of each, and its gradient by the logits."""
import numpy as np

from . import mathematics as m
from .capacity import scope_size

ALIASES = {
    "switch": {"type": "load_balance", "scope": "micro_batch"},
    "micro_batch": {"type": "load_balance", "scope": "micro_batch"},
    "global_batch": {"type": "load_balance", "scope": "step"},
    "sequence": {"type": "load_balance", "scope": "sequence"},
    "gshard": {"type": "load_balance", "first_choice": True},
}


def evaluate(term, decision, router, context):
    """(value, gradient by the logits) without the coefficient."""
    term = {**term, **ALIASES.get(term["type"], {})}
    return VALUES[term["type"]](term, decision, router, context)


def load_balance(term, decision, router, context):
    tokens, experts = decision.scores.shape
    chosen = decision.mask
    if term.get("first_choice", False):
        chosen = m.mask_of(decision.expert_ids[:, :1], experts)
    elif term.get("count", "routed") == "unbiased":
        chosen = m.mask_of(m.best(decision.scores, context.top_k), experts)
    scope = term.get("scope", "step")
    size = tokens if scope == "step" else scope_size(scope, tokens, context.sequence_length)
    value, grad = 0.0, np.zeros_like(decision.probs)
    for start in range(0, tokens, size):
        block = slice(start, start + size)
        counts = chosen[block].sum(axis=0)
        share = counts / max(counts.sum(), 1)
        value += experts * (share * decision.probs[block].sum(axis=0)).sum() / tokens
        grad[block] = experts * share / tokens
    return value, decision.probs_backward(grad)


def device(term, decision, router, context):
    tokens, experts = decision.scores.shape
    groups = term["groups"]
    counts = decision.counts
    share = experts * counts / max(counts.sum(), 1)
    load = share.reshape(groups, -1).mean(axis=1)
    mean = decision.probs.mean(axis=0).reshape(groups, -1).sum(axis=1)
    grad = np.tile(np.repeat(load, experts // groups) / tokens, (tokens, 1))
    return (load * mean).sum(), decision.probs_backward(grad)


def communication(term, decision, router, context):
    tokens, experts = decision.scores.shape
    groups = term["groups"]
    reach = decision.mask.reshape(tokens, groups, -1).any(axis=2).sum(axis=0)
    load = groups / (most_reached(groups, router, context) * tokens) * reach
    mean = decision.probs.mean(axis=0).reshape(groups, -1).sum(axis=1)
    grad = np.tile(np.repeat(load, experts // groups) / tokens, (tokens, 1))
    return (load * mean).sum(), decision.probs_backward(grad)


def most_reached(groups, router, context):
    """M: how many groups the experts of one token are in at most, by the router's own groups where it keeps some of them."""
    parts, kept = router.get("groups", 1), router.get("kept_groups", 1)
    if router["type"] == "hierarchical":
        parts, kept = router["branches"][0], router["kept"][0]
    experts = context.num_experts if router["type"] == "soft" else context.top_k
    if kept >= parts:
        return min(experts, groups)
    group_of = np.arange(context.num_experts) * groups // context.num_experts
    reached = max(len(set(part)) for part in group_of.reshape(parts, -1).tolist())
    return min(experts, groups, kept * reached)


def squared_variation(x):
    """Population variance over squared mean, and its gradient."""
    total, squares, count = x.sum(), (x * x).sum(), len(x)
    value = ((x - x.mean())**2).mean() / x.mean()**2
    return value, 2.0 * count * (x / total**2 - squares / total**3)


def importance(term, decision, router, context):
    weights = decision.weights_over(decision.mask)
    value, grad = squared_variation(weights.sum(axis=0))
    return value, decision.weights_backward(np.tile(grad, (len(weights), 1)))


def load(term, decision, router, context):
    value, grad = squared_variation(decision.load.sum(axis=0))
    return value, decision.load_backward(np.tile(grad, (len(decision.load), 1)))


def z(term, decision, router, context):
    logits = decision.z_logits
    top = m.log_sum_exp(logits)
    return (top**2).mean(), 2.0 * top[:, None] * m.softmax(logits) / len(logits)


def entropy(term, decision, router, context):
    tokens, experts = decision.probs.shape
    mean = decision.probs.mean(axis=0)
    value = np.log(experts) + np.where(mean > 0, mean * np.log(np.where(mean > 0, mean, 1.0)), 0.0).sum()
    grad = (np.log(np.where(mean > 0, mean, 1.0)) + 1.0) / tokens
    return value, decision.probs_backward(np.tile(grad, (tokens, 1)))


def token_entropy(term, decision, router, context):
    p = decision.probs
    logs = np.log(np.where(p > 0, p, 1.0))
    return -(p * logs).sum() / len(p), decision.probs_backward(np.where(p > 0, -(logs + 1.0), 0.0) / len(p))


def relu_l1(term, decision, router, context):
    """The relu router's own: scores weighted by how many tokens activate the expert; no gradient through that."""
    tokens, experts = decision.scores.shape
    active = experts / context.top_k * decision.counts / tokens
    return (active * decision.scores).sum() / tokens, decision.weights_backward(np.tile(active / tokens, (tokens, 1)))


def orthogonal(weight):
    """The sum of |W W^T - I| of a router's weight [E, D], and its gradient by that weight."""
    apart = weight @ weight.T - np.eye(len(weight))
    return np.abs(apart).sum(), 2.0 * np.sign(apart) @ weight


VALUES = {"load_balance": load_balance, "device": device, "communication": communication, "importance": importance,
          "load": load, "z": z, "entropy": entropy, "token_entropy": token_entropy, "relu_l1": relu_l1}
