"""Routers whose tokens choose alone: everything but a whole batch's assignment."""
import numpy as np

from . import hashing, mathematics as m
from .decision import Decision


def score(kind, logits):
    """Scores, their normalised form, and the gradients of both."""
    everyone = np.ones(logits.shape, bool)
    if kind == "softmax":
        p = m.softmax(logits)
        back = lambda grad: m.softmax_backward(p, grad)
        return p, back, p, back
    if kind == "sigmoid":
        s = m.sigmoid(logits)
        slope = s * (1.0 - s)
    elif kind == "sqrtsoftplus":
        s = np.sqrt(m.softplus(logits))
        slope = m.sigmoid(logits) / (2.0 * s)
    elif kind == "relu":
        s = np.maximum(logits, 0.0)
        slope = (logits > 0).astype(logits.dtype)
    else:
        raise ValueError(kind)
    s_back = lambda grad: slope * grad
    return s, s_back, m.shares(s, everyone), lambda grad: s_back(m.shares_backward(s, everyone, grad))


def with_bias(s, bias, context):
    if bias is None:
        return s
    return s * bias if context.bias_is_factor else s + bias


def keep_groups(keys, groups, kept, rule):
    """keys with -inf outside the `kept` best groups."""
    if groups == 1:
        return keys
    tokens, experts = keys.shape
    size = experts // groups
    by_group = keys.reshape(tokens, groups, size)
    if rule == "max":
        group_score = by_group.max(axis=2)
    else:
        group_score = np.sort(by_group, axis=2)[:, :, -min(2, size):].sum(axis=2)
    allowed = m.mask_of(m.best(group_score, kept), groups)
    return np.where(np.repeat(allowed, size, axis=1), keys, -np.inf)


def raw_weights(s, s_back, chosen):
    return (lambda mask: np.where(mask, s, 0.0)), (lambda grad: s_back(np.where(chosen, grad, 0.0)))


def shared_weights(s, s_back, chosen):
    return (lambda mask: m.shares(s, mask)), (lambda grad: s_back(m.shares_backward(s, chosen, grad)))


def softmax_weights(logits, chosen):
    weights = m.softmax(logits, chosen)
    return (lambda mask: np.where(mask.any(axis=1, keepdims=True), m.softmax(logits, mask), 0.0),
            lambda grad: m.softmax_backward(weights, grad))


def top_k_family(options, logits, bias, context):
    """switch, mixtral, top_k, deepseek_moe, deepseek_v2, deepseek_v3."""
    kind, K = options["type"], context.top_k
    score_kind = {"deepseek_v3": "sigmoid"}.get(kind, options.get("score", "softmax") if kind == "top_k" else "softmax")
    s, s_back, p, p_back = score(score_kind, logits)
    rule = "top2" if score_kind != "softmax" else "max"
    keys = keep_groups(with_bias(s, bias, context), options.get("groups", 1), options.get("kept_groups", 1), rule)
    ids = m.best(keys, K)
    chosen = m.mask_of(ids, context.num_experts)
    normalize = options.get("normalize", "auto")
    shared = {"deepseek_v3": True, "top_k": K > 1 if normalize == "auto" else normalize}.get(kind, False)
    if kind == "mixtral":
        over, back = softmax_weights(logits, chosen)
    else:
        over, back = (shared_weights if shared else raw_weights)(s, s_back, chosen)
    return Decision(ids, s, over, back, p, p_back, keys, logits, options.get("scale", 1.0), shared or kind == "mixtral")


def gshard(options, logits, bias, context):
    """The second expert is taken by chance; the first keeps its share of both."""
    s, s_back, p, p_back = score("softmax", logits)
    keys = with_bias(s, bias, context)
    ids = m.best(keys, 2)
    pair = m.mask_of(ids, context.num_experts)
    refused = np.zeros(len(ids), bool)
    if context.training:
        second = np.take_along_axis(m.shares(s, pair), ids[:, 1:], axis=1)[:, 0]
        refused = ~(2.0 * second > context.draws.uniform(hashing.SECOND_EXPERT, np.arange(len(ids))))
        ids = np.where(np.stack([np.zeros_like(refused), refused], axis=1), -1, ids)
    if refused.all():
        ids = ids[:, :1]
    chosen = m.mask_of(ids, context.num_experts)
    pair_sum = np.where(pair, s, 0.0).sum(axis=1, keepdims=True)

    def over(mask):
        alone = np.where(mask, s, 0.0) / pair_sum
        return np.where(refused[:, None], alone, m.shares(s, mask))

    back = lambda grad: s_back(m.shares_backward(s, pair, np.where(chosen, grad, 0.0)))
    return Decision(ids, s, over, back, p, p_back, keys, logits, normalised=True)


