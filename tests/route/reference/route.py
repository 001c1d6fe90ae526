"""The whole of `route`: logits in, decisions, terms and the new bias out."""
import numpy as np

from . import batch_choice, bias_rules, capacity, hashing, terms, token_choice
from .decision import Context

TOP_K_FAMILY = ("switch", "mixtral", "top_k", "deepseek_moe", "deepseek_v2", "deepseek_v3")


def decide(router, logits, bias, noise, context):
    kind = router["type"]
    if kind in TOP_K_FAMILY:
        return token_choice.top_k_family(router, logits, bias, context)
    if kind == "gshard":
        return token_choice.gshard(router, logits, bias, context)
    if kind == "noisy_top_k":
        return token_choice.noisy_top_k(router, logits, noise, context)
    if kind == "hash":
        return token_choice.hash_router(router, logits, context)
    alone = {"gumbel": token_choice.gumbel, "soft": token_choice.soft, "relu": token_choice.relu,
             "hierarchical": token_choice.hierarchical, "expert_choice": batch_choice.expert_choice,
             "sinkhorn": batch_choice.sinkhorn, "base": batch_choice.base}
    return alone[kind](router, logits, context)


def route(inputs, moe, training=False, seed=1, step=0, layer=0, sequence_length=None, vocab_size=0):
    """inputs: arrays by name (logits, and tokens, bias, noise); moe: the block of a config.

    Returns the arrays that the command writes, in fp64 whatever the type of the logits.
    """
    logits = np.asarray(inputs["logits"], np.float64)
    bias_options = moe.get("bias", {"type": "none"})
    context = Context(moe["num_experts"], moe["top_k"], hashing.Draws(seed, step, layer), training,
                      sequence_length or len(logits), inputs.get("tokens"), vocab_size,
                      bias_options.get("type") == "multiplicative")
    bias = bias_rules.start(bias_options, inputs.get("bias"), context.num_experts)
    decision = decide(moe["router"], logits, bias, inputs.get("noise"), context)
    ids, weights, kept, slot = capacity.apply(decision, moe.get("capacity", {}), context)
    outputs = {"expert_ids": ids.astype(np.int64), "weights": weights, "kept": kept, "slot": slot,
               "counts": decision.counts, "new_bias": bias_rules.update(bias_options, bias, decision, context, step)}
    for i, term in enumerate(moe.get("balance", [])):
        value, gradient = terms.evaluate(term, decision, moe["router"], context)
        outputs[f"term.{i}"], outputs[f"term_grad.{i}"] = np.array([value]), gradient
    return outputs
