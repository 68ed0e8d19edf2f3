// Memory: for a number per row, which a reduction adds up; and for what a thread has of its own.
#pragma once

#include <sys/mman.h>

#include <limits>
#include <memory>
#include <new>

#include "crossent/crossent.hpp"

namespace crossent {

constexpr std::size_t large_page = std::size_t{1} << 21;

struct free_row_buffer {
  bool large = false;
  void operator()(double* p) const {
    if (large) ::operator delete(p, std::align_val_t{large_page});
    else ::operator delete(p);
  }
};
using row_buffer = std::unique_ptr<double[], free_row_buffer>;

// Not initialised. So many that an allocator gives them back to the system after each call are put on large pages where it has
// them: the first touch of a small page costs as much as a tenth of the 512 rows of few classes whose numbers it holds.
inline row_buffer new_row_buffer(index count) {
  if (count > std::numeric_limits<index>::max() / static_cast<index>(2 * sizeof(double))) throw std::bad_alloc();
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(double);
  const bool large = bytes >= 16 * large_page;
  void* p = large ? ::operator new(bytes, std::align_val_t{large_page}) : ::operator new(bytes);
#if defined(MADV_HUGEPAGE)
  if (large) madvise(p, bytes, MADV_HUGEPAGE);   // advice: nothing depends on it
#endif
  return row_buffer(static_cast<double*>(p), free_row_buffer{large});
}

// Whole lines of memory, not initialised.
class line_memory {
 public:
  void reserve(index bytes) {
    at_.reset(static_cast<char*>(::operator new(static_cast<std::size_t>((bytes + 63) / 64 * 64), std::align_val_t{64})));
  }
  char* data() const { return at_.get(); }

 private:
  struct free {
    void operator()(char* p) const { ::operator delete(p, std::align_val_t{64}); }
  };
  std::unique_ptr<char, free> at_;
};

}  // namespace crossent
