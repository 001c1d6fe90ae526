#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace switchyard {

/// CRC-32C (Castagnoli), and the masked form that TensorFlow's record files hold.
uint32_t crc32c(std::string_view bytes);
uint32_t masked_crc32c(std::string_view bytes);

/// One record of an event file: length, its checksum, the data, its checksum.
std::string event_record(std::string_view data);

/// The first event of a file: wall time (seconds since 1970) and the format's version.
std::string version_event(double wall_time);
/// Scalars of one step, as an Event protocol buffer (tensorboard/compat/proto/event.proto).
std::string scalar_event(double wall_time, int64_t step,
                         const std::vector<std::pair<std::string, float>>& scalars);

/// Reads records back: the data and the step of each (0 where an event has none).
struct EventRecord {
  std::string_view bytes;  ///< the whole record
  int64_t step = 0;
};
/// Stops quietly at the first record that is torn or damaged.
std::vector<EventRecord> read_records(std::string_view file);

}  // namespace switchyard
