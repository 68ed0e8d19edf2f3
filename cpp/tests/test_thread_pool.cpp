#include <doctest/doctest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "core/parallel.hpp"
#include "core/thread_pool.hpp"

namespace crossent {
namespace {

// Sleeps between its looks, so that threads which are waited for find a processor.
void wait_until(const std::atomic<bool>& flag) {
  while (!flag) std::this_thread::sleep_for(std::chrono::microseconds(50));
}

// What a helper does: it begins, waits for `may_end`, ends.
struct task {
  std::atomic<bool> begun{false}, may_end{false}, ended{false};
  static void run(void* of, int) {
    task& t = *static_cast<task*>(of);
    t.begun = true;
    wait_until(t.may_end);
    t.ended = true;
  }
};

}  // namespace

TEST_CASE("a call waits for a helper that has begun") {
  task t;
  std::thread friendly;
  {
    helpers h(task::run, &t);
    h.call(1);
    wait_until(t.begun);
    friendly = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));   // long after the destructor has begun to wait
      t.may_end = true;
    });
  }
  CHECK(t.ended);
  friendly.join();
}

TEST_CASE("a call does not wait for a helper that has not begun") {
  // The only thread of a pool, which a child has to begin with, is held by another call.
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(20);   // a hang ends here
    task held, late;
    late.may_end = true;
    helpers* const holding = new helpers(task::run, &held);
    holding->call(1);
    wait_until(held.begun);
    {
      helpers h(task::run, &late);
      h.call(1);
    }
    held.may_end = true;
    delete holding;
    _exit(late.begun ? 1 : 0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

#if defined(__linux__)
TEST_CASE("a caller that waits lends its processor to one helper, and takes it back with the next call") {
  cpu_set_t all;
  REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
  if (CPU_COUNT(&all) < 2) return;   // there is one for both
  struct seen {
    std::atomic<bool> begun{false};
    cpu_set_t at_first, at_last;
  };
  const auto run = [](void* of, int) {
    seen& s = *static_cast<seen*>(of);
    sched_getaffinity(0, sizeof s.at_first, &s.at_first);
    s.begun = true;
    for (int k = 0; k < 50; ++k) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      sched_getaffinity(0, sizeof s.at_last, &s.at_last);
      if (!CPU_EQUAL(&s.at_first, &s.at_last)) return;
    }
  };
  int lent = 0;
  for (int k = 0; k < 20; ++k) {   // where the caller has moved to the helper's processor there is nothing to see
    seen s;
    {
      helpers h(run, &s);
      h.call(1);
      wait_until(s.begun);
    }
    CHECK(CPU_COUNT(&s.at_first) == CPU_COUNT(&all) - 1);
    if (CPU_EQUAL(&s.at_first, &s.at_last)) continue;
    CHECK(CPU_COUNT(&s.at_last) == 1);
    ++lent;
  }
  CHECK(lent > 0);
}
#endif

TEST_CASE("helpers are numbered from 1, each once, and no more come than are called") {
  for (const int count : {1, 2, 7}) {
    struct seats {
      std::atomic<int> begun{0}, taken[9] = {};
      std::atomic<bool> all{false};
      int count;
    } s;
    s.count = count;
    helpers h(
        [](void* of, int number) {
          seats& all = *static_cast<seats*>(of);
          ++all.taken[number];
          if (++all.begun == all.count) all.all = true;
          wait_until(all.all);
        },
        &s);
    h.call(count);
    wait_until(s.all);
    CHECK(s.taken[0] == 0);
    for (int k = 1; k <= 8; ++k) CHECK(s.taken[k] == (k <= count ? 1 : 0));
  }
}

TEST_CASE("several calls at once, each with helpers") {
  std::atomic<index> done{0};
  std::thread callers[4];
  for (std::thread& caller : callers)
    caller = std::thread([&] {
      for (int k = 0; k < 200; ++k)
        parallel_for(100, 1 << 14, 3, {}, [&](index begin, index end, int) { done += end - begin; });
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(done == 4 * 200 * 100);
}

TEST_CASE("work that turns out to be slow calls helpers, whatever it was taken for") {
  std::atomic<bool> helped{false};
  parallel_for(63, 1, 2, {}, [&](index, index, int worker) {
    if (worker != 0) helped = true;
    if (!helped) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  });
  CHECK(helped);
}

}  // namespace crossent
