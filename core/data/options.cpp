#include "core/data/options.h"

#include <filesystem>

#include "core/base/error.h"
#include "core/config/fields.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kFileTypes = {"text", "tokens"};

/// The folder that a relative path written at `mark` starts from.
std::string folder_of(const Mark& mark) {
  if (mark.source.empty() || mark.source.starts_with("command line")) {
    return fs::current_path().string();
  }
  return fs::absolute(mark.source).lexically_normal().parent_path().string();
}

constexpr const char* kPathsSchema = R"({"type": "array", "items": {"type": "string"}})";

Field& path_list(Fields& fields, const std::string& key, PathList& target,
                 const std::string& help) {
  return fields
      .custom(
          key, "list of paths",
          [&target](const Value& value) {
            if (!value.is_list()) value.fail("expected a list of paths, like [a.txt, src/*.txt]");
            PathList read;
            read.base_dir = folder_of(value.mark);
            for (const Value& item : value.items) {
              read.paths.push_back(item.as_text());
              if (read.paths.back().empty()) item.fail("a path is empty");
            }
            target = std::move(read);
          },
          [&target] {
            std::vector<Value> items;
            for (const auto& path : target.paths) items.push_back(Value::of_text(path));
            return Value::list(std::move(items));
          },
          help)
      .with_schema(kPathsSchema);
}

bool is_word(const Value& value, const std::string& text) {
  return value.is_scalar() && !value.quoted && value.scalar == text;
}

void read_documents(const Value& value, DocumentOptions& target) {
  const std::string allowed = "expected none, {separator: TOKEN} or {length: TOKENS}";
  if (is_word(value, "none")) {
    target = {};
    return;
  }
  if (!value.is_map() || value.map.size() != 1) value.fail(allowed);
  const auto& [key, item] = value.map.front();
  DocumentOptions read;
  if (key == "separator") {
    read.kind = DocumentOptions::Kind::kSeparator;
    read.separator = item.as_integer();
    if (read.separator < 0) item.fail("must be a token, at least 0");
  } else if (key == "length") {
    read.kind = DocumentOptions::Kind::kLength;
    read.length = item.as_integer();
    if (read.length < 2) item.fail("must be at least 2 tokens");
  } else {
    item.fail("unknown key `" + key + "`; " + allowed);
  }
  target = read;
}

Value print_documents(const DocumentOptions& options) {
  switch (options.kind) {
    case DocumentOptions::Kind::kSeparator:
      return Value::of_map({{"separator", Value::of_integer(options.separator)}});
    case DocumentOptions::Kind::kLength:
      return Value::of_map({{"length", Value::of_integer(options.length)}});
    case DocumentOptions::Kind::kNone:
      break;
  }
  return Value::of_word("none");
}

void describe_synthetic(Fields& fields, DataOptions& options) {
  const std::vector<std::string> owner = {"synthetic"};
  fields.integer("seed", options.seed, "Names the corpus; run.seed names the run.")
      .at_least(0)
      .only_for(owner);
  fields.integer("num_domains", options.num_domains, "Domains of the corpus.")
      .at_least(1)
      .at_most(65536)
      .only_for(owner);
  fields
      .integer("content_tokens", options.content_tokens,
               "Tokens beside the domain tags; the vocabulary is their sum.")
      .at_least(4)
      .at_most(65536)
      .only_for(owner);
  fields
      .integer("order", options.order,
               "How many tokens of context the next one depends on: 1 or 2.")
      .at_least(1)
      .at_most(2)
      .only_for(owner);
  fields.number("sigma", options.sigma, "Share of the contexts that all domains continue alike.")
      .at_least(0)
      .at_most(1)
      .only_for(owner);
  fields
      .choice("variant", options.variant, {"tagged", "latent"},
              "Each document names its domain (tagged), or the domain is hidden and changes.")
      .only_for(owner);
  fields
      .number_or("rho", options.rho, "auto",
                 "Chance per token that the domain changes; auto = 1/128.")
      .at_least(0)
      .less_than(1)
      .only_for({"latent"}, "variant");
  fields.number("zipf", options.zipf, "Domain r has weight 1/(r+1)^zipf; 0 = equal domains.")
      .at_least(0)
      .only_for({"tagged"}, "variant");
}

