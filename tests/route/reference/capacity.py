"""Who finds room with an expert."""
import math

import numpy as np

from . import hashing, mathematics as m


def limit(tokens, context, options, factor):
    exact = factor * context.top_k * tokens / context.num_experts
    return max(options.get("min", 0), math.ceil(exact * (1.0 - 1e-12)))


def filling_order(tokens, choices, weights, order, context):
    """The sequence in which the assignments (token, choice) are served."""
    token, choice = tokens.astype(np.int64), choices.astype(np.int64)
    weight = weights[token, choice]
    if order == "probability":
        keys = (choice, token, -weight)
    elif order == "batch_priority":
        keys = (token, -weights.max(axis=1)[token], choice)
    elif order == "random" and context.training:
        keys = (token, context.draws.uniform(hashing.CAPACITY_ORDER, token), choice)
    else:
        keys = (token, choice)
    return np.lexsort(keys)  # the last key counts first


def scope_size(scope, num_tokens, sequence_length):
    if scope == "micro_batch":
        return num_tokens
    return sequence_length * (1 if scope == "sequence" else scope["sequences"])


def places_in(experts, num_experts):
    """The place of each assignment in its expert's queue, the assignments given in filling order."""
    by_expert = np.argsort(experts, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(experts, minlength=num_experts))[:-1]])
    place = np.empty(len(experts), np.int64)
    place[by_expert] = np.arange(len(experts)) - starts[experts[by_expert]]
    return place


def apply(decision, options, context):
    """Final ids, weights (with scale), kept and slot, each [T, C]."""
    ids = decision.expert_ids.copy()
    weights = decision.at_columns(decision.weights_over(decision.mask))
    kept, slot = np.zeros(ids.shape, np.uint8), np.full(ids.shape, -1, np.int64)
    if decision.places is not None:
        return ids, weights * decision.scale, (ids >= 0).astype(np.uint8), decision.places
    factor = options.get("factor", "none")
    if not context.training and options.get("eval_factor", "auto") != "auto":
        factor = options["eval_factor"]
    if factor == "none":
        options = {}  # the other rules are those of a capacity
    num_tokens = len(ids)
    size = scope_size(options.get("scope", "micro_batch"), num_tokens, context.sequence_length)
    for start in range(0, num_tokens, size):
        block = np.arange(start, min(start + size, num_tokens))
        rows, columns = np.nonzero(ids[block] >= 0)
        rows = rows + start
        order = filling_order(rows, columns, weights, options.get("order", "position"), context)
        rows, columns = rows[order], columns[order]
        experts = ids[rows, columns]
        place = places_in(experts, context.num_experts)
        room = len(block) * ids.shape[1] if factor == "none" else limit(len(block), context, options, factor)
        ok = place < room
        kept[rows[ok], columns[ok]], slot[rows[ok], columns[ok]] = 1, place[ok]
        if options.get("overflow", "drop") == "next_choice":
            load = np.minimum(np.bincount(experts, minlength=context.num_experts), room)
            walk(decision.ranking, ids, kept, slot, rows[~ok], columns[~ok], load, room)
    weights = final_weights(decision, ids, kept, weights, options)
    return ids, weights * decision.scale, kept, slot


def walk(ranking, ids, kept, slot, rows, columns, load, room):
    """Sends each refused assignment down its token's ranking."""
    for row, column in zip(rows, columns):
        has = set(ids[row].tolist())
        for expert in np.argsort(-ranking[row], kind="stable"):
            if ranking[row, expert] == -np.inf:
                break
            if expert not in has and load[expert] < room:
                ids[row, column], kept[row, column], slot[row, column] = expert, 1, load[expert]
                load[expert] += 1
                break


def final_weights(decision, ids, kept, weights, options):
    if options.get("overflow", "drop") == "next_choice":
        everyone = m.mask_of(ids, decision.scores.shape[1])
        weights = decision.at_columns(decision.weights_over(everyone), ids)
    if options.get("renormalize", False):
        total = np.where(kept == 1, weights, 0.0).sum(axis=1, keepdims=True)
        weights = np.where(kept == 1, weights / (total + m.SUM_FLOOR), weights)
    return weights
