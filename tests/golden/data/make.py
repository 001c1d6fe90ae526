#!/usr/bin/env python3
"""Golden values for MoE language models, made with Hugging Face transformers (float32, CPU, eager experts and attention).

  pip install torch==2.11.0 transformers==5.17.0 safetensors
  make.py OUT [--only NAME ...] [--seed N]

For every model below OUT/NAME/ receives
  config.json, model.safetensors     what save_pretrained writes: the names and layout found in published checkpoints
  golden.safetensors                 input_ids [B, L] int64, logits [B, L, V], nll (mean over B*(L-1) next-token predictions),
                                     router.<layer> [B*L, E] router outputs as the model returns them, hidden.<n> [B, L, H],
                                     grad.<parameter as on disk or in memory> for a few parameters of d nll / d parameter,
                                     train.nll [STEPS]: losses of an AdamW run on train.ids [STEPS, B, L]
  golden.json                        versions, optimizer settings, notes
"""
import argparse, json, os, torch, transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
import transformers as T

STEPS = 12
COMMON = dict(vocab_size=96, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              max_position_embeddings=64, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=None)

def models():
    c = COMMON
    yield "mixtral", T.MixtralConfig(**c, intermediate_size=48, num_local_experts=8, num_experts_per_tok=2,
                                     sliding_window=None, rope_theta=1e6)
    yield "olmoe", T.OlmoeConfig(**{**c, "num_key_value_heads": 4}, intermediate_size=24, num_experts=16,
                                 num_experts_per_tok=4, norm_topk_prob=False)
    yield "qwen3_moe", T.Qwen3MoeConfig(**c, head_dim=8, intermediate_size=48, moe_intermediate_size=24, num_experts=12,
                                        num_experts_per_tok=3, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[])
    yield "qwen3_moe_mixed", T.Qwen3MoeConfig(**{**c, "num_hidden_layers": 3, "tie_word_embeddings": True}, head_dim=16,
                                              intermediate_size=48, moe_intermediate_size=16, num_experts=8,
                                              num_experts_per_tok=2, norm_topk_prob=False, mlp_only_layers=[1])
    yield "deepseek_v3", T.DeepseekV3Config(**{**c, "num_key_value_heads": 4, "num_hidden_layers": 3}, intermediate_size=48,
                                            moe_intermediate_size=16, n_routed_experts=16, num_experts_per_tok=4, n_group=4,
                                            topk_group=2, n_shared_experts=1, routed_scaling_factor=2.5, first_k_dense_replace=1,
                                            norm_topk_prob=True, q_lora_rank=16, kv_lora_rank=16, qk_nope_head_dim=8,
                                            qk_rope_head_dim=8, v_head_dim=8)
    yield "qwen2_moe", T.Qwen2MoeConfig(**c, intermediate_size=48, moe_intermediate_size=16, num_experts=8, num_experts_per_tok=3,
                                        shared_expert_intermediate_size=24, norm_topk_prob=False, decoder_sparse_step=1,
                                        mlp_only_layers=[])
    yield "deepseek_v2", T.DeepseekV2Config(**{**c, "num_key_value_heads": 4, "num_hidden_layers": 3}, intermediate_size=48,
                                            moe_intermediate_size=16, n_routed_experts=12, num_experts_per_tok=3, n_group=4,
                                            topk_group=2, topk_method="group_limited_greedy", n_shared_experts=2,
                                            routed_scaling_factor=1.5, first_k_dense_replace=1, q_lora_rank=None,
                                            kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12)
    yield "llama", T.LlamaConfig(**c, intermediate_size=48)
    # What published checkpoints also have: an eps of the norms that those of the latents do not share (large, so that
    # it shows), heads in groups with a bound on their inputs that is reached, scores that are not normalised, dense layers.
    yield "deepseek_v2_greedy", T.DeepseekV2Config(**{**c, "num_key_value_heads": 4}, intermediate_size=48, rms_norm_eps=0.05,
                                                   moe_intermediate_size=16, n_routed_experts=8, num_experts_per_tok=3,
                                                   topk_method="greedy", n_shared_experts=1, first_k_dense_replace=0,
                                                   q_lora_rank=16, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8,
                                                   v_head_dim=8)
    yield "deepseek_v3_plain", T.DeepseekV3Config(**{**c, "num_key_value_heads": 4}, intermediate_size=48, rms_norm_eps=0.05,
                                                  moe_intermediate_size=16, n_routed_experts=8, num_experts_per_tok=3, n_group=4,
                                                  topk_group=2, n_shared_experts=2, routed_scaling_factor=1.5,
                                                  first_k_dense_replace=1, norm_topk_prob=False, rope_interleave=False,
                                                  q_lora_rank=None, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8,
                                                  v_head_dim=8)
    yield "olmoe_grouped", T.OlmoeConfig(**c, intermediate_size=16, num_experts=8, num_experts_per_tok=3, norm_topk_prob=True,
                                         clip_qkv=0.5)
    yield "qwen2_moe_every_second", T.Qwen2MoeConfig(**c, intermediate_size=48, moe_intermediate_size=16, num_experts=8,
                                                     num_experts_per_tok=2, shared_expert_intermediate_size=16,
                                                     norm_topk_prob=True, decoder_sparse_step=2, mlp_only_layers=[],
                                                     qkv_bias=False, rope_theta=1e6)
    # Rotary positions stretched to longer sequences: lengths and turns so that pairs of all kinds occur among four.
    yarn = dict(rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=32, beta_fast=4.0, beta_slow=0.25)
    yield "deepseek_v2_yarn", T.DeepseekV2Config(**{**c, "num_key_value_heads": 4}, intermediate_size=48, moe_intermediate_size=16,
                                                 n_routed_experts=8, num_experts_per_tok=3, topk_method="greedy",
                                                 n_shared_experts=1, first_k_dense_replace=1, q_lora_rank=None, kv_lora_rank=16,
                                                 qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12,
                                                 rope_parameters=dict(yarn, mscale=0.707, mscale_all_dim=0.707))
    yield "deepseek_v3_yarn", T.DeepseekV3Config(**{**c, "num_key_value_heads": 4}, intermediate_size=48, moe_intermediate_size=16,
                                                 n_routed_experts=8, num_experts_per_tok=3, n_group=4, topk_group=2,
                                                 n_shared_experts=1, first_k_dense_replace=1, q_lora_rank=16, kv_lora_rank=16,
                                                 qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8,
                                                 rope_parameters=dict(yarn, mscale=1.0, mscale_all_dim=0.5))
    yield "qwen3_moe_yarn", T.Qwen3MoeConfig(**c, head_dim=8, intermediate_size=48, moe_intermediate_size=24, num_experts=8,
                                             num_experts_per_tok=2, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[],
                                             rope_parameters=dict(yarn, truncate=False))
    yield "llama_llama3", T.LlamaConfig(**c, intermediate_size=48, rope_parameters=dict(
        rope_type="llama3", rope_theta=100.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32))
    yield "llama_linear", T.LlamaConfig(**c, intermediate_size=48,
                                        rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=2.5))

