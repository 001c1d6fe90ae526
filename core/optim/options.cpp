#include "core/optim/options.h"

#include <fmt/format.h>

#include "core/base/error.h"
#include "core/config/fields.h"

namespace switchyard {

void describe(Fields& fields, OptimOptions& options) {
  fields.choice("type", options.type, {"adamw"}, "The optimizer.")
      .also_called({"optimizer", "optim", "optimizer_type", "name"})
      .also_spelled({{"adam", "adamw"}, {"adamw_torch", "adamw"}, {"adamw_fused", "adamw"}});
  fields.number("lr", options.lr, "Highest learning rate.")
      .at_least(0)
      .also_called({"learning_rate", "max_lr", "peak_lr", "base_lr"});
  fields
      .number("min_lr", options.min_lr,
              "Learning rate at the end of the schedule; at most lr by default.")
      .at_least(0)
      .also_called({"lr_min", "min_learning_rate", "final_lr", "end_lr"});
  fields
      .choice("schedule", options.schedule, {"constant", "linear", "cosine", "wsd"},
              "Course of the learning rate after the warm-up.")
      .also_called({"lr_scheduler_type", "lr_decay_style", "lr_scheduler", "decay_type",
                    "lr_schedule", "scheduler"})
      .also_spelled(
          {{"WSD", "wsd"}, {"warmup_stable_decay", "wsd"}, {"cosine_with_min_lr", "cosine"}});
  fields.integer("warmup_steps", options.warmup_steps, "Steps of linear warm-up.")
      .at_least(0)
      .also_called({"warmup_iters", "lr_warmup_iters", "num_warmup_steps", "lr_warmup_steps",
                    "warmup_ratio"});
  fields.integer("decay_steps", options.decay_steps, "Steps of the final decay.")
      .at_least(0)
      .only_for({"wsd"}, "schedule")
      .also_called({"lr_decay_iters", "lr_wsd_decay_iters", "num_decay_steps", "lr_decay_steps"});
  fields.numbers("betas", options.betas, "Decay rates of the first and second moment.")
      .length(2)
      .at_least(0)
      .less_than(1)
      .also_called({"adam_beta1", "adam_beta2", "beta1", "beta2", "adam_betas"});
  fields.number("eps", options.eps, "Added to the root of the second moment.")
      .more_than(0)
      .also_called({"adam_eps", "adam_epsilon", "epsilon"});
  fields
      .number("weight_decay", options.weight_decay,
              "Decay of the parameters of two or more dimensions.")
      .at_least(0)
      .also_called({"wd", "adam_weight_decay"});
  fields.number("clip_norm", options.clip_norm, "Largest global gradient norm; 0 = no clipping.")
      .at_least(0)
      .also_called({"grad_clip", "max_grad_norm", "clip_grad", "gradient_clipping", "max_norm",
                    "gradient_clip_val"});
}

void validate(const OptimOptions& options) {
  if (options.schedule != "constant" && options.min_lr > options.lr)
    throw ConfigError(
        fmt::format("optim.min_lr: {} is above optim.lr: {}", options.min_lr, options.lr));
  if (options.schedule == "wsd" && options.decay_steps == 0)
    throw ConfigError(
        "optim.schedule: wsd needs optim.decay_steps ≥ 1, the length of its final decay");
}

}  // namespace switchyard
