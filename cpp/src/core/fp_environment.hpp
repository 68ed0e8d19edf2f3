// The floating-point environment.
#pragma once

#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace crossent {

// While it lives, this thread computes in the default environment: round to nearest, subnormals kept, nothing trapped.
// Then the caller's is put back, with its flags as they were. Every public operation and every worker holds one: another
// library may have set a mode that flushes subnormals or rounds otherwise.
class default_environment {
 public:
#if defined(__x86_64__)
  default_environment() : saved_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
  ~default_environment() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#elif defined(__aarch64__)
  default_environment() {
    asm volatile("mrs %0, fpcr" : "=r"(control_));
    asm volatile("mrs %0, fpsr" : "=r"(status_));
    asm volatile("msr fpcr, %0" : : "r"(std::uint64_t{0}));
  }
  ~default_environment() {
    asm volatile("msr fpcr, %0" : : "r"(control_));
    asm volatile("msr fpsr, %0" : : "r"(status_));
  }

 private:
  std::uint64_t control_, status_;
#endif
  default_environment(const default_environment&) = delete;
  default_environment& operator=(const default_environment&) = delete;
};

}  // namespace crossent