def noisy_top_k(options, logits, noise, context):
    tokens, experts = logits.shape
    K, sigma = context.top_k, np.log(2.0) + 1e-2  # softplus(0) + 1e-2
    s, _, p, p_back = score("softmax", logits)
    h = logits
    if context.training:
        if noise is None:
            grid = np.arange(tokens)[:, None], np.arange(experts)[None, :]
            noise = sigma * context.draws.normal(hashing.GATE_NOISE, *grid)
        h = logits + noise
    order = m.best(h, experts)
    chosen = m.mask_of(order[:, :K], experts)
    over, back = softmax_weights(h, chosen)
    decision = Decision(order[:, :K], s, over, back, p, p_back, h, logits, normalised=True)
    if context.training and K < experts:
        rows = np.arange(tokens)[:, None]
        rival = np.where(chosen, order[:, K:K + 1], order[:, K - 1:K])  # whose value is the threshold
        x = (logits - h[rows, rival]) / sigma

        def load_backward(grad):
            slope = grad * m.normal_pdf(x) / sigma
            total = slope.copy()
            np.subtract.at(total, (np.broadcast_to(rows, rival.shape), rival), slope)
            return total

        decision.load, decision.load_backward = m.normal_cdf(x), load_backward
    return decision


def gumbel(options, logits, context):
    tokens, experts = logits.shape
    temperature, K = options.get("temperature", 1.0), context.top_k
    s, _, p, p_back = score("softmax", logits)
    z = logits
    if context.training:
        z = logits + context.draws.gumbel(hashing.GUMBEL, np.arange(tokens)[:, None], np.arange(experts)[None, :])
    z = z / temperature
    ids = m.best(z, K)
    chosen = m.mask_of(ids, experts)
    q = m.softmax(z)
    q_back = lambda grad: m.softmax_backward(q, grad) / temperature
    over, _ = (shared_weights if K > 1 else raw_weights)(p, None, chosen)
    _, back = raw_weights(q, q_back, chosen)  # straight through, without the sum
    return Decision(ids, s, over, back, p, p_back, z, logits, normalised=K > 1)


def soft(options, logits, context):
    s, s_back, p, p_back = score("softmax", logits)
    everyone = np.ones(logits.shape, bool)
    over, back = raw_weights(s, s_back, everyone)
    return Decision(m.columns_of(everyone, s), s, over, back, p, p_back, None, logits)


def relu(options, logits, context):
    s, s_back, p, p_back = score("relu", logits)
    chosen = s > 0
    over, back = raw_weights(s, s_back, chosen)
    return Decision(m.columns_of(chosen, s), s, over, back, p, p_back, None, logits)


def hierarchical(options, logits, context):
    """logits [T, a + E]: the groups', then the experts'."""
    (a, b), (k1, k2) = options["branches"], options["kept"]
    tokens, experts = len(logits), a * b
    outer = m.softmax(logits[:, :a])
    inner = m.softmax(logits[:, a:].reshape(tokens * a, b))
    s = np.repeat(outer, b, axis=1) * inner.reshape(tokens, experts)

    def s_back(grad):
        grad_outer = (grad * inner.reshape(tokens, experts)).reshape(tokens, a, b).sum(axis=2)
        grad_inner = (grad * np.repeat(outer, b, axis=1)).reshape(tokens * a, b)
        return np.concatenate([m.softmax_backward(outer, grad_outer),
                               m.softmax_backward(inner, grad_inner).reshape(tokens, experts)], axis=1)

    groups = np.repeat(m.mask_of(m.best(outer, k1), a), b, axis=1)
    inside = m.mask_of(m.best(inner, k2), b).reshape(tokens, experts)
    chosen = groups & inside
    over, back = shared_weights(s, s_back, chosen)
    ranking = np.where(groups, s, -np.inf)
    return Decision(m.columns_of(chosen, s), s, over, back, s, s_back, ranking, logits, normalised=True)


def hash_table(options, context):
    """Experts of every token id (of every pair of ids for bigram): a function of tokens and seed."""
    K, E, seed, tokens = context.top_k, context.num_experts, context.draws.seed, context.tokens
    if options.get("table", "random") == "balanced":
        frequency = np.bincount(tokens, minlength=context.vocab_size)
        load, table = np.zeros(E, np.int64), np.zeros((context.vocab_size, K), np.int64)
        for token in np.argsort(-frequency, kind="stable"):
            table[token] = np.argsort(load, kind="stable")[:K]
            load[table[token]] += frequency[token]
        return table[tokens]
    previous = np.concatenate([[context.vocab_size], tokens[:-1]])
    previous[::context.sequence_length] = context.vocab_size
    cache = {}
    for pair in set(zip(previous.tolist(), tokens.tolist())):
        name = (hashing.HASH_RANDOM, pair[1])
        if options.get("table", "random") == "bigram":
            name = (hashing.HASH_BIGRAM, *pair)
        chosen, j = [], 0
        while len(chosen) < K:
            expert = int(hashing.name_hash(seed, *name, j)) % E
            if expert not in chosen:
                chosen.append(expert)
            j += 1
        cache[pair] = chosen
    return np.array([cache[pair] for pair in zip(previous.tolist(), tokens.tolist())], np.int64)


def hash_router(options, logits, context):
    ids = hash_table(options, context)
    s = np.zeros((len(ids), context.num_experts), logits.dtype)
    over = lambda mask: np.where(mask, 1.0 / context.top_k, 0.0)
    return Decision(ids, s, over, lambda grad: np.zeros_like(logits))