def build(cfg, seed):
    torch.manual_seed(seed)
    kw = dict(attn_implementation="eager")
    if cfg.model_type != "llama": kw["experts_implementation"] = "eager"
    m = AutoModelForCausalLM.from_config(cfg, dtype=torch.float32, **kw)
    g = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():                       # larger than the usual 0.02, so that no path is numerically dead
        for n, p in m.named_parameters():
            if p.dim() >= 2: p.normal_(0, 0.15, generator=g)
            elif "norm" in n: p.uniform_(0.7, 1.3, generator=g)
            else: p.normal_(0, 0.05, generator=g)
        for n, b in m.named_buffers():
            if n.endswith("e_score_correction_bias"): b.normal_(0, 0.2, generator=g)
    return m

def main():
    ap = argparse.ArgumentParser(); ap.add_argument("out"); ap.add_argument("--only", nargs="*"); ap.add_argument("--seed", type=int, default=7)
    a = ap.parse_args()
    torch.use_deterministic_algorithms(True, warn_only=True)
    for name, cfg in models():
        if a.only and name not in a.only: continue
        d = os.path.join(a.out, name); os.makedirs(d, exist_ok=True)
        m = build(cfg, a.seed); m.eval(); m.save_pretrained(d)
        for f in ("generation_config.json",):
            p = os.path.join(d, f)
            if os.path.exists(p): os.remove(p)
        B, L, V = 3, 17, cfg.vocab_size
        ids = torch.randint(0, V, (B, L), generator=torch.Generator().manual_seed(a.seed + 2))
        routers = {}
        hooks = []
        for n, mod in m.named_modules():
            cls = type(mod).__name__
            if cls.endswith("TopKRouter") or cls.endswith("Router") or (cls.endswith("Gate")):
                def keep(_m, _i, o, n=n): routers[n] = o
                hooks.append(mod.register_forward_hook(keep))
        o = m(input_ids=ids, output_hidden_states=True)
        for h in hooks: h.remove()
        out = {"input_ids": ids, "logits": o.logits}
        for n, r in routers.items():
            parts = r if isinstance(r, tuple) else (r,)
            for i, t in enumerate(parts):
                if torch.is_tensor(t): out[f"router.{n}.{i}"] = t.detach().clone()
        for i, h in enumerate(o.hidden_states): out[f"hidden.{i}"] = h
        nll = torch.nn.functional.cross_entropy(o.logits[:, :-1].reshape(-1, V), ids[:, 1:].reshape(-1))
        out["nll"] = nll.reshape(1)
        nll.backward()
        for n, p in m.named_parameters():
            if p.grad is not None: out["grad." + n] = p.grad
        # a short training run, plain AdamW, no auxiliary loss
        m = build(cfg, a.seed); m.train()
        dec = [p for p in m.parameters() if p.dim() >= 2]; rest = [p for p in m.parameters() if p.dim() < 2]
        opt = torch.optim.AdamW([{"params": dec, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=3e-3,
                                betas=(0.9, 0.95), eps=1e-8)
        tids = torch.randint(0, V, (STEPS, 4, L), generator=torch.Generator().manual_seed(a.seed + 3))
        tids[:, :, 1::2] = (tids[:, :, 0::2][:, :, :tids[:, :, 1::2].shape[2]] * 5 + 3) % V      # something learnable
        losses, norms = [], []
        for s in range(STEPS):
            lo = m(input_ids=tids[s]).logits
            l = torch.nn.functional.cross_entropy(lo[:, :-1].reshape(-1, V), tids[s][:, 1:].reshape(-1))
            opt.zero_grad(); l.backward(); norms.append(torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)); opt.step(); losses.append(l.detach())
        out["train.ids"] = tids; out["train.nll"] = torch.stack(losses); out["train.grad_norm"] = torch.stack(norms).detach()
        save_file({k: v.detach().contiguous().clone() for k, v in out.items()}, os.path.join(d, "golden.safetensors"))
        json.dump(dict(torch=torch.__version__, transformers=transformers.__version__, seed=a.seed, steps=STEPS,
                       optimizer="AdamW lr 3e-3 constant, betas 0.9 0.95, eps 1e-8, weight decay 0.1 on parameters of rank >= 2 only, global-norm clip 1.0",
                       router_outputs="as the router module returns them, in order"), open(os.path.join(d, "golden.json"), "w"), indent=1)
        print(name, sum(p.numel() for p in m.parameters()), float(nll), [round(float(x), 4) for x in losses[::3]], sorted(k for k in out if k.startswith("router"))[:6])
main()
