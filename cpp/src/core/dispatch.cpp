// Which table runs: the best level of this machine, or the one that CROSSENT_ISA names.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "core/kernels.hpp"

namespace crossent {

#if defined(__x86_64__)
extern const kernel_table table_baseline, table_avx2, table_avx512;
#else
extern const kernel_table table_neon;
#endif

namespace {

struct level {
  const kernel_table* table;
  bool usable;
};

// Best first: a table, and what the processor must have to run it.
const level* levels() {
#if defined(__x86_64__)
  static const level all[] = {
      {&table_avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")},
      {&table_avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")},
      {&table_baseline, __builtin_cpu_supports("sse4.2") != 0},
      {nullptr, false}};
#else
  static const level all[] = {{&table_neon, true}, {nullptr, false}};
#endif
  return all;
}

const kernel_table& choose() {
  const char* name = std::getenv("CROSSENT_ISA");
  std::string usable;
  for (const level* l = levels(); l->table != nullptr; ++l) {
    if (!l->usable) continue;
    if (name == nullptr || std::strcmp(name, l->table->name) == 0) return *l->table;
    usable += std::string(usable.empty() ? "" : ", ") + l->table->name;
  }
  throw std::runtime_error(std::string("CROSSENT_ISA is \"") + (name ? name : "") +
                           "\", but this machine can run: " + (usable.empty() ? "none of the levels" : usable));
}

}  // namespace

const kernel_table& kernels() {
  static const kernel_table& chosen = choose();
  return chosen;
}

const dtype_kernels& kernels(dtype type) { return arithmetic(type) == dtype::float32 ? kernels().f32 : kernels().f64; }

const char* const* isa_levels() {
  static const auto names = [] {
    struct list {
      const char* name[8] = {};
    } found;
    int n = 0;
    for (const level* l = levels(); l->table != nullptr; ++l)
      if (l->usable) found.name[n++] = l->table->name;
    return found;
  }();
  return names.name;
}

#define CROSSENT_STRING_(a) #a
#define CROSSENT_STRING(a) CROSSENT_STRING_(a)

build_info info() {
#if defined(__clang__)
  const char* compiler = "Clang " __clang_version__;
#else
  const char* compiler = "GCC " __VERSION__;
#endif
#if defined(_OPENMP)
  const char* openmp = CROSSENT_STRING(_OPENMP);
#else
  const char* openmp = "none";
#endif
  return {CROSSENT_VERSION, kernels().name, compiler, openmp};
}

bool vmath(const char* function, dtype type, const void* x, void* out, index n) {
  const dtype_kernels& k = kernels(type);
  const struct {
    const char* name;
    void (*f)(const void*, void*, index);
  } functions[] = {{"exp", k.exp},     {"expm1", k.expm1}, {"log", k.log},
                   {"log1p", k.log1p}, {"phi", k.phi},     {"phi_star", k.phi_star}};
  for (const auto& f : functions) {
    if (std::strcmp(f.name, function) != 0) continue;
    f.f(x, out, n);
    return true;
  }
  return false;
}

}  // namespace crossent
