"""The configs of the grid: routers with capacity rules, bias rules and balance terms."""
import itertools
import json
from dataclasses import dataclass

VOCABULARY = 200


@dataclass(frozen=True)
class Router:
    name: str
    options: dict
    top_k: int
    bias: bool = False  # takes one
    capacity: bool = True  # takes one
    ranks: bool = True  # a refused token may go to its next choice
    probs: bool = True
    groups: bool = False


@dataclass(frozen=True)
class Combination:
    name: str
    moe: dict
    training: bool
    inputs: tuple = ()  # bias (added), factor (multiplied), noise
    dtype: str = "F64"


def routers(experts):
    k = 8
    biased = [
        Router("switch", {"type": "switch"}, 1, True),
        Router("gshard", {"type": "gshard"}, 2, True),
        Router("mixtral", {"type": "mixtral"}, k, True),
        Router("top_k", {"type": "top_k"}, k, True),
        Router("top_k raw", {"type": "top_k", "normalize": False, "scale": 1.5}, k, True),
        Router("top_k sigmoid", {"type": "top_k", "score": "sigmoid", "groups": 4, "kept_groups": 2}, 4, True, groups=True),
        Router("top_k sqrtsoftplus", {"type": "top_k", "score": "sqrtsoftplus"}, k, True),
        Router("top_k groups", {"type": "top_k", "groups": 8, "kept_groups": 4}, k, True, groups=True),
        Router("deepseek_moe", {"type": "deepseek_moe"}, k, True),
        Router("deepseek_v2", {"type": "deepseek_v2", "groups": 8, "kept_groups": 4, "scale": 1.5}, 6, True, groups=True),
        Router("deepseek_v3", {"type": "deepseek_v3", "groups": 8, "kept_groups": 4, "scale": 2.5}, k, True, groups=True),
    ]
    return biased + [
        Router("noisy_top_k", {"type": "noisy_top_k"}, k),
        Router("gumbel", {"type": "gumbel", "temperature": 0.7}, k),
        Router("gumbel one", {"type": "gumbel"}, 1),
        Router("sinkhorn", {"type": "sinkhorn"}, k),
        Router("sinkhorn one", {"type": "sinkhorn", "temperature": 0.5, "rounds": 5}, 1),
        Router("hierarchical", {"type": "hierarchical", "branches": [8, experts // 8], "kept": [4, 2]}, k),
        Router("base", {"type": "base"}, 1, ranks=False),
        Router("relu", {"type": "relu"}, k, ranks=False),
        Router("hash random", {"type": "hash"}, k, ranks=False, probs=False),
        Router("hash balanced", {"type": "hash", "table": "balanced"}, 2, ranks=False, probs=False),
        Router("hash bigram", {"type": "hash", "table": "bigram"}, k, ranks=False, probs=False),
        Router("soft", {"type": "soft"}, k, capacity=False, ranks=False),
        Router("expert_choice", {"type": "expert_choice"}, k, capacity=False, ranks=False),
        Router("expert_choice sequence", {"type": "expert_choice", "pool": "sequence"}, k, capacity=False, ranks=False),
        Router("expert_choice pool", {"type": "expert_choice", "pool": {"tokens": 100}}, k, capacity=False, ranks=False),
    ]


def capacity_rules():
    """No capacity, another one in evaluation, and every order with every overflow and scope."""
    rules = {"dropless": {}, "eval_factor": {"factor": 2.0, "eval_factor": 0.9, "scope": {"sequences": 5}}}
    every = itertools.product(("drop", "next_choice"), ("micro_batch", "sequence", {"sequences": 3}),
                              ("position", "probability", "batch_priority", "random"))
    for i, (overflow, scope, order) in enumerate(every):
        rule = {"factor": (1.0, 0.75, 1.1, 0.9, 1.25)[i % 5], "order": order, "overflow": overflow, "scope": scope}
        rule.update({"renormalize": True} if i % 3 == 1 else {})
        rule.update({"min": 3} if i % 7 == 4 else {})
        rules[f"{overflow} {order} {scope if isinstance(scope, str) else 'sequences'}"] = rule
    return rules


CAPACITIES = capacity_rules()

# `route` has no average of earlier counts, and every rule goes by ratios of counts, so that `ema` must leave the first
# step what it is; tests/core/moe/bias_test.cpp averages over steps.
BIASES = {
    "given bias": {"type": "none"},
    "sign": {"type": "sign", "rate": 0.01},
    "sign frozen": {"type": "sign", "rate": 0.01, "freeze_after": 3},
    "sign by step": {"type": "sign", "rate": {0: 0.5, 4: 0.02, 9: 0.0}, "zero_mean": True},
    "proportional": {"type": "proportional", "rate": 0.02, "ema": 0.9},
    "multiplicative": {"type": "multiplicative", "rate": 0.02},
    "pid": {"type": "pid", "kp": 0.01, "ki": 0.002, "kd": 0.003, "zero_mean": True},
    "quantile": {"type": "quantile"},
}


def terms_of(router, training):
    """Every balance term that the router has."""
    if not router.probs:
        return []
    terms = [
        {"type": "load_balance", "scope": "step", "coef": 0.02},
        {"type": "load_balance", "scope": "sequence"},
        {"type": "load_balance", "scope": {"sequences": 3}, "first_choice": True},
        {"type": "device", "groups": 4},
        {"type": "communication", "groups": 8},
        {"type": "importance"},
        {"type": "z"},
        {"type": "entropy"},
        {"type": "token_entropy", "coef": -0.01},
        {"type": "load_balance", "scope": "step", "f": "exact"},
    ]
    if router.options["type"] not in ("base", "sinkhorn", "relu", "soft", "expert_choice"):
        terms.append({"type": "load_balance", "count": "unbiased", "scope": "micro_batch"})
    if router.options["type"] == "noisy_top_k" and training:
        terms.append({"type": "load"})
    return terms


def block(router, experts, balance, **rest):
    return {"num_experts": experts, "top_k": router.top_k, "router": router.options, "balance": balance, **rest}


def capacity_for(router, rule):
    """The rule as the router can take it, or None."""
    if rule and not router.capacity or rule.get("overflow") == "next_choice" and not router.ranks:
        return None
    return {key: value for key, value in rule.items() if key != "renormalize" or router.top_k > 1}


def inputs_of(router, training):
    return ("noise",) if router.options["type"] == "noisy_top_k" and training else ()


def combinations(experts):
    """Every router with every capacity rule, bias rule and term that it takes."""
    found = []
    for r, router in enumerate(routers(experts)):
        for c, (name, rule) in enumerate(CAPACITIES.items()):
            rule = capacity_for(router, rule)
            if rule is None:
                continue
            random = rule.get("order") == "random"  # in evaluation it is `position`
            training = (r + c) % 3 > 0 if random else (r + c) % 2 == 0
            terms = terms_of(router, training)
            first = (3 * c) % max(len(terms), 1)
            found.append(Combination(f"{router.name}, {name}, {'training' if training else 'evaluation'}",
                                     block(router, experts, (terms + terms)[first:first + 3], capacity=rule),
                                     training, inputs_of(router, training)))
        for training in (True, False):
            found.append(Combination(f"{router.name}, all terms, {'training' if training else 'evaluation'}",
                                     block(router, experts, terms_of(router, training)), training))
        if router.options["type"] not in ("soft", "expert_choice"):  # they order all scores: near ties in fp32
            found.append(Combination(f"{router.name}, fp32", block(router, experts, terms_of(router, False)[:3]), False,
                                     (), "F32"))
        if router.bias:
            found += with_biases(router, experts, 3 * r)
    return found


def with_biases(router, experts, turn):
    """Every bias rule, each with another capacity; `turn` is where those begin."""
    found, capacities = [], list(CAPACITIES.items())
    for b, (name, rule) in enumerate(BIASES.items()):
        if rule["type"] == "quantile" and router.groups:
            continue
        given = "factor" if rule["type"] == "multiplicative" else "bias"
        terms = [{"type": "load_balance", "count": "unbiased"}, {"type": "importance"}]
        seats, capacity = capacities[(turn + 5 * b) % len(capacities)]
        found.append(Combination(f"{router.name}, {name}, {seats}",
                                 block(router, experts, terms, bias=rule, capacity=capacity_for(router, capacity)),
                                 b % 2 == 0, (given,)))
    unbiased = {"type": "sign", "rate": 0.01, "ema": 0.5}
    found.append(Combination(f"{router.name}, sign from zero", block(router, experts, [], bias=unbiased), True))
    return found


def features(combination):
    """What a combination tries."""
    moe, capacity = combination.moe, combination.moe.get("capacity", {})
    found = {("router", json.dumps(moe["router"]), moe["top_k"]), ("training", combination.training),
             ("inputs", combination.inputs), ("dtype", combination.dtype), ("bias", json.dumps(moe.get("bias", {})))}
    for term in moe["balance"]:
        found.add(("term", *(str(term.get(key)) for key in ("type", "scope", "count", "first_choice", "f"))))
    if capacity:
        found.add(("capacity", *(str(capacity.get(key)) for key in ("order", "overflow", "scope"))))
        found.add(("bias with capacity", "bias" in moe))
    return found | {("capacity key", key) for key in capacity}


def reduced(found):
    """Every eighth combination, and as few others as bring in the features that those lack."""
    has = [features(combination) for combination in found]
    chosen = set(range(0, len(found), 8))
    missing = set().union(*has) - set().union(*(has[i] for i in chosen))
    while missing:
        best = max(range(len(found)), key=lambda i: len(has[i] & missing))
        chosen.add(best)
        missing -= has[best]
    return [found[i] for i in sorted(chosen)]
