// Memory for a number per row: what a reduction adds up.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <memory>
#include <new>

namespace crossent {

struct free_memory {
  void operator()(void* p) const { std::free(p); }
};
using row_numbers = std::unique_ptr<double[], free_memory>;

// Not initialised. So many that an allocator gives them back to the system after each call are put on large pages where it has
// them: the first touch of a small page costs as much as a tenth of the 512 rows of few classes whose numbers it holds.
inline row_numbers new_row_numbers(std::size_t count) {
  constexpr std::size_t large_page = std::size_t{1} << 21;
  const std::size_t bytes = count * sizeof(double);
  const bool large = bytes >= 16 * large_page;
  void* p = large ? std::aligned_alloc(large_page, (bytes + large_page - 1) / large_page * large_page) : std::malloc(bytes + 1);
  if (p == nullptr) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
  if (large) madvise(p, bytes, MADV_HUGEPAGE);   // advice: nothing depends on it
#endif
  return row_numbers(static_cast<double*>(p));
}

}  // namespace crossent
