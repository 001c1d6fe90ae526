#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <random>

#include "core/base/error.h"
#include "core/checkpoint/file_ops.h"

namespace switchyard::test {

/// A file system in memory that can lose its power. It knows what is durable: the contents of a
/// file up to its last sync, the names in a folder up to that folder's last sync.
class MemoryFileOps final : public FileOps {
 public:
  Kind kind(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    const Node* node = find(path);
    return node == nullptr ? Kind::kMissing : node->folder ? Kind::kFolder : Kind::kFile;
  }
  std::vector<std::string> list(const std::string& folder) override {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [name, node] : need(folder, true).names) names.push_back(name);
    return names;
  }
  FileHandle create(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    add(path, false);
    open_.push_back(shared(path));
    return {static_cast<int>(open_.size() - 1), path};
  }
  void reserve(const FileHandle& file, uint64_t bytes) override {
    const std::lock_guard lock(mutex_);
    of(file).reserved = bytes;
  }
  size_t write(const FileHandle& file, const void* data, size_t bytes) override {
    const std::lock_guard lock(mutex_);
    of(file).data.append(static_cast<const char*>(data), bytes);
    return bytes;
  }
  void sync(const FileHandle& file) override {
    const std::lock_guard lock(mutex_);
    of(file).durable_bytes = of(file).data.size();
  }
  FileHandle open(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    need(path, false);
    open_.push_back(shared(path));
    return {static_cast<int>(open_.size() - 1), path};
  }
  uint64_t size(const FileHandle& file) override {
    const std::lock_guard lock(mutex_);
    return of(file).data.size();
  }
  size_t read(const FileHandle& file, void* data, size_t bytes, uint64_t offset) override {
    const std::lock_guard lock(mutex_);
    const std::string& all = of(file).data;
    if (offset >= all.size()) return 0;
    return all.copy(static_cast<char*>(data), bytes, offset);
  }
  void close(const FileHandle&) noexcept override {}
  void make_folder(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    add(path, true);
  }
  void sync_folder(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    Node& folder = need(path, true);
    folder.durable_names = folder.names;
    folder.changes.clear();
  }
  void rename(const std::string& from, const std::string& to) override {
    const std::lock_guard lock(mutex_);
    if (parent_of(from) != parent_of(to)) throw IoError("rename across folders");
    if (find(from) == nullptr || find(to) != nullptr) throw IoError("cannot rename " + from);
    change(need(parent_of(from), true), name_of(from), name_of(to), shared(from));
  }
  void remove_file(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    need(path, false);
    change(need(parent_of(path), true), name_of(path), "", nullptr);
  }
  void remove_folder(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    if (!need(path, true).names.empty()) throw IoError(path + " is not empty");
    change(need(parent_of(path), true), name_of(path), "", nullptr);
  }

  // For tests.
  /// The contents of a file, to be read or damaged.
  std::string& contents(const std::string& path) {
    const std::lock_guard lock(mutex_);
    return need(path, false).data;
  }
  /// A file system with the same contents.
  std::unique_ptr<MemoryFileOps> copy() const {
    auto result = std::make_unique<MemoryFileOps>();
    result->root_ = copy_of(*root_);
    return result;
  }
  /// What may be on the disk after the power went: of each folder's changes since its sync the
  /// first few, of each file's bytes since its sync the first few, then perhaps zeros up to its
  /// size.
  void lose_power(uint64_t seed) {
    const std::lock_guard lock(mutex_);
    std::mt19937_64 random(seed);
    forget(*root_, random);
    open_.clear();
  }

 private:
  struct Node;
  using Names = std::map<std::string, std::shared_ptr<Node>>;
  struct Change {
    std::string gone, come;  ///< "" = none
    std::shared_ptr<Node> node;
  };
  struct Node {
    bool folder = false;
    std::string data;
    size_t durable_bytes = 0;
    uint64_t reserved = 0;
    Names names, durable_names;
    std::vector<Change> changes;  ///< since the folder's sync
  };

  static std::string parent_of(const std::string& path) {
    return path.substr(0, path.find_last_of('/'));
  }
  static std::string name_of(const std::string& path) {
    return path.substr(path.find_last_of('/') + 1);
  }
  static void apply(Names& names, const Change& change) {
    if (!change.gone.empty()) names.erase(change.gone);
    if (!change.come.empty()) names[change.come] = change.node;
  }
  static void change(Node& folder, const std::string& gone, const std::string& come,
                     std::shared_ptr<Node> node) {
    folder.changes.push_back({gone, come, std::move(node)});
    apply(folder.names, folder.changes.back());
  }
  static void forget(Node& node, std::mt19937_64& random) {
    const auto upto = [&](size_t most) { return static_cast<size_t>(random() % (most + 1)); };
    if (!node.folder) {
      const size_t whole = node.data.size();
      node.data.resize(node.durable_bytes + upto(whole - node.durable_bytes));
      if (random() % 2 == 0) node.data.resize(std::max<size_t>(whole, node.reserved), '\0');
      node.durable_bytes = node.data.size();
      return;
    }
    node.names = node.durable_names;
    const size_t kept = upto(node.changes.size());
    for (size_t i = 0; i < kept; ++i) apply(node.names, node.changes[i]);
    node.durable_names = node.names;
    node.changes.clear();
    for (auto& [name, inner] : node.names) forget(*inner, random);
  }
  static std::shared_ptr<Node> copy_of(const Node& node) {
    auto result = std::make_shared<Node>(node);
    result->durable_bytes = node.data.size();
    result->changes.clear();
    for (auto& [name, inner] : result->names) inner = copy_of(*inner);
    result->durable_names = result->names;
    return result;
  }

  std::shared_ptr<Node> shared(const std::string& path) {
    std::shared_ptr<Node> node = root_;
    for (size_t begin = 1; begin < path.size() && node;) {
      const size_t end = std::min(path.find('/', begin), path.size());
      const auto place = node->names.find(path.substr(begin, end - begin));
      node = place == node->names.end() ? nullptr : place->second;
      begin = end + 1;
    }
    return node;
  }
  Node* find(const std::string& path) { return shared(path).get(); }
  Node& need(const std::string& path, bool folder) {
    Node* node = find(path);
    if (node == nullptr || node->folder != folder) throw IoError("no such thing: " + path);
    return *node;
  }
  Node& of(const FileHandle& file) { return *open_.at(static_cast<size_t>(file.id)); }
  void add(const std::string& path, bool folder) {
    if (find(path) != nullptr) throw IoError(path + " exists");
    auto node = std::make_shared<Node>();
    node->folder = folder;
    change(need(parent_of(path), true), "", name_of(path), node);
  }

  mutable std::mutex mutex_;
  std::shared_ptr<Node> root_ = [] {
    auto root = std::make_shared<Node>();
    root->folder = true;
    return root;
  }();
  std::vector<std::shared_ptr<Node>> open_;
};

}  // namespace switchyard::test
