#pragma once

#include "core/metrics/report.h"
#include "trainers/step/training.h"

namespace switchyard {

/// One optimizer step: batches → forward → loss → backward → reduction → clip → update → bias
/// update. Collective. The report is the same on every rank. When loss or gradient norm are not
/// finite nothing is updated and report.skipped is set; under `on_nan: abort` the step counter
/// stays, too.
StepReport train_step(Training& training);

}  // namespace switchyard
