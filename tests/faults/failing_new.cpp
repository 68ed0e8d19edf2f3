// Preloaded into a process, this makes one of its C++ allocations fail: the n-th after `arm(n)`, whatever thread it is in.
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> left{0};   // allocations up to and with the one that fails; 0 or less: none does
std::atomic<bool> failed{false};

void* allocate(std::size_t size, std::size_t alignment) {
  if (left.load() > 0 && left.fetch_sub(1) == 1) {
    failed = true;
    throw std::bad_alloc();
  }
  void* p = nullptr;
  if (posix_memalign(&p, alignment, size > 0 ? size : 1) != 0) throw std::bad_alloc();
  return p;
}

}  // namespace

extern "C" void arm(long n) {
  failed = false;
  left = n;
}

// Whether the allocation has failed.
extern "C" bool disarm() {
  left = 0;
  return failed;
}

void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new[](std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t a) { return allocate(size, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t size, std::align_val_t a) { return allocate(size, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
