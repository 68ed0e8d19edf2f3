#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <new>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/parallel.hpp"
#include "rows/row_buffer.hpp"

namespace crossent {

TEST_CASE("every unit is done once, by any number of threads") {
  for (int threads = 1; threads <= 8; ++threads) {
    for (const index units : {1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(units));
      parallel_for(units, 1 << 14, threads, {}, [&](index begin, index end, int worker) {
        CHECK(worker < threads);
        for (index i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
      });
      for (const auto& n : seen) CHECK(n == 1);
    }
  }
}

TEST_CASE("ordered_sum has the same bits for any number of threads, and is right to the last one") {
  // 53-bit numbers of 20 exponents, whose sum fits 128 bits.
  std::vector<double> x(100003);
  __extension__ unsigned __int128 exact = 0;
  std::uint64_t state = 1;
  for (std::size_t i = 0; i < x.size(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    x[i] = std::ldexp(static_cast<double>(state >> 11), static_cast<int>(i % 20));
    exact += static_cast<decltype(exact)>(state >> 11) << (i % 20);
  }
  const double one = rounded(ordered_sum(x.data(), static_cast<index>(x.size()), {1, nullptr, nullptr}));
  CHECK(one == static_cast<double>(exact));
  for (int threads = 2; threads <= 8; ++threads)
    CHECK(rounded(ordered_sum(x.data(), static_cast<index>(x.size()), {threads, nullptr, nullptr})) == one);
  CHECK(rounded(ordered_sum(x.data(), 0, {})) == 0);
  const double inf[] = {1, INFINITY, 2};
  CHECK(rounded(ordered_sum(inf, 3, {})) == INFINITY);
}

TEST_CASE("ordered_sum has the same bits for any number of threads where the order shows") {
  // Both signs, 300 exponents and a sum of 0: what compensation cannot hold depends on the order.
  std::vector<double> x(200006);
  std::uint64_t state = 1;
  for (std::size_t i = 0; i < x.size() / 2; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    x[i] = std::ldexp(static_cast<double>(static_cast<std::int64_t>(state)), static_cast<int>(state >> 20) % 300);
    x[x.size() - 1 - i] = -x[i];
  }
  const index n = static_cast<index>(x.size());
  const double one = rounded(ordered_sum(x.data(), n, {1, nullptr, nullptr}));
  for (int threads = 2; threads <= 8; ++threads) CHECK(rounded(ordered_sum(x.data(), n, {threads, nullptr, nullptr})) == one);
}

TEST_CASE("a long call asks between waves whether to go on, and stops when told") {
  static std::atomic<int> asked{0};
  asked = 0;
  std::atomic<index> done{0};
  const execution e{2, [](void*) { return ++asked == 3; }, nullptr};
  auto slow = [&](index begin, index end, int) {
    done += end - begin;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  CHECK_THROWS_AS(parallel_for(100000, 1 << 24, 2, e, slow), interrupted_error);
  CHECK(asked == 3);
  CHECK(done < 100000);
}

TEST_CASE("what a chunk throws is thrown by the call, whichever thread it was on, and the others stop") {
  for (const index bad : {0, 1, 500, 999}) {
    std::atomic<index> done{0};
    CHECK_THROWS_AS(parallel_for(1000, 1, 8, {},
                                 [&](index begin, index end, int) {
                                   if (begin <= bad && bad < end) throw std::bad_alloc();
                                   done += end - begin;
                                 }),
                    std::bad_alloc);
    CHECK(done < 1000);
  }
  CHECK(rounded(ordered_sum(nullptr, 0, {})) == 0);   // and the next call is as good as any
}

TEST_CASE("long units are taken as runs of blocks, all of them once and in order") {
  for (const index blocks : {1, 2, 7, 1000}) {
    for (const index work : {index{1}, longest_unit, 3 * longest_unit, index{1} << 60}) {
      for (const int threads : {1, 3}) {
        std::vector<index> next(10);   // the block that each unit expects
        std::vector<index> unit_of(static_cast<std::size_t>(threads), -1);
        parallel_for_runs(10, blocks, work, threads, {}, [&](index unit, index begin, index end, index slot) {
          index& expected = next[static_cast<std::size_t>(unit)];
          index& held = unit_of[static_cast<std::size_t>(slot)];
          CHECK((begin == 0 || held == unit));
          CHECK(begin == expected);
          CHECK(begin < end);
          expected = end;
          held = unit;
        });
        for (const index end : next) CHECK(end == blocks);
      }
    }
  }
}

TEST_CASE("a call of many short loops asks between them") {
  static std::atomic<int> asked{0};
  asked = 0;
  const execution e{2, [](void*) { return ++asked == 2; }, nullptr};
  const auto slow = [](index, index, index, index) { std::this_thread::sleep_for(std::chrono::milliseconds(15)); };
  CHECK_THROWS_AS(parallel_for_runs(100, 1000, 1000 * longest_unit, 2, e, slow), interrupted_error);
  CHECK(asked == 2);
}

TEST_CASE("the work of rows is never negative, however many there are") {
  CHECK(work_of(3, 5) == 15);
  CHECK(work_of(3, 5, 8) == 120);
  CHECK(work_of(index{1} << 61, index{1} << 61) == index{1} << 60);
  CHECK(work_of(16, index{1} << 60, 8) == index{1} << 60);
  CHECK(share_of(index{1} << 60, 1000, 1000) == index{1} << 60);
  CHECK_THROWS_AS(new_row_buffer(index{1} << 61), std::bad_alloc);
}

#if defined(__x86_64__)
TEST_CASE("the caller's floating-point environment neither matters nor changes") {
  const unsigned before = _mm_getcsr();
  const unsigned odd = 0x1f80 | 0x8040 | 0x6000 | 0x0003;   // FTZ, DAZ, round towards zero, two flags raised
  double seen[2] = {};
  const auto work = [&](double& out) {
    parallel_for(1, 1, 1, {}, [&](index, index, int) {
      volatile float tiny = 1e-40f, third = 1.0f / 3.0f;
      out = static_cast<double>(tiny) * 1e40 + static_cast<double>(third * 1.0000001f);
    });
  };
  work(seen[0]);
  _mm_setcsr(odd);
  work(seen[1]);
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  CHECK(after == odd);
  CHECK(seen[0] == seen[1]);
}
#endif

TEST_CASE("a fork after use does not hang the child") {
  std::vector<double> x(1 << 18, 1.0);
  REQUIRE(rounded(ordered_sum(x.data(), static_cast<index>(x.size()), {2, nullptr, nullptr})) == 1 << 18);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(20);   // a hang ends here
    _exit(rounded(ordered_sum(x.data(), static_cast<index>(x.size()), {2, nullptr, nullptr})) == 1 << 18 ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(rounded(ordered_sum(x.data(), static_cast<index>(x.size()), {2, nullptr, nullptr})) == 1 << 18);
}

}  // namespace crossent