void describe_files(Fields& fields, DataOptions& options) {
  fields
      .named_blocks("domains", options.domains,
                    "Name of each domain and the files that belong to it.")
      .only_for(kFileTypes);
  path_list(fields, "paths", options.files, "The files of a single domain, instead of domains.")
      .only_for(kFileTypes);
  fields
      .custom(
          "root", "folder | none",
          [&options](const Value& value) {
            if (is_word(value, "none")) {
              options.root.clear();
              return;
            }
            options.root =
                (fs::path(folder_of(value.mark)) / value.as_text()).lexically_normal().string();
          },
          [&options] {
            return options.root.empty() ? Value::of_word("none") : Value::of_text(options.root);
          },
          "Folder that data paths are relative to; none = the folder of the file that names them.")
      .only_for(kFileTypes);
  fields.number("validation", options.validation, "Last share of each file, kept for validation.")
      .at_least(0)
      .less_than(1)
      .only_for(kFileTypes);
  fields
      .choice("tokenizer", options.tokenizer, {"bytes"},
              "How text becomes tokens: each byte is one of 256.")
      .only_for({"text"});
  const std::vector<std::string> tokens = {"tokens"};
  path_list(fields, "validation_paths", options.validation_files,
            "Files for validation beside `paths`, instead of a share of each file.")
      .only_for(tokens);
  fields
      .choice("format", options.format, {"auto", "raw", "llmc"},
              "Token files: headerless, with llm.c's header, or found out from the first bytes.")
      .only_for(tokens);
  fields.choice("dtype", options.dtype, {"u16", "u32"}, "Width of a token in headerless files.")
      .only_for(tokens);
  fields
      .custom(
          "documents", "none | {separator: token} | {length: tokens}",
          [&options](const Value& value) { read_documents(value, options.documents); },
          [&options] { return print_documents(options.documents); },
          "A sample never crosses a document; none = the file is one stream cut into windows.")
      .only_for(tokens);
}

void check_synthetic(const DataOptions& options) {
  const bool latent = options.variant == "latent";
  if (options.rho && !latent) {
    throw ConfigError("data.rho belongs to data.variant: latent, which is tagged here");
  }
  if (latent && options.num_domains < 2) {
    throw ConfigError("data.num_domains must be at least 2 for data.variant: latent, it is 1");
  }
  if (options.zipf > 0 && latent) {
    throw ConfigError("data.zipf belongs to data.variant: tagged, which is latent here");
  }
  if (options.sampler == "single_domain" && (latent || options.zipf > 0)) {
    throw ConfigError(
        "data.sampler: single_domain needs documents of one domain in equal shares: data.variant: "
        "tagged and data.zipf: 0");
  }
}

void check_files(const DataOptions& options) {
  if (options.domains.empty() == options.files.empty()) {
    throw ConfigError(fmt::format("data.type: {} needs either data.domains or data.paths, {}",
                                  options.type, options.files.empty() ? "not none" : "not both"));
  }
  for (const auto& [name, domain] : options.domains) {
    if (domain.files.empty()) {
      throw ConfigError(fmt::format("data.domains.{}.paths names no file", name));
    }
  }
  if (options.validation_files.empty()) return;
  if (!options.domains.empty()) {
    throw ConfigError(
        "data.validation_paths goes with data.paths; data.domains takes data.validation");
  }
  if (options.validation != DataOptions{}.validation) {
    throw ConfigError("data.validation and data.validation_paths exclude each other");
  }
}

/// One folder for all relative paths: root, else the folder they share, else absolute paths.
void tie_down_paths(DataOptions& options) {
  std::vector<PathList*> lists = {&options.files, &options.validation_files};
  for (auto& [name, domain] : options.domains) lists.push_back(&domain.files);
  std::erase_if(lists,
                [](const PathList* list) { return list->empty() || list->base_dir.empty(); });
  if (!options.root.empty()) {
    options.root = fs::absolute(options.root).lexically_normal().string();
  } else if (!lists.empty()) {
    options.root = lists.front()->base_dir;
    for (PathList* list : lists) {
      if (list->base_dir == options.root) continue;
      for (auto& path : list->paths) {
        path = (fs::path(list->base_dir) / path).lexically_normal().string();
      }
    }
  }
  for (PathList* list : lists) list->base_dir = options.root;
}

}  // namespace

void describe(Fields& fields, DomainOptions& options) {
  path_list(fields, "paths", options.files, "Files or patterns of this domain, in this order.");
  fields.number("weight", options.weight, "Share of the sequences, relative to the other domains.")
      .more_than(0);
}

void describe(Fields& fields, DataOptions& options) {
  fields.choice(
      "type", options.type, {"synthetic", "text", "tokens"},
      "A corpus of known entropy made on the fly, text files, or files of token numbers.");
  describe_synthetic(fields, options);
  describe_files(fields, options);
  fields.choice(
      "sampler", options.sampler, {"stratified", "single_domain"},
      "Every step holds all domains by weight, or each micro-batch comes from one domain.");
}

void validate(DataOptions& options) {
  if (options.type == "synthetic") {
    check_synthetic(options);
  } else {
    check_files(options);
    tie_down_paths(options);
  }
}

}  // namespace switchyard
