#include "core/data/window_stream.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <set>

#include "tests/support/temp_folder.h"

namespace switchyard {
namespace {

/// Windows of one epoch, sorted by their start.
std::vector<int64_t> epoch_starts(const WindowStream& stream, int64_t epoch) {
  std::vector<int64_t> starts;
  const int64_t windows = stream.windows_per_epoch();
  for (int64_t k = 0; k < windows; ++k) starts.push_back(stream.at(epoch * windows + k).first);
  std::sort(starts.begin(), starts.end());
  return starts;
}

}  // namespace

TEST_CASE("an epoch takes no token twice and stays inside the segments", "[window_stream]") {
  const test::TempFolder folder;
  const TokenFile file(folder.write("f", std::string(2000, 'x')), TokenFormat::kBytes);
  const int64_t length = GENERATE(1, 7, 16, 100);
  const std::vector<Segment> segments = {{&file, 0, 950}, {&file, 1000, 40}, {&file, 1500, 17}};
  const WindowStream stream(segments, length, 5, WindowStream::Cut::kShifted);
  std::set<std::vector<int64_t>> cuts;
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    const auto starts = epoch_starts(stream, epoch);
    cuts.insert(starts);
    for (size_t i = 0; i < starts.size(); ++i) {
      if (i > 0) CHECK(starts[i] - starts[i - 1] >= length);
      const bool inside = std::any_of(segments.begin(), segments.end(), [&](const Segment& s) {
        return starts[i] >= s.first && starts[i] + length + 1 <= s.first + s.count;
      });
      CHECK(inside);
    }
  }
  if (length > 1) CHECK(cuts.size() > 4);  // epochs cut at different offsets
}

TEST_CASE("fixed windows fill the segment from its start", "[window_stream]") {
  const test::TempFolder folder;
  const TokenFile file(folder.write("f", std::string(100, 'x')), TokenFormat::kBytes);
  const WindowStream stream({{&file, 10, 41}}, 8, 1, WindowStream::Cut::kFixed);
  CHECK(epoch_starts(stream, 0) == std::vector<int64_t>{10, 18, 26, 34, 42});
}

TEST_CASE("the epochs of a stream come in different orders", "[window_stream]") {
  const test::TempFolder folder;
  const TokenFile file(folder.write("f", std::string(1001, 'x')), TokenFormat::kBytes);
  const std::vector<Segment> all = {{&file, 0, 1001}};
  const auto order = [&](uint64_t key, int64_t epoch) {
    const WindowStream stream(all, 10, key, WindowStream::Cut::kFixed);
    std::vector<int64_t> starts;
    for (int64_t k = 0; k < 100; ++k) starts.push_back(stream.at(epoch * 100 + k).first);
    return starts;
  };
  CHECK(order(1, 0) == order(1, 0));
  CHECK(order(1, 0) != order(1, 1));
  CHECK(order(1, 0) != order(2, 0));
}

TEST_CASE("segments too short for a window and its target yield nothing", "[window_stream]") {
  const test::TempFolder folder;
  const TokenFile file(folder.write("f", std::string(100, 'x')), TokenFormat::kBytes);
  CHECK(WindowStream({{&file, 0, 8}}, 8, 1, WindowStream::Cut::kFixed).windows_per_epoch() == 0);
  CHECK(WindowStream({{&file, 0, 9}}, 8, 1, WindowStream::Cut::kFixed).windows_per_epoch() == 1);
  CHECK(WindowStream({}, 8, 1, WindowStream::Cut::kShifted).windows_per_epoch() == 0);
}

}  // namespace switchyard
