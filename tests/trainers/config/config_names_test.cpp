#include "trainers/config/train_config.h"

#include <catch2/catch.hpp>

#include "tests/trainers/config/config_file.h"

using namespace switchyard;
using namespace switchyard::config_test;
using Catch::Matchers::Contains;
using Catch::Matchers::Equals;

TEST_CASE("typing errors get the key or value that was meant") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      // Slips of the finger.
      {"model.num_layer=2", "model.num_layers"},
      {"model.numlayers=2", "model.num_layers"},
      {"model.nun_layers=2", "model.num_layers"},
      {"model.hiden_dim=2", "model.hidden_dim"},
      {"model.hidden_dims=2", "model.hidden_dim"},
      {"model.hidden-dim=2", "model.hidden_dim"},
      {"model.num_head=2", "model.num_heads"},
      {"model.num_kv_head=2", "model.num_kv_heads"},
      {"model.kv_heads=2", "model.num_kv_heads"},
      {"model.headdim=2", "model.head_dim"},
      {"model.vocab=2", "model.vocab_size"},
      {"model.vocabsize=2", "model.vocab_size"},
      {"model.max_seq_length=2", "model.max_seq_len"},
      {"model.max_seqlen=2", "model.max_seq_len"},
      {"model.rope_tetha=2", "model.rope_theta"},
      {"model.norm_epsilon=1", "model.norm_eps"},
      {"model.tie_embedding=true", "model.tie_embeddings"},
      {"model.qknorm=full", "model.qk_norm"},
      {"model.initstd=1", "model.init_std"},
      {"moe.num_expert=2", "moe.num_experts"},
      {"moe.nexperts=2", "moe.num_experts"},
      {"moe.numExperts=2", "moe.num_experts"},
      {"moe.topk=2", "moe.top_k"},
      {"moe.top-k=2", "moe.top_k"},
      {"moe.expertdim=2", "moe.expert_dim"},
      {"moe.shared_expert=1", "moe.shared_experts"},
      {"moe.routr.type=switch", "moe.router"},
      {"moe.router.typ=switch", "moe.router.type"},
      {"moe.router.scor=sigmoid", "moe.router.score"},
      {"moe.router.normalise=true", "moe.router.normalize"},
      {"moe.router.group=2", "moe.router.groups"},
      {"moe.router.jiter=0.1", "moe.router.jitter"},
      {"moe.balance.0.coeff=1", "moe.balance.0.coef"},
      {"moe.balance.0.scop=step", "moe.balance.0.scope"},
      {"moe.balence=[]", "moe.balance"},
      {"moe.bais.type=sign", "moe.bias"},
      {"moe.capacity.facto=1", "moe.capacity.factor"},
      {"moe.capasity.factor=1", "moe.capacity"},
      {"moe.layer=all", "moe.layers"},
      {"paralel.expert=1", "parallel"},
      {"parallel.experts=1", "parallel.expert"},
      {"optim.learningrate=1", "optim.lr"},
      {"optim.l_r=1", "optim.lr"},
      {"optim.minlr=1", "optim.min_lr"},
      {"optim.warmup=1", "optim.warmup_steps"},
      {"optim.warm_up_steps=1", "optim.warmup_steps"},
      {"optim.beta=1", "optim.betas"},
      {"optim.weightdecay=1", "optim.weight_decay"},
      {"optim.weight_deacy=1", "optim.weight_decay"},
      {"optim.clipnorm=1", "optim.clip_norm"},
      {"optim.scheduler=cosine", "optim.schedule"},
      {"optimizer.lr=1", "optim"},
      {"train.step=1", "train.steps"},
      {"train.setps=1", "train.steps"},
      {"train.sequence_per_step=1", "train.sequences_per_step"},
      {"train.micro_sequence=1", "train.micro_sequences"},
      {"train.seq_length=1", "train.sequence_length"},
      {"train.precison=fp32", "train.precision"},
      {"train.recomput=full", "train.recompute"},
      {"train.onnan=skip", "train.on_nan"},
      {"trian.steps=1", "train"},
      {"eval.evry=1", "eval.every"},
      {"eval.sequence=1", "eval.sequences"},
      {"checkpoint.keeps=1", "checkpoint.keep"},
      {"checkpoints.keep=1", "checkpoint"},
      {"log.tensor_board=true", "log.tensorboard"},
      {"logging.every=1", "log"},
      {"run.sed=1", "run.seed"},
      {"run.treads=1", "run.threads"},
      {"run.nmae=x", "run.name"},
      {"run.directory=x", "run.dir"},
      {"data.num_domain=2", "data.num_domains"},
      {"data.content_token=9", "data.content_tokens"},
      // Keys in the wrong place.
      {"train.lr=1", "optim.lr"},
      {"lr=1", "optim.lr"},
      {"steps=1", "train.steps"},
      {"seed=1", "run.seed"},
      {"top_k=1", "moe.top_k"},
      {"model.num_experts=4", "moe.num_experts"},
      {"model.top_k=4", "moe.top_k"},
      {"moe.hidden_dim=4", "model.hidden_dim"},
      {"moe.score=sigmoid", "moe.router.score"},
      {"train.keep=1", "checkpoint.keep"},
      {"train.betas=[0, 0]", "optim.betas"},
      {"moe.factor=1", "moe.capacity.factor"},
      {"train.threads=1", "run.threads"},
      {"moe.coef=1", "moe.balance[].coef"},
      {"precision=fp32", "train.precision"},
      {"moe.ffn_dim=2", "model.ffn_dim"}};
  for (const auto& [override_text, expected] : cases) {
    const std::string text = command_problem(override_text);
    CAPTURE(override_text, text);
    CHECK_THAT(text, Contains("unknown key") && Contains("`" + expected + "`"));
  }
}

