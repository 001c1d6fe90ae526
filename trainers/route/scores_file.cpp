#include "trainers/route/scores_file.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <utility>

#include "core/base/as_bad_input.h"
#include "core/base/error.h"
#include "core/checkpoint/safetensors.h"
#include "core/checkpoint/strict_json.h"
#include "core/checkpoint/tensor_bytes.h"
#include "core/moe/options/router_traits.h"

namespace switchyard {
namespace {

struct Expected {
  const char* name;
  size_t dims;
  bool floats;
};
constexpr Expected kTensors[] = {
    {"logits", 2, true}, {"tokens", 1, false}, {"bias", 1, true}, {"noise", 2, true}};

[[noreturn]] void refuse(const std::string& path, const std::string& name,
                         const std::string& problem) {
  throw DataError(fmt::format("{}: tensor `{}` {}", path, name, problem));
}

void check_form(const std::string& path, const TensorEntry& entry) {
  for (const Expected& expected : kTensors) {
    if (entry.name != expected.name) continue;
    const bool fits = expected.floats ? entry.dtype == at::kFloat || entry.dtype == at::kDouble
                                      : entry.dtype == at::kLong || entry.dtype == at::kInt;
    if (!fits || entry.shape.size() != expected.dims)
      refuse(path, entry.name,
             fmt::format("is {}; allowed: {} with {} dimension{}",
                         describe_tensor(entry.dtype, entry.shape),
                         expected.floats ? "F32 or F64" : "I64 or I32", expected.dims,
                         expected.dims == 1 ? "" : "s"));
    return;
  }
  throw DataError(fmt::format("{}: tensor {} is not known; allowed: logits, tokens, bias, noise",
                              path, shown_name(entry.name)));
}

void read_tensors(const SafetensorsFile& file, Scores& scores) {
  for (const TensorEntry& entry : file.header().tensors) check_form(file.path(), entry);
  const auto read = [&](const char* name) {
    return file.header().find(name) ? file.read(name) : at::Tensor();
  };
  scores.logits_TE = read("logits");
  scores.tokens_T = read("tokens");
  scores.bias_E = read("bias");
  scores.noise_TE = read("noise");
}

// `values` are those of the file, `kept` the same in the type of the logits, whose range may be
// smaller.
void check_finite(const std::string& path, const std::string& name, const at::Tensor& values,
                  const at::Tensor& kept) {
  const at::Tensor bad = at::isfinite(kept).logical_not().flatten().nonzero();
  if (bad.size(0) == 0) return;
  const int64_t at = bad[0][0].item<int64_t>(), width = values.size(-1);
  const std::string place =
      values.dim() == 2 ? fmt::format("{}, {}", at / width, at % width) : fmt::format("{}", at);
  const bool same = values.scalar_type() == kept.scalar_type();
  refuse(
      path, name,
      fmt::format(
          "holds {} at [{}]; allowed: finite numbers{}", values.flatten()[at].item<double>(), place,
          same ? ""
               : " in the range of " + *dtype_name(kept.scalar_type()) + ", the type of `logits`"));
}

void check_columns(const Scores& scores, const std::string& name, const at::Tensor& tensor,
                   int64_t columns, const std::string& meaning) {
  if (tensor.size(-1) != columns)
    refuse(
        scores.path, name,
        fmt::format("has {} columns, the config needs {} ({})", tensor.size(-1), columns, meaning));
}

void check_tokens(const Scores& scores, int64_t vocab_size) {
  if (!scores.tokens_T.defined())
    throw DataError(fmt::format("{}: has no tensor `tokens`, which moe.router.type: hash routes by",
                                scores.path));
  const int64_t largest = scores.tokens_T.max().item<int64_t>();
  if (largest >= vocab_size)
    refuse(scores.path, "tokens",
           fmt::format("holds token {}; the vocabulary has {} (model.vocab_size)", largest,
                       vocab_size));
}

void check_rows(const Scores& scores, const std::string& name, const at::Tensor& tensor) {
  if (tensor.defined() && tensor.size(0) != scores.num_tokens())
    refuse(scores.path, name,
           fmt::format("has {} rows, `logits` has {}", tensor.size(0), scores.num_tokens()));
}

}  // namespace

Scores read_scores(FileOps& files, const std::string& path) {
  Scores scores;
  scores.path = path;
  try {
    as_bad_input<DataError>([&] { read_tensors(SafetensorsFile(files, path), scores); });
  } catch (const CheckpointError& error) {
    throw DataError(error.without_area());
  }
  if (!scores.logits_TE.defined())
    throw DataError(fmt::format("{}: has no tensor `logits` [tokens, experts]", path));
  if (scores.num_tokens() == 0) refuse(path, "logits", "has no rows; allowed: at least one token");

  check_finite(path, "logits", scores.logits_TE, scores.logits_TE);
  const std::pair<const char*, at::Tensor*> floats[] = {{"bias", &scores.bias_E},
                                                        {"noise", &scores.noise_TE}};
  for (const auto& [name, tensor] : floats) {
    if (!tensor->defined()) continue;
    const at::Tensor kept = tensor->to(scores.logits_TE.dtype());
    check_finite(path, name, *tensor, kept);
    *tensor = kept;
  }
  if (scores.tokens_T.defined()) {
    scores.tokens_T = scores.tokens_T.to(at::kLong);
    if (scores.tokens_T.numel() > 0 && scores.tokens_T.min().item<int64_t>() < 0)
      refuse(path, "tokens", "holds a negative token");
  }
  check_rows(scores, "tokens", scores.tokens_T);
  check_rows(scores, "noise", scores.noise_TE);
  return scores;
}

void check_scores(const Scores& scores, const MoEOptions& moe, const ScoresUse& use) {
  const std::string& type = moe.router.type;
  if (scores.num_tokens() % use.sequence_length != 0)
    throw DataError(fmt::format("{}: {} tokens are not a multiple of --sequence-length {}",
                                scores.path, scores.num_tokens(), use.sequence_length));
  const int64_t columns = use.logit_columns > 0 ? use.logit_columns : moe.num_experts;
  check_columns(scores, "logits", scores.logits_TE, columns,
                columns == moe.num_experts ? "moe.num_experts" : "branches of moe.router: a + a·b");
  if (scores.bias_E.defined()) {
    if (!router_traits(moe.router, moe.top_k).takes_bias)
      refuse(scores.path, "bias",
             fmt::format("is given, moe.router.type: {} takes none; routers that do: {}", type,
                         routers_with(&RouterTraits::takes_bias, moe.top_k)));
    check_columns(scores, "bias", scores.bias_E, moe.num_experts, "moe.num_experts");
  }
  if (scores.noise_TE.defined()) {
    if (!use.training) refuse(scores.path, "noise", "is given without --train, which alone has it");
    if (type != "noisy_top_k")
      refuse(scores.path, "noise",
             fmt::format("is given, moe.router.type: {} has none; allowed: noisy_top_k", type));
    check_columns(scores, "noise", scores.noise_TE, moe.num_experts, "moe.num_experts");
  }
  if (type == "hash") check_tokens(scores, use.vocab_size);
}

}  // namespace switchyard
