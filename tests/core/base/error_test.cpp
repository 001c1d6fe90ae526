#include "core/base/error.h"

#include <catch2/catch.hpp>

#include "core/base/as_bad_input.h"

using namespace switchyard;

TEST_CASE("an error carries its area and the program's exit code") {
  CHECK(std::string(ConfigError("a").what()) == "[config] a");
  CHECK(ConfigError("a").code() == ExitCode::kBadInput);
  CHECK(std::string(DataError("a").what()) == "[data] a");
  CHECK(DataError("a").code() == ExitCode::kBadInput);
  CHECK(std::string(CheckpointError("a").what()) == "[checkpoint] a");
  CHECK(CheckpointError("a").code() == ExitCode::kBadInput);
  CHECK(std::string(IoError("a").what()) == "[io] a");
  CHECK(IoError("a").code() == ExitCode::kIoFailure);
  CHECK(std::string(NumericError("a").what()) == "[numeric] a");
  CHECK(NumericError("a").code() == ExitCode::kNumericAbort);
  CHECK(std::string(CommError("a").what()) == "[comm] a");
  CHECK(CommError("a").code() == ExitCode::kInternal);
}

TEST_CASE("exit codes are those of the documentation") {
  CHECK(static_cast<int>(ExitCode::kDone) == 0);
  CHECK(static_cast<int>(ExitCode::kBadInput) == 2);
  CHECK(static_cast<int>(ExitCode::kNumericAbort) == 3);
  CHECK(static_cast<int>(ExitCode::kIoFailure) == 4);
  CHECK(static_cast<int>(ExitCode::kInternal) == 70);
  CHECK(static_cast<int>(ExitCode::kTryAgain) == 75);
}

TEST_CASE("a broken invariant names the condition, the file without its folder, and the values") {
  const int apples = 3;
  CHECK_NOTHROW([&] { SWITCHYARD_CHECK(apples == 3); }());
  try {
    SWITCHYARD_CHECK(apples == 4, "there are {}", apples);
    FAIL("the check let 3 == 4 pass");
  } catch (const InternalError& error) {
    const std::string text = error.what();
    CHECK(text.find("[internal] error_test.cpp:") == 0);
    CHECK(text.find("apples == 4 does not hold: there are 3") != std::string::npos);
    CHECK(error.code() == ExitCode::kInternal);
  }
}

TEST_CASE("an error gives its text without the area, to stand in another one") {
  CHECK(IoError("a: b").without_area() == "a: b");
  CHECK(CheckpointError("[1, 2] is a shape").without_area() == "[1, 2] is a shape");
  CHECK(Error(ExitCode::kInternal, "without [an area] at all").without_area() ==
        "without [an area] at all");
}

TEST_CASE("what cannot be read before work begins is bad input, and nothing else is") {
  CHECK(as_bad_input<DataError>([] { return 3; }) == 3);
  CHECK_THROWS_AS(as_bad_input<DataError>([] { throw IoError("a"); }), DataError);
  CHECK_THROWS_WITH(as_bad_input<ConfigError>([] { throw IoError("a"); }, "run.dir: "),
                    "[config] run.dir: a");
  CHECK_THROWS_AS(as_bad_input<DataError>([] { throw NumericError("a"); }), NumericError);
}