TEST_CASE("names of other programs are translated") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"model.hidden_size=1", "model.hidden_dim"},
      {"model.n_embd=1", "model.hidden_dim"},
      {"model.d_model=1", "model.hidden_dim"},
      {"hidden_size=1", "model.hidden_dim"},
      {"n_layer=1", "model.num_layers"},
      {"model.num_hidden_layers=1", "model.num_layers"},
      {"n_head=1", "model.num_heads"},
      {"model.num_attention_heads=1", "model.num_heads"},
      {"model.num_key_value_heads=1", "model.num_kv_heads"},
      {"model.num_query_groups=1", "model.num_kv_heads"},
      {"model.intermediate_size=1", "model.ffn_dim"},
      {"model.ffn_hidden_size=1", "model.ffn_dim"},
      {"block_size=1", "model.max_seq_len"},
      {"max_position_embeddings=1", "model.max_seq_len"},
      {"model.rms_norm_eps=1", "model.norm_eps"},
      {"tie_word_embeddings=true", "model.tie_embeddings"},
      {"initializer_range=1", "model.init_std"},
      {"num_experts_per_tok=1", "moe.top_k"},
      {"moe.num_experts_per_tok=1", "moe.top_k"},
      {"moe_router_topk=1", "moe.top_k"},
      {"num_local_experts=1", "moe.num_experts"},
      {"n_routed_experts=1", "moe.num_experts"},
      {"moe_intermediate_size=1", "moe.expert_dim"},
      {"n_shared_experts=1", "moe.shared_experts"},
      {"routed_scaling_factor=1", "moe.router.scale"},
      {"norm_topk_prob=true", "moe.router.normalize"},
      {"scoring_func=sigmoid", "moe.router.score"},
      {"n_group=1", "moe.router.groups"},
      {"topk_group=1", "moe.router.kept_groups"},
      {"router_jitter_noise=1", "moe.router.jitter"},
      {"router_aux_loss_coef=1", "moe.balance"},
      {"first_k_dense_replace=1", "moe.layers"},
      {"capacity_factor=1", "moe.capacity.factor"},
      {"bias_update_speed=1", "moe.bias.rate"},
      {"global_batch_size=1", "train.sequences_per_step"},
      {"train.batch_size=1", "train.sequences_per_step"},
      {"micro_batch_size=1", "train.micro_sequences"},
      {"gradient_accumulation_steps=1", "train.micro_sequences"},
      {"learning_rate=1", "optim.lr"},
      {"optim.learning_rate=1", "optim.lr"},
      {"max_steps=1", "train.steps"},
      {"max_iters=1", "train.steps"},
      {"train_iters=1", "train.steps"},
      {"warmup_iters=1", "optim.warmup_steps"},
      {"grad_clip=1", "optim.clip_norm"},
      {"max_grad_norm=1", "optim.clip_norm"},
      {"beta1=1", "optim.betas"},
      {"lr_scheduler_type=cosine", "optim.schedule"},
      {"eval_interval=1", "eval.every"},
      {"save_interval=1", "checkpoint.every"},
      {"log_interval=1", "log.every"},
      {"out_dir=x", "run.dir"},
      {"output_dir=x", "run.dir"},
      {"dtype=bf16", "train.precision"},
      {"expert_model_parallel_size=2", "parallel.expert"},
      {"gradient_checkpointing=true", "train.recompute"},
      {"seq_len=1", "train.sequence_length"}};
  for (const auto& [override_text, expected] : cases) {
    const std::string text = command_problem(override_text);
    CAPTURE(override_text, text);
    CHECK_THAT(text, Contains("unknown key") && Contains("`" + expected + "`"));
  }
}

