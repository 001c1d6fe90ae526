#include "core/checkpoint/file_ops.h"

#include <algorithm>
#include <filesystem>

#include "core/base/error.h"

namespace switchyard {
namespace fs = std::filesystem;

void write_all(const OpenFile& file, std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t written = file.files().write(file.handle(), bytes.data(), bytes.size());
    SWITCHYARD_CHECK(written > 0 && written <= bytes.size(), "write returned {}", written);
    bytes.remove_prefix(written);
  }
}

void write_file(FileOps& files, const std::string& path, std::string_view text) {
  const OpenFile file(files, files.create(path));
  write_all(file, text);
  files.sync(file.handle());
}

void read_exactly(const OpenFile& file, void* data, size_t bytes, uint64_t offset) {
  auto* out = static_cast<char*>(data);
  size_t done = 0;
  while (done < bytes) {
    const size_t got = file.files().read(file.handle(), out + done, bytes - done, offset + done);
    if (got == 0)
      throw IoError(fmt::format("{}: ends at byte {}, {} were expected", file.handle().path,
                                offset + done, offset + bytes));
    done += got;
  }
}

std::string read_file(FileOps& files, const std::string& path, uint64_t max_bytes) {
  const OpenFile file(files, files.open(path));
  const uint64_t size = files.size(file.handle());
  if (size > max_bytes)
    throw IoError(fmt::format("{}: {} bytes, at most {} are read", path, size, max_bytes));
  std::string text(size, '\0');
  read_exactly(file, text.data(), text.size(), 0);
  return text;
}

void make_folders(FileOps& files, const std::string& path) {
  fs::path made;
  for (const auto& part : fs::path(path)) {
    made /= part;
    if (part.empty()) continue;
    if (files.kind(made.string()) == FileOps::Kind::kMissing) {
      files.make_folder(made.string());
      const fs::path parent = made.parent_path();
      files.sync_folder(parent.empty() ? "." : parent.string());
    }
  }
}

void remove_tree(FileOps& files, const std::string& path) {
  if (files.kind(path) != FileOps::Kind::kFolder)
    throw IoError(fmt::format("cannot remove {}: it is not a folder (links are refused)", path));
  for (const auto& name : files.list(path)) {
    const std::string inner = path + "/" + name;
    if (files.kind(inner) == FileOps::Kind::kFolder)
      remove_tree(files, inner);
    else
      files.remove_file(inner);
  }
  files.remove_folder(path);
}

}  // namespace switchyard
