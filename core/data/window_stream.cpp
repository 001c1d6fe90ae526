#include "core/data/window_stream.h"

#include <algorithm>

#include "core/base/counter_rng.h"
#include "core/base/error.h"
#include "core/data/permutation.h"

namespace switchyard {
namespace {

/// From this many windows on, a segment gives one up so that the offset may take any value.
constexpr int64_t kLongSegment = 16;

}  // namespace

WindowStream::WindowStream(std::vector<Segment> segments, int64_t length, uint64_t key, Cut cut)
    : length_(length), key_(key), cut_(cut) {
  int64_t total = 0;
  for (const Segment& segment : segments) {
    int64_t windows = (segment.count - 1) / length;
    if (windows < 1) continue;
    if (cut == Cut::kShifted && windows >= kLongSegment) --windows;
    segments_.push_back(segment);
    ends_.push_back(total += windows);
  }
}

Window WindowStream::at(int64_t index) const {
  const int64_t windows = windows_per_epoch();
  SWITCHYARD_CHECK(windows > 0 && index >= 0);
  const uint64_t epoch_key = hash_more(key_, static_cast<uint64_t>(index / windows));
  const int64_t place = permute(index % windows, windows, epoch_key);
  const auto s = std::upper_bound(ends_.begin(), ends_.end(), place) - ends_.begin();
  const int64_t before = s == 0 ? 0 : ends_[s - 1];
  const Segment& segment = segments_[s];
  int64_t offset = 0;
  if (cut_ == Cut::kShifted) {
    const int64_t spare = segment.count - 1 - (ends_[s] - before) * length_;
    const int64_t choices = std::min(spare + 1, length_);
    offset = static_cast<int64_t>(hash_more(epoch_key, static_cast<uint64_t>(s)) % choices);
  }
  return {segment.file, segment.first + offset + (place - before) * length_};
}

}  // namespace switchyard
