#pragma once

#include <string>

#include "trainers/eval/eval_job.h"

namespace switchyard {

/// A table for people; of a history one row a checkpoint.
std::string eval_table(const EvalResult& result);

/// One JSON object with the names of metrics.jsonl and the co-activation of each pair of experts;
/// of a history `checkpoints`, a list of such objects without co-activation, one a line.
std::string eval_json(const EvalResult& result);

}  // namespace switchyard
