#include "core/config/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <unordered_map>

#include "core/base/error.h"
#include "core/config/nearest.h"

namespace switchyard {
namespace {

constexpr size_t kDeepest = 64;
constexpr size_t kMostNodes = 100'000;
constexpr uintmax_t kLargestFile = 8u << 20;

/// yaml-cpp takes any bytes, and byte 0x04 for the end of the text.
void check_bytes(const std::string& text, const std::string& place) {
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const size_t length = utf8_length(std::string_view(text).substr(at));
    if (length == 0)
      throw ConfigError(
          fmt::format("{}: byte 0x{:02X} at offset {} is not valid UTF-8; save the file as UTF-8",
                      place, byte, at));
    if ((byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7F)
      throw ConfigError(fmt::format("{}: control character 0x{:02X} at offset {} is not allowed",
                                    place, byte, at));
    at += length;
  }
}

/// Builds Values from yaml-cpp's events and refuses what it lets through.
class Builder : public YAML::EventHandler {
 public:
  /// With `fixed`, every node gets that mark instead of a line and column.
  Builder(std::string source, const Mark* fixed) : source_(std::move(source)), fixed_(fixed) {}

  void OnDocumentStart(const YAML::Mark& at) override {
    if (++documents_ > 1) fail(at, "a second document starts here; a config is one document");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& at, YAML::anchor_t anchor) override {
    Value value;
    value.mark = place(at);
    count(at, 1);
    add(std::move(value), anchor, at);
  }

  void OnAlias(const YAML::Mark& at, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) fail(at, "this alias stands inside the value that it names");
    count(at, found->second.nodes);
    if (stack_.size() + found->second.depth > kDeepest) fail_depth(at);
    Value copy = found->second.value;
    add_finished(std::move(copy), found->second.nodes, found->second.depth, at);
  }

  void OnScalar(const YAML::Mark& at, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    refuse_tag(at, tag);
    count(at, 1);
    Value value;
    value.kind = Value::Kind::kScalar;
    value.scalar = text;
    value.quoted = tag == "!";
    value.mark = place(at);
    add(std::move(value), anchor, at);
  }

  void OnSequenceStart(const YAML::Mark& at, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(at, tag, anchor, Value::Kind::kList);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& at, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(at, tag, anchor, Value::Kind::kMap);
  }
  void OnMapEnd() override { close(); }

  Value take() { return std::move(root_); }

 private:
  struct Frame {
    Value value;
    YAML::anchor_t anchor;
    YAML::Mark at;
    std::optional<std::string> key;
    Mark key_mark;
    size_t nodes = 1, depth = 1;
  };
  struct Anchored {
    Value value;
    size_t nodes, depth;
  };

  Mark place(const YAML::Mark& at) const {
    return fixed_ ? *fixed_ : Mark{source_, at.line + 1, at.column + 1};
  }

  [[noreturn]] void fail(const YAML::Mark& at, const std::string& problem) const {
    throw ConfigError(place(at).text() + ": " + problem);
  }

  [[noreturn]] void fail_depth(const YAML::Mark& at) const {
    fail(at, fmt::format("more than {} levels of nesting", kDeepest));
  }

  void refuse_tag(const YAML::Mark& at, const std::string& tag) const {
    if (tag.empty() || tag == "?" || tag == "!") return;
    fail(at, fmt::format("the tag `{}` is not allowed; write the value without it", tag));
  }

  void count(const YAML::Mark& at, size_t nodes) {
    nodes_ += nodes;
    if (nodes_ > kMostNodes)
      fail(at,
           fmt::format("more than {} values, aliases counted each time they are used", kMostNodes));
  }

  void open(const YAML::Mark& at, const std::string& tag, YAML::anchor_t anchor, Value::Kind kind) {
    // A quoted collection cannot exist: "!" here is an explicit tag.
    refuse_tag(at, tag == "!" ? "! " : tag);
    count(at, 1);
    if (stack_.size() >= kDeepest) fail_depth(at);
    Frame frame{{}, anchor, at, std::nullopt, {}};
    frame.value.kind = kind;
    frame.value.mark = place(at);
    stack_.push_back(std::move(frame));
  }

