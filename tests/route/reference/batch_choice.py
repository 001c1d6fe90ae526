"""Routers that assign a whole batch at once."""
import numpy as np

from . import mathematics as m
from .decision import Decision
from .token_choice import raw_weights, score


def expert_choice(options, logits, context):
    """Each expert takes its best tokens of each pool."""
    tokens, experts = logits.shape
    s, s_back, p, p_back = score("softmax", logits)
    pool = options.get("pool", "micro_batch")
    size = {"micro_batch": tokens, "sequence": context.sequence_length}.get(pool if isinstance(pool, str) else "", 0)
    size = size or pool["tokens"]
    chosen, place = np.zeros(s.shape, bool), np.full(s.shape, -1)
    for start in range(0, tokens, size):
        block = s[start:start + size]
        count = min(len(block), -(-context.top_k * len(block) // experts))
        order = m.best(block.T, count)  # [E, count]
        columns = np.repeat(np.arange(experts), count)
        chosen[start + order.ravel(), columns] = True
        place[start + order.ravel(), columns] = np.tile(np.arange(count), experts)
    over, back = raw_weights(s, s_back, chosen)
    ids = m.columns_of(chosen, s)
    places = np.where(ids >= 0, np.take_along_axis(place, np.maximum(ids, 0), axis=1), -1)
    return Decision(ids, s, over, back, p, p_back, None, logits, places=places)


def sinkhorn(options, logits, context):
    tokens, experts = logits.shape
    K, temperature = context.top_k, options.get("temperature", 1.0)
    keys = logits
    if context.training:
        log_kernel = logits / temperature
        log_u = np.zeros((tokens, 1))
        for _ in range(options.get("rounds", 8)):
            log_v = np.log(tokens / experts) - m.log_sum_exp((log_u + log_kernel).T)
            log_u = -m.log_sum_exp(log_kernel + log_v)[:, None]
        keys = log_u + log_kernel + log_v
    ids = m.best(keys, K)
    chosen = m.mask_of(ids, experts)
    _, _, p, p_back = score("softmax", logits)
    s, s_back, _, _ = score("sigmoid" if K == 1 else "softmax", logits)
    over, back = raw_weights(s, s_back, chosen)
    return Decision(ids, logits, over, back, p, p_back, keys, logits)


def base(options, logits, context):
    experts = logits.shape[1]
    expert_T = balanced_assignment(logits) if context.training else m.best(logits, 1)[:, 0]
    ids = expert_T[:, None]
    chosen = m.mask_of(ids, experts)
    _, _, p, p_back = score("softmax", logits)
    s, s_back, _, _ = score("sigmoid", logits)
    over, back = raw_weights(s, s_back, chosen)
    return Decision(ids, logits, over, back, p, p_back, None, logits)


def balanced_assignment(logits):
    """The expert of each token, every expert with floor or ceil(T/E) tokens, the sum of logits maximal.

    Starts from each token's favourite, which is optimal for the loads it has, and moves one token at a
    time along the cheapest chain of experts: that keeps it optimal for its loads.
    """
    tokens, experts = logits.shape
    assigned = logits.argmax(axis=1)
    low, high, price = tokens // experts, -(-tokens // experts), 1e6 * (1.0 + np.abs(logits).max())
    cost = np.full((experts, experts), np.inf)  # of moving one token from row to column
    for e in range(experts):
        update_row(cost, logits, assigned, e)
    while True:
        load = np.bincount(assigned, minlength=experts)
        leave = np.where(load > high, -price, np.where(load > low, 0.0, price))
        enter = np.where(load < low, -price, np.where(load < high, 0.0, price))
        distance, following = shortest_paths(cost)
        total = leave[:, None] + distance + enter
        np.fill_diagonal(total, np.inf)
        start, end = np.unravel_index(total.argmin(), total.shape)
        if total[start, end] >= -1e-12:
            return assigned
        path = [start]
        while path[-1] != end:
            path.append(following[path[-1], end])
        moves = [move_of(logits, assigned, a, b) for a, b in zip(path, path[1:])]
        for token, target in zip(moves, path[1:]):
            assigned[token] = target
        for e in path:
            update_row(cost, logits, assigned, e)


def move_of(logits, assigned, source, target):
    members = np.nonzero(assigned == source)[0]
    return members[(logits[members, source] - logits[members, target]).argmin()]


def update_row(cost, logits, assigned, e):
    members = np.nonzero(assigned == e)[0]
    cost[e] = np.inf
    if len(members):
        cost[e] = (logits[members, e:e + 1] - logits[members]).min(axis=0)
    cost[e, e] = 0.0


def shortest_paths(cost):
    """Floyd and Warshall: lengths, and the next stop on the way."""
    distance, experts = cost.copy(), len(cost)
    following = np.tile(np.arange(experts), (experts, 1))
    for middle in range(experts):
        through = distance[:, middle:middle + 1] + distance[middle]
        shorter = through < distance - 1e-13
        distance = np.where(shorter, through, distance)
        following = np.where(shorter, following[:, middle:middle + 1], following)
    return distance, following
