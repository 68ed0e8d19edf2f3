// Outputs that the caches cannot hold are stored around them.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "crossent/crossent.hpp"

namespace crossent {

// Outputs of more bytes are streamed. A cache may be larger, as that of a server is by the number of its processors, and
// is then so far away that memory is as near (docs/explanation/performance.md).
constexpr index streamed_bytes = 1 << 25;

// Streamed stores are in memory before another thread is told so.
inline void stream_fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace crossent
