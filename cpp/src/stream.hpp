// Outputs that the caches cannot hold are stored around them.
#pragma once

#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>

#include "crossent/crossent.hpp"

namespace crossent {

// In bytes: outputs that are larger are streamed.
inline index last_level_cache() {
#if defined(_SC_LEVEL3_CACHE_SIZE)
  static const index bytes = std::max<index>(sysconf(_SC_LEVEL3_CACHE_SIZE), 1 << 25);
  return bytes;
#else
  return 1 << 25;
#endif
}

// What was streamed is in memory, before another thread is told that it is.
inline void stream_fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace crossent
