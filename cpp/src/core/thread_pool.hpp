// Threads of the library's own, which help the threads that call it.
#pragma once

#include <atomic>

namespace crossent {

// Helpers of the thread that makes this object: once called, they run f(context, k), k = 1, 2, .., on threads of the pool. f
// must not throw. Who has not begun when the object goes never does: a thread that the system refuses, that is slow to wake or
// that another program keeps off its processor holds nobody up.
class helpers {
 public:
  helpers(void (*f)(void*, int), void* context) : f_(f), context_(context) {}
  // Waits for those that have begun.
  ~helpers();
  helpers(const helpers&) = delete;
  helpers& operator=(const helpers&) = delete;

  // Whether some would begin at once, as they still wait for the next call.
  static bool are_awake();

  // Once at most.
  void call(int count);

 private:
  friend class thread_pool;

  // The mutex of the pool guards these.
  void (*f_)(void*, int);
  void* context_;
  bool called_ = false;
  int vacancies_ = 0;   // helpers that may still begin
  int begun_ = 0;
  std::atomic<int> running_{0};
  helpers* next_ = nullptr;
};

}  // namespace crossent
