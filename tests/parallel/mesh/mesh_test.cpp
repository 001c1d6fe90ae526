#include "parallel/mesh/mesh.h"

#include <ATen/ops/full.h>

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/support/expect.h"

using namespace switchyard;
using Catch::Contains;

namespace {

/// The world ranks of a group, in its order.
std::vector<int64_t> members(Communicator& group, int world_rank) {
  const at::Tensor all = gather_rows(group, at::full({1}, world_rank, at::kLong));
  return {all.const_data_ptr<int64_t>(), all.const_data_ptr<int64_t>() + all.numel()};
}

}  // namespace

TEST_CASE("a mesh has an expert group of consecutive ranks and a replica group across them") {
  const int ranks = GENERATE(1, 2, 3, 4, 6);
  for (const int expert_size : expert_sizes(ranks)) {
    DYNAMIC_SECTION(ranks << " ranks, expert axis " << expert_size) {
      int visited = 0;
      run_ranks(ranks, [&](Communicator& world) {
        const Mesh mesh(world, expert_size);
        const int replica = world.rank() / expert_size, coordinate = world.rank() % expert_size;
        EXPECT(&mesh.world() == &world);
        EXPECT(mesh.expert_size() == expert_size && mesh.num_replicas() == ranks / expert_size);
        EXPECT(mesh.expert_group().rank() == coordinate && mesh.replica_group().rank() == replica);
        std::vector<int64_t> row, column;
        for (int i = 0; i < expert_size; ++i) row.push_back(replica * expert_size + i);
        for (int i = 0; i < ranks / expert_size; ++i)
          column.push_back(i * expert_size + coordinate);
        EXPECT(members(mesh.expert_group(), world.rank()) == row);
        EXPECT(members(mesh.replica_group(), world.rank()) == column);
        if (world.rank() == 0) ++visited;
      });
      CHECK(visited == 1);
    }
  }
}

TEST_CASE("an expert axis that does not divide the ranks is refused with the sizes that do") {
  const auto make = [](Communicator& world, int size) { Mesh mesh(world, size); };
  CHECK_THROWS_WITH(run_ranks(6, [&](Communicator& world) { make(world, 4); }),
                    Contains("parallel.expert: 4") && Contains("allowed: 1, 2, 3, 6"));
  const auto alone = make_local_communicator();
  CHECK_THROWS_AS(make(*alone, 2), ConfigError);
  CHECK_THROWS_AS(make(*alone, 0), ConfigError);
  CHECK_NOTHROW(make(*alone, 1));
}
