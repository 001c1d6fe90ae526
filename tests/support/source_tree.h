#pragma once

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "tests/support/paths.h"

// The project's own files as text, for the tests that check its form.
namespace switchyard::style {

/// One text file. Paths are relative to the root, with forward slashes.
struct SourceFile {
  std::string path;
  std::string folder;              ///< "core/moe"; empty at the root
  std::vector<std::string> lines;  ///< as written
  std::vector<std::string> code;   ///< of C++: comments and the insides of literals are blanks
};

/// Replaces comments and the insides of string and character literals by blanks.
inline std::vector<std::string> without_comments_and_literals(std::vector<std::string> lines) {
  bool in_block = false;
  std::string raw_end;  // not empty inside a raw string: what closes it
  for (std::string& line : lines) {
    char quote = 0;
    for (size_t i = 0; i < line.size(); ++i) {
      const bool pair = i + 1 < line.size();
      if (!raw_end.empty()) {
        if (line.compare(i, raw_end.size(), raw_end) == 0) {
          i += raw_end.size() - 1;
          raw_end.clear();
        } else {
          line[i] = ' ';
        }
      } else if (in_block) {
        if (pair && line[i] == '*' && line[i + 1] == '/') {
          in_block = false;
          line[i + 1] = ' ';
        }
        line[i] = ' ';
      } else if (quote) {
        if (line[i] == quote) {
          quote = 0;
        } else if (pair && line[i] == '\\') {
          line[i] = line[i + 1] = ' ';
          ++i;
        } else {
          line[i] = ' ';
        }
      } else if (pair && line[i] == '/' && line[i + 1] == '/') {
        line.erase(i);
      } else if (pair && line[i] == '/' && line[i + 1] == '*') {
        in_block = true;
        line[i] = line[i + 1] = ' ';
        ++i;
      } else if (pair && line[i] == 'R' && line[i + 1] == '"') {
        const size_t open = line.find('(', i);
        if (open == std::string::npos) continue;
        raw_end.assign(1, ')').append(line, i + 2, open - i - 2).append(1, '"');
        i = open;
      } else if (line[i] == '"' ||
                 (line[i] == '\'' &&
                  (i == 0 || !std::isalnum(static_cast<unsigned char>(line[i - 1]))))) {
        quote = line[i];
      }
    }
  }
  return lines;
}

inline bool is_code(const std::filesystem::path& path) {
  static const std::set<std::string> kEndings = {".h", ".cpp", ".cu", ".cuh"};
  return kEndings.count(path.extension().string()) > 0;
}

/// Text that people wrote: code, scripts, configs, prose; no corpora and no fixtures.
inline bool is_text(const std::filesystem::path& path) {
  static const std::set<std::string> kEndings = {".cmake", ".md",  ".py",  ".sh",
                                                 ".yaml",  ".yml", ".svg", ".sbatch"};
  static const std::set<std::string> kNames = {"CMakeLists.txt", "CMakePresets.json", "run",
                                               ".clang-format"};
  return is_code(path) || kEndings.count(path.extension().string()) > 0 ||
         kNames.count(path.filename().string()) > 0;
}

inline SourceFile read_file(const std::filesystem::path& root, const std::filesystem::path& path) {
  SourceFile file;
  const auto relative = path.lexically_relative(root);
  file.path = relative.generic_string();
  file.folder = relative.parent_path().generic_string();
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) file.lines.push_back(line);
  if (is_code(path)) file.code = without_comments_and_literals(file.lines);
  return file;
}

/// Files below the given folders for which `wanted` holds, sorted by path.
template <class Predicate>
std::vector<SourceFile> read_tree(const std::vector<std::string>& folders, Predicate wanted) {
  namespace fs = std::filesystem;
  const fs::path root(test::source_path());
  std::vector<SourceFile> files;
  for (const auto& folder : folders) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (entry.is_regular_file() && wanted(entry.path()))
        files.push_back(read_file(root, entry.path()));
    }
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

inline std::vector<SourceFile> read_code(const std::vector<std::string>& folders) {
  return read_tree(folders, is_code);
}

/// All text of the project, the files at the root included.
inline std::vector<SourceFile> read_text() {
  namespace fs = std::filesystem;
  auto files = read_tree(
      {".ci", "configs", "core", "docs", "launch", "parallel", "tests", "trainers"}, is_text);
  for (const auto& entry : fs::directory_iterator(test::source_path())) {
    if (entry.is_regular_file() && is_text(entry.path()))
      files.push_back(read_file(test::source_path(), entry.path()));
  }
  return files;
}

}  // namespace switchyard::style
