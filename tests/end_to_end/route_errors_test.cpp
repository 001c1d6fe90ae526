#include <sys/stat.h>

#include "tests/support/bad_input.h"

namespace switchyard::test {
namespace {

const std::string kLogits = R"("logits":{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]})";
const std::string kPlainMoe = "{num_experts: 4, balance: []}";

std::string bytes(size_t count) {
  return std::string(count, '\0');
}

/// Zeros, and these bytes at `place`.
std::string bytes(size_t count, size_t place, const std::string& some) {
  return bytes(count).replace(place, some.size(), some);
}

struct Route {
  std::string tensors = kLogits;    ///< of the header
  std::string content = bytes(64);  ///< behind the header
  std::string moe = kPlainMoe;      ///< in YAML
  Words more = {};                  ///< arguments
  std::string out = "out.safetensors";
};

/// A tensor behind those logits: zeros, where the content does not say more.
Route with(const std::string& name, const std::string& dtype, const std::string& shape, size_t size,
           Route route = {}) {
  route.tensors += ",\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape +
                   R"(,"data_offsets":[64,)" + std::to_string(64 + size) + "]}";
  route.content.resize(64 + size);
  return route;
}

BadInput route(const std::string& name, const Route& with) {
  return {name, 2, 0, [with](const TempFolder& temp) {
            Words words = {
                "route",
                temp.write("s.safetensors", safetensors("{" + with.tensors + "}", with.content)),
                temp.write("my.yaml", "model: {vocab_size: 200}\nmoe: " + with.moe + "\n"), "--out",
                with.out.empty() ? "" : temp.path(with.out)};
            words.insert(words.end(), with.more.begin(), with.more.end());
            return words;
          }};
}

/// The output has a name at which `make` has made something.
BadInput route_to(const std::string& name, const std::function<void(const std::string&)>& make) {
  BadInput input = route(name, {.out = "o"});
  input.arguments = [make, arguments = input.arguments](const TempFolder& temp) {
    make(temp.path("o"));
    return arguments(temp);
  };
  return input;
}

BadInput logits_of(const std::string& name, const std::string& dtype_and_shape, size_t size) {
  return route(name, {.tensors = R"("logits":{)" + dtype_and_shape + R"(,"data_offsets":[0,)" +
                                 std::to_string(size) + "]}",
                      .content = bytes(size)});
}

std::vector<BadInput> file_inputs() {
  return {
      {"a scores file that is not there", 2, 0,
       [](const TempFolder& temp) {
         return Words{"route", temp.path("none.safetensors"),
                      temp.write("my.yaml", "moe: {num_experts: 4}\n"), "--out",
                      temp.path("out.safetensors")};
       }},
      route("a scores file cut short", {.content = bytes(60)}),
      route("a scores file without logits",
            {.tensors = R"("tokens":{"dtype":"I64","shape":[2],"data_offsets":[0,16]})",
             .content = bytes(16)}),
      route("an unknown tensor of a scores file",
            {.tensors = R"("logit":{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]})"}),
      route("a name that would forge a second line",
            {.tensors =
                 R"("x\nerror: \u001b[31m":{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]})"}),
      logits_of("logits of another rank", R"("dtype":"F32","shape":[16])", 64),
      logits_of("logits of another type", R"("dtype":"I64","shape":[2,4])", 64),
      logits_of("logits without a token", R"("dtype":"F32","shape":[0,4])", 0),
      route("logits that are not finite", {.content = bytes(64, 26, "\x80\x7f")}),
      route("logits that are no numbers", {.content = bytes(64, 26, "\xc0\x7f")}),
      route("logits for another number of experts", {.more = {"moe.num_experts=8"}}),
  };
}

std::vector<BadInput> tensor_inputs() {
  const std::string hash = "{num_experts: 4, router: {type: hash}, balance: []}";
  const std::string tree =
      "{num_experts: 4, router: {type: hierarchical, branches: [2, 2], kept: [1, 2]}, balance: []}";
  return {
      route("logits for another number of experts, which a hash router does not read",
            with("tokens", "I64", "[4]", 32,
                 {.moe = "{num_experts: 8, router: {type: hash}, balance: []}"})),
      route("logits of a hierarchical router without those of the groups", {.moe = tree}),
      route("tokens of another number", with("tokens", "I64", "[3]", 24)),
      route("tokens of another type", with("tokens", "F32", "[4]", 16)),
      route("a negative token",
            with("tokens", "I64", "[4]", 32, {.content = bytes(96, 72, std::string(8, '\xff'))})),
      route("a hash router without tokens", {.moe = hash}),
      route("a token outside the vocabulary of a hash router",
            with("tokens", "I64", "[4]", 32, {.content = bytes(96, 72, "\xc8"), .moe = hash})),
      route("a token far outside of it",
            with("tokens", "I64", "[4]", 32,
                 {.content = bytes(96, 77, "\x01"),
                  .moe = "{num_experts: 4, router: {type: hash, table: balanced}, balance: []}"})),
      route("a bias of another rank", with("bias", "F32", "[1,4]", 16)),
      route("a bias for another number of experts", with("bias", "F32", "[3]", 12)),
      route("a bias that is no number",
            with("bias", "F32", "[4]", 16, {.content = bytes(80, 70, "\xc0\x7f")})),
      route("a bias out of the range of the logits' type",
            with("bias", "F64", "[4]", 32, {.content = bytes(96, 78, "\xf0\x7e")})),
      route("a bias for a router that takes none",
            with("bias", "F32", "[4]", 16,
                 {.moe = "{num_experts: 4, router: {type: sinkhorn}, balance: []}"})),
      route("noise of another shape",
            with("noise", "F32", "[4,3]", 48,
                 {.moe = "{num_experts: 4, router: {type: noisy_top_k}, balance: []}",
                  .more = {"--train"}})),
      route("noise outside training", with("noise", "F32", "[4,4]", 64)),
      route("noise for a router that has none",
            with("noise", "F32", "[4,4]", 64, {.more = {"--train"}})),
  };
}

std::vector<BadInput> argument_inputs() {
  return {
      route("tokens that are no whole sequences", {.more = {"--sequence-length", "3"}}),
      route("a sequence without tokens", {.more = {"--sequence-length", "0"}}),
      route("a number that no integer holds",
            {.more = {"--sequence-length", "99999999999999999999"}}),
      route("a negative seed", {.more = {"--seed", "-1"}}),
      route("an output without a name", {.out = ""}),
      route("an output in a folder that is not there", {.out = "none/o"}),
      route("an output in place of the scores", {.out = "s.safetensors"}),
      route("an output in place of the config", {.out = "my.yaml"}),
      route_to("an output in place of a pipe",
               [](const std::string& out) { REQUIRE(mkfifo(out.c_str(), 0600) == 0); }),
      route_to("an output behind a link to nothing",
               [](const std::string& out) { std::filesystem::create_symlink("none", out); }),
  };
}

std::string term(const std::string& term) {
  return "{num_experts: 4, balance: [" + term + "]}";
}

std::string router(const std::string& router, const std::string& more = "top_k: 2") {
  return "{num_experts: 4, " + more + ", router: {" + router + "}, balance: []}";
}

std::vector<BadInput> routing_inputs() {
  return {
      route("a coefficient below 0", {.moe = term("{type: z, coef: -1}")}),
      route("a coefficient that falls below 0", {.moe = term("{type: z, coef: {0: 1, 5: -1}}")}),
      route("the term load for a router without chances", {.moe = term("{type: load}")}),
      route("a term of probabilities for a router without them",
            {.moe = "{num_experts: 4, router: {type: hash}, balance: [{type: z}]}"}),
      route("a term of the router's weight without one", {.moe = term("{type: orthogonal}")}),
      route("a term of devices without their number", {.moe = term("{type: device}")}),
      route("a term of the ranks' groups without ranks that hold experts",
            {.moe = term("{type: device, groups: ranks}")}),
      route("groups of a term that do not divide the experts",
            {.moe = term("{type: device, groups: 3}")}),
      route("groups of a router that do not divide the experts",
            {.moe = router("type: deepseek_v2, groups: 3, kept_groups: 1")}),
      route("more kept groups than groups",
            {.moe = router("type: deepseek_v2, groups: 2, kept_groups: 3")}),
      route("more choices than the kept groups have experts",
            {.moe = router("type: deepseek_v2, groups: 2, kept_groups: 1", "top_k: 3")}),
      route("one choice for a router that normalises",
            {.moe = router("type: mixtral", "top_k: 1")}),
      route("a rule of biases for a router that takes none",
            {.moe = router("type: relu", "bias: {type: sign}")}),
      route("a quantile with groups", {.moe = router("type: deepseek_v2, groups: 2, kept_groups: 1",
                                                     "bias: {type: quantile}")}),
      route("a quantile where every expert is chosen",
            {.moe = router("type: mixtral", "top_k: 4, bias: {type: quantile}")}),
      route("a capacity of expert_choice",
            {.moe = router("type: expert_choice", "capacity: {factor: 1.0}")}),
      route("next choices of a router that has none",
            {.moe = router("type: relu", "capacity: {factor: 1.0, overflow: next_choice}")}),
      route("a list of experts without layers",
            {.moe = "{num_experts: [4, 4, 4, 4], balance: []}"}),
      route("experts without weights among recorded logits",
            {.moe = "{num_experts: 4, zero_experts: 1, balance: []}"}),
  };
}

TEST_CASE("Each bad scores file gets the one line that docs/errors.md shows") {
  std::vector<BadInput> inputs = file_inputs();
  for (const auto& more : {tensor_inputs(), argument_inputs()})
    inputs.insert(inputs.end(), more.begin(), more.end());
  compare_with_docs("scores", inputs);
}

TEST_CASE("Each router, term and capacity that cannot be gets the one line of docs/errors.md") {
  compare_with_docs("routing", routing_inputs());
}

TEST_CASE("A refused route says one line and writes nothing") {
  for (const BadInput& input :
       {file_inputs()[4], tensor_inputs()[0], argument_inputs()[0], routing_inputs()[0]}) {
    const TempFolder temp;
    const auto outcome = run(switchyard(0, input.arguments(temp)), temp.path());
    INFO(input.name);
    CHECK(lines_of(outcome.err).size() == 1);
    CHECK(outcome.out.empty());
    CHECK_FALSE(std::filesystem::exists(temp.path("out.safetensors")));
  }
}

}  // namespace
}  // namespace switchyard::test
