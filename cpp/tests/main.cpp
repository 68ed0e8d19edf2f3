// Runs every test at one ISA level: the one that CROSSENT_ISA names, or the best of this machine.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "crossent/crossent.hpp"

namespace {

bool runnable(std::string_view level) {
  for (const char* const* usable = crossent::isa_levels(); *usable != nullptr; ++usable)
    if (level == *usable) return true;
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (*crossent::isa_levels() == nullptr) {
    std::printf("FAILED: this machine can run none of the levels\n");
    return 1;
  }
  const char* level = std::getenv("CROSSENT_ISA");
  if (level != nullptr && !runnable(level)) {
    std::printf("SKIPPED: this machine cannot run CROSSENT_ISA=%s\n", level);
    return 77;  // SKIP_RETURN_CODE of these tests
  }
  std::printf("ISA level: %s\n", crossent::info().isa);
  crossent::set_num_threads(8);   // as OMP_NUM_THREADS says: more than there are processors, which has to be asked for
  return doctest::Context(argc, argv).run();
}
