#include <torch/torch.h>

#include "launch/commands/command.h"
#include "launch/version.h"
#include "trainers/doctor.h"

namespace switchyard {

void add_doctor_command(CLI::App& app, Command& chosen) {
  CLI::App& command = *app.add_subcommand(
      "doctor", "Shows what this machine offers and what is wrong, each with the fix");
  command.callback([&chosen] {
    chosen = [] {
      return with_world({.device = "cpu"}, [](Communicator& world, c10::Device) {
        if (world.rank() != 0) return ExitCode::kDone;
        const ProcessPlace place = process_place();
        DoctorFacts facts;
        facts.num_ranks = world.size();
        facts.local_ranks = place.local_ranks;
        facts.num_threads = torch::get_num_threads();
        fmt::print("{}\n\n{}", version_text(), to_text(examine(facts)));
        return ExitCode::kDone;
      });
    };
  });
}

}  // namespace switchyard
