#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace switchyard {

class Fields;

/// File names or patterns (`src/*.txt`), and the folder that the relative ones were written
/// against: that of the config file which names them, or the current folder for the command line.
struct PathList {
  std::vector<std::string> paths;
  std::string base_dir;  ///< absolute; empty where nothing was read
  bool empty() const { return paths.empty(); }
};

/// One entry of `data.domains`.
struct DomainOptions {
  PathList files;       ///< `paths`
  double weight = 1.0;  ///< share of the sequences, relative to the other domains
};

/// `data.documents`: where a sample may not cross.
struct DocumentOptions {
  enum class Kind { kNone, kSeparator, kLength } kind = Kind::kNone;
  int64_t separator = 0;  ///< the token that ends a document
  int64_t length = 0;     ///< tokens of every document
};

/// The `data` block of a config.
struct DataOptions {
  std::string type = "synthetic";      ///< synthetic | text | tokens
  std::string sampler = "stratified";  ///< stratified | single_domain
  // synthetic
  int64_t seed = 1;  ///< names the corpus; run.seed names the run
  int64_t num_domains = 16;
  int64_t content_tokens = 64;
  int64_t order = 1;               ///< tokens of context that the next one depends on: 1 | 2
  double sigma = 0.0;              ///< share of contexts common to all domains
  std::string variant = "tagged";  ///< tagged | latent
  std::optional<double> rho;  ///< latent: chance per token that the domain changes; auto = 1/128
  double zipf = 0.0;          ///< tagged: domain r has weight 1/(r+1)^zipf; 0 = uniform
  // text and tokens
  std::vector<std::pair<std::string, DomainOptions>> domains;
  PathList files;            ///< `paths`: one domain
  std::string root;          ///< folder of all relative paths; empty = that of the naming file
  double validation = 0.05;  ///< last share of each file, kept for validation
  std::string tokenizer = "bytes";  ///< text
  // tokens
  PathList validation_files;    ///< `validation_paths`, instead of a share
  std::string format = "auto";  ///< auto | raw | llmc
  std::string dtype = "u16";    ///< raw: u16 | u32
  DocumentOptions documents;
};

void describe(Fields& fields, DomainOptions& options);
void describe(Fields& fields, DataOptions& options);

/// Throws ConfigError for a combination that no single key can refuse. Then ties the paths down:
/// root becomes the absolute folder that all relative paths start from, so that the block can be
/// written elsewhere. Call once, after all layers are read; calling again changes nothing.
void validate(DataOptions& options);

}  // namespace switchyard
