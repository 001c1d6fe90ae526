#pragma once

#include <cstdint>
#include <vector>

#include "core/data/token_file.h"

namespace switchyard {

/// Consecutive tokens of a file that belong together: a part of the file, or one document.
struct Segment {
  const TokenFile* file;
  int64_t first;
  int64_t count;
};

/// `length` tokens and the target of the last one, starting at `first`.
struct Window {
  const TokenFile* file;
  int64_t first;
};

/// The endless stream of windows of one domain. Windows lie inside a segment, `length` tokens apart
/// (the target of one window's last token is the first token of the next); an epoch visits each
/// exactly once, in a pseudo-random order of its own, so no token is an input twice in an epoch.
/// Segments of fewer than length + 1 tokens yield nothing.
class WindowStream {
 public:
  enum class Cut {
    kShifted,  ///< each epoch cuts every segment at an offset of its own (training)
    kFixed,    ///< as many windows as fit, from the segment's start (validation)
  };

  /// `key` names the stream: the order is a function of (key, epoch) alone.
  WindowStream(std::vector<Segment> segments, int64_t length, uint64_t key, Cut cut);

  int64_t windows_per_epoch() const { return ends_.empty() ? 0 : ends_.back(); }
  /// Window `index` of the stream, index ≥ 0; needs windows_per_epoch() > 0.
  Window at(int64_t index) const;

 private:
  std::vector<Segment> segments_;
  std::vector<int64_t> ends_;  ///< running sum of the segments' windows
  int64_t length_;
  uint64_t key_;
  Cut cut_;
};

}  // namespace switchyard