  void close() {
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    if (frame.anchor) anchors_[frame.anchor] = {frame.value, frame.nodes, frame.depth};
    add_finished(std::move(frame.value), frame.nodes, frame.depth, frame.at);
  }

  void add(Value value, YAML::anchor_t anchor, const YAML::Mark& at) {
    if (anchor) anchors_[anchor] = {value, 1, 1};
    add_finished(std::move(value), 1, 1, at);
  }

  void add_finished(Value value, size_t nodes, size_t depth, const YAML::Mark& at) {
    if (stack_.empty()) {
      value.key_mark = value.mark;
      root_ = std::move(value);
      return;
    }
    Frame& parent = stack_.back();
    parent.nodes += nodes;
    parent.depth = std::max(parent.depth, depth + 1);
    if (parent.value.is_list()) {
      value.key_mark = value.mark;
      parent.value.items.push_back(std::move(value));
    } else if (!parent.key) {
      add_key(parent, value, at);
    } else {
      value.key_mark = parent.key_mark;
      // The mark of an empty value points at whatever comes next.
      if (value.is_null()) value.mark = parent.key_mark;
      parent.value.map.emplace_back(*std::exchange(parent.key, std::nullopt), std::move(value));
    }
  }

  void add_key(Frame& parent, const Value& key, const YAML::Mark& at) {
    if (!key.is_scalar() || key.scalar.empty()) fail(at, "a key must be a word");
    if (key.scalar == "<<")
      fail(at,
           "merge keys (`<<`) are not supported; use `base: other.yaml` to build on another file");
    if (const Value* first = parent.value.find(key.scalar))
      fail(at, fmt::format("duplicate key `{}`, first written at line {}", key.scalar,
                           first->key_mark.line));
    parent.key = key.scalar;
    parent.key_mark = place(at);
  }

  std::string source_;
  const Mark* fixed_;
  std::vector<Frame> stack_;
  std::unordered_map<YAML::anchor_t, Anchored> anchors_;
  Value root_;
  size_t nodes_ = 0;
  int documents_ = 0;
};

Value parse(const std::string& text, const std::string& source, const Mark* fixed) {
  check_bytes(text, fixed ? fixed->text() : source);
  Builder builder(source, fixed);
  try {
    // yaml-cpp takes the end of the text for a closing quote; a document's end mark it does not.
    std::istringstream stream(text + "\n...\n");
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    const Mark mark = fixed ? *fixed : Mark{source, error.mark.line + 1, error.mark.column + 1};
    throw ConfigError(fmt::format("{}: not valid YAML: {}", mark.text(), error.msg));
  }
  Value value = builder.take();
  if (value.mark.source.empty()) {
    value.mark = fixed ? *fixed : Mark{source, 1, 1};
    value.key_mark = value.mark;
  }
  return value;
}

void set_key_marks(Value& value, const Mark& mark) {
  value.key_mark = mark;
  for (Value& item : value.items) set_key_marks(item, mark);
  for (auto& entry : value.map) set_key_marks(entry.second, mark);
}

}  // namespace

Value parse_yaml(const std::string& text, const std::string& source_name) {
  Value value = parse(text, source_name, nullptr);
  assign_paths(value, "");
  return value;
}

Value parse_inline_yaml(const std::string& text, const Mark& mark, const std::string& path) {
  Value value = parse(text, mark.source, &mark);
  set_key_marks(value, mark);
  assign_paths(value, path);
  return value;
}

Value read_yaml_file(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) throw ConfigError(path + ": no such file");
  if (std::filesystem::is_directory(status))
    throw ConfigError(path + ": is a folder; a config is a YAML file");
  // Reading a pipe would wait for its writer, on each rank for one of its own.
  if (!std::filesystem::is_regular_file(status))
    throw ConfigError(path + ": is a device, pipe or socket; a config is a YAML file");
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (!error && size > kLargestFile)
    throw ConfigError(fmt::format("{}: {} bytes are too many for a config; at most {}", path, size,
                                  kLargestFile));
  std::ifstream file(path, std::ios::binary);
  if (!file) throw ConfigError(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  Value value = parse_yaml(text, path);
  if (value.is_null())
    throw ConfigError(path + ": the file holds no keys; write {} for a config of defaults");
  return value;
}

}  // namespace switchyard