TEST_CASE("a wrong word gets the nearest one, also for other programs' words") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"moe.router.type=topk", "top_k"},
      {"moe.router.type=swich", "switch"},
      {"moe.router.type=deepseekv3", "deepseek_v3"},
      {"moe.router.type=Mixtral", "mixtral"},
      {"moe.router.type=g_shard", "gshard"},
      {"moe.router.type=olmoe", "top_k"},
      {"moe.router.score=sigmod", "sigmoid"},
      {"moe.router.score=soft_max", "softmax"},
      {"moe.bias.type=sgin", "sign"},
      {"moe.capacity.order=positon", "position"},
      {"moe.capacity.order=probs", "probability"},
      {"train.precision=float32", "fp32"},
      {"train.precision=bfloat16", "bf16"},
      {"train.precision=fp46", "fp64"},
      {"train.recompute=fulll", "full"},
      {"train.on_nan=abor", "abort"},
      {"optim.type=adam", "adamw"},
      {"optim.schedule=cosin", "cosine"},
      {"optim.schedule=WSD", "wsd"},
      {"run.device=gpu", "cuda"},
      {"parallel.comm=mpii", "mpi"},
      {"model.qk_norm=heads", "head"},
      {"data.type=synthetc", "synthetic"},
      {"moe.capacity.scope=microbatch", "micro_batch"},
      {"run.threads=atuo", "auto"},
      {"moe.capacity.factor=non", "none"},
      {"model.vocab_size=atuo", "auto"},
      {"data.sampler=stratifed", "stratified"}};
  for (const auto& [override_text, expected] : cases) {
    const std::string text = command_problem(override_text);
    CAPTURE(override_text, text);
    CHECK_THAT(text, Contains("did you mean `" + expected + "`?") ||
                         Contains("is called `" + expected + "` here"));
  }
}

TEST_CASE("wrong types are refused with what is allowed") {
  CHECK_THAT(command_problem("train.steps=1.5"), Contains("train.steps: `1.5` is not an integer"));
  CHECK_THAT(command_problem("train.steps='5'"), Contains("remove the quotes"));
  CHECK_THAT(command_problem("train.steps=010"), Contains("leading zero"));
  CHECK_THAT(command_problem("train.steps=0"), Contains("allowed: integer ≥ 1"));
  CHECK_THAT(command_problem("train.steps=many"), Contains("is not an integer"));
  CHECK_THAT(command_problem("optim.lr=.nan"), Contains("is not finite"));
  CHECK_THAT(command_problem("optim.lr=fast"), Contains("is not a number"));
  CHECK_THAT(command_problem("log.tensorboard=yes"), Contains("allowed: true, false"));
  CHECK_THAT(command_problem("moe=none"),
             Contains("is not a block of keys; its keys: layers, num_experts"));
  CHECK_THAT(command_problem("moe.balance=none"), Contains("is not a list of blocks"));
  CHECK_THAT(command_problem("moe.router=switch"),
             Contains("is not a block of keys; write {type: ...}"));
  CHECK_THAT(command_problem("model={}"), Equals(""));
}
