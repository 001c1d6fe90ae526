#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace switchyard {

/// Exit codes of the program (docs/errors.md). Library code never exits: it throws, main() maps.
enum class ExitCode : int {
  kDone = 0,
  kBadInput = 2,      ///< usage, config, data or checkpoint: missing, malformed, damaged
  kNumericAbort = 3,  ///< NaN or infinity under `train.on_nan: abort`
  kIoFailure = 4,     ///< a read or write that fails after work began
  kInternal = 70,     ///< a broken invariant of ours
  kTryAgain = 75,     ///< saved and stopped on request, or a hang was detected
};

/// Base of every error a user can meet. what() is the text after "error: ", it starts with
/// "[area]".
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& text) : std::runtime_error(text), code_(code) {}
  ExitCode code() const { return code_; }
  /// what() behind its area, to stand in the text of another error.
  std::string without_area() const;

 private:
  ExitCode code_;
};

/// A config or command line that cannot be used: place, key, bad value, what is allowed, nearest
/// key.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& text) : Error(ExitCode::kBadInput, "[config] " + text) {}
};

/// Input data that is missing, empty, truncated or out of range.
class DataError : public Error {
 public:
  explicit DataError(const std::string& text) : Error(ExitCode::kBadInput, "[data] " + text) {}
};

/// A checkpoint that is missing, damaged, or of another model.
class CheckpointError : public Error {
 public:
  explicit CheckpointError(const std::string& text)
      : Error(ExitCode::kBadInput, "[checkpoint] " + text) {}
};

/// A failed read or write after work began: names the path and the system's reason.
class IoError : public Error {
 public:
  explicit IoError(const std::string& text) : Error(ExitCode::kIoFailure, "[io] " + text) {}
};

/// A collective that failed: names rank, operation and the backend's text.
class CommError : public Error {
 public:
  explicit CommError(const std::string& text) : Error(ExitCode::kInternal, "[comm] " + text) {}
};

/// Loss or gradients that are not finite under `train.on_nan: abort`.
class NumericError : public Error {
 public:
  explicit NumericError(const std::string& text)
      : Error(ExitCode::kNumericAbort, "[numeric] " + text) {}
};

/// A broken invariant of our own code.
class InternalError : public Error {
 public:
  explicit InternalError(const std::string& text)
      : Error(ExitCode::kInternal, "[internal] " + text) {}
};

[[noreturn]] void fail_check(const char* condition, const char* file, int line,
                             const std::string& text);

}  // namespace switchyard

/// Throws InternalError unless `condition` holds; further arguments are an fmt format and its
/// values.
#define SWITCHYARD_CHECK(condition, ...)                                                       \
  do {                                                                                         \
    if (!(condition))                                                                          \
      ::switchyard::fail_check(#condition, __FILE__, __LINE__, ::fmt::format("" __VA_ARGS__)); \
  } while (false)
