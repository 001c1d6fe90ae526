#pragma once

#include <torch/torch.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "core/checkpoint/safetensors.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"
#include "trainers/route/route_job.h"

namespace switchyard::test {

/// What `switchyard route` makes of recorded logits.
struct Routed {
  std::string bytes;                             ///< the whole output
  std::map<std::string, torch::Tensor> tensors;  ///< in it
  RouteReport report;

  nlohmann::json metric(const std::string& name) const {
    return nlohmann::json::parse(report.metrics).at(name);
  }
};

/// Scores and a config in a folder of their own.
class RouteFolder {
 public:
  RouteFolder() {
    job.scores = temp.path("scores.safetensors");
    job.config = temp.path("config.yaml");
    job.out = temp.path("out.safetensors");
    job.shipped_dir = test::source_path("/configs");
    at::set_num_threads(1);  // as the command does: the ranks are the threads
  }

  void write_scores(const StateList& tensors) {
    if (files.kind(job.scores) == FileOps::Kind::kFile) files.remove_file(job.scores);
    write_safetensors(files, job.scores, tensors);
  }
  /// The `moe` block of the config, in YAML's flow form, for a vocabulary of 200 tokens.
  void write_moe(const std::string& moe) {
    temp.write("config.yaml", "model: {vocab_size: 200}\nmoe: " + moe + "\n");
  }

  Routed route() {
    Routed routed;
    routed.report = run_route(job);
    routed.bytes = temp.read("out.safetensors");
    const SafetensorsFile file(files, job.out);
    for (const TensorEntry& entry : file.header().tensors)
      routed.tensors[entry.name] = file.read(entry.name);
    return routed;
  }

  const TempFolder temp;
  RouteJob job;
  SystemFileOps files;
};

}  // namespace switchyard::test
