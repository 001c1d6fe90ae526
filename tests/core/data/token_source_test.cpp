#include "core/data/token_source.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"

namespace switchyard {

TEST_CASE("the factory opens the type that the options name", "[token_source]") {
  const auto source = make_token_source(DataOptions{}, SourceContext{});
  CHECK(source->vocab_size() == 80);
  CHECK(source->domains().size() == 16);
  CHECK(source->has_true_model());

  DataOptions text;
  text.type = "text";
  text.files.paths = {"/nowhere/a.txt"};
  CHECK_THROWS_WITH(make_token_source(text, SourceContext{}), Catch::Contains("/nowhere/a.txt"));
}

TEST_CASE("a model vocabulary smaller than the corpus is refused", "[token_source]") {
  SourceContext context;
  context.vocab_size = 79;
  CHECK_THROWS_WITH(make_token_source(DataOptions{}, context),
                    Catch::Contains("model.vocab_size 79"));
  context.vocab_size = 80;
  CHECK_NOTHROW(make_token_source(DataOptions{}, context));
}

TEST_CASE("the fingerprint of the synthetic corpus names its options", "[token_source]") {
  DataOptions other;
  other.seed = 2;
  CHECK(make_token_source(DataOptions{}, SourceContext{})->fingerprint() !=
        make_token_source(other, SourceContext{})->fingerprint());
}

}  // namespace switchyard
