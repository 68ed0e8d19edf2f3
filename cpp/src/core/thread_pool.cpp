#include "core/thread_pool.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace crossent {
namespace {

// How long a thread polls before it sleeps: the steps of a call follow each other within that, and to be woken takes longer.
// No more, since a thread that polls keeps its processor from others.
constexpr std::chrono::microseconds polling_time(20);
// How long a caller waits for a helper before it takes it for one that another program keeps off its processor.
constexpr std::chrono::microseconds pinning_time(100);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

template <class Condition> void poll(Condition is_met) {
  const auto end = std::chrono::steady_clock::now() + polling_time;
  do {
    for (int i = 0; i < 8 && !is_met(); ++i) pause();
  } while (!is_met() && std::chrono::steady_clock::now() < end);
}

// Signals are for the threads of the program, except those that an instruction raises.
class blocked_signals {
 public:
  blocked_signals() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int raised : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigdelset(&blocked, raised);
    pthread_sigmask(SIG_SETMASK, &blocked, &before_);
  }
  ~blocked_signals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

// Linux from 6.12 on lets a thread with a short slice run in the place of one with a longer slice as soon as it wakes. Older ones
// ignore it.
void ask_for_short_slices() {
#if defined(__linux__)
  struct {
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t slice, deadline, period;   // in ns
  } attributes{};   // valgrind and MemorySanitizer do not know that the next call fills it in
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0 || attributes.policy != SCHED_OTHER) return;
  attributes.size = sizeof attributes;
  attributes.slice = 100'000;   // the least
  syscall(SYS_sched_setattr, 0, &attributes, 0);
#endif
}

}  // namespace

class thread_pool {
 public:
  void call(helpers&, int count);
  void finish(helpers&);
  void end_idle_threads();
  bool has_polling_threads() const { return polling_.load(std::memory_order_relaxed) > 0; }

 private:
  struct thread {
    thread_pool& pool;
    pthread_t id;
    const helpers* helping;   // or nullptr
  };

  static void* start(void*);
  void start_threads(int wanted, int most);
  void keep_off_this_processor();
  void pin_helper_here(const helpers&);
  void serve(thread&);
  void help(helpers&, thread&, std::unique_lock<std::mutex>&);
  void close(helpers&);
  int idle() const { return static_cast<int>(threads_.size()) - helping_; }

  std::mutex mutex_;
  std::condition_variable called_;                          // helpers are called, or idle threads shall end
  std::condition_variable ended_;                           // the last of a call's helpers, or an idle thread
  std::atomic<helpers*> open_{nullptr};                     // calls with vacancies
  std::vector<std::unique_ptr<thread>> threads_, to_join_;  // those that live, and those that have ended
  int helping_ = 0, asleep_ = 0;                            // of threads_; one that starts is neither
  std::atomic<int> polling_{0};                             // likewise
  int to_end_ = 0;                                          // of threads_ without helping_
  int avoided_ = -1;                                        // the processor that threads_ are kept off
};

void thread_pool::call(helpers& h, int count) {
  int to_wake;
  {
    const std::lock_guard lock(mutex_);
    h.vacancies_ = count;
    h.next_ = open_;
    open_ = &h;
    to_wake = std::min(asleep_, count - polling_.load());
    start_threads(count - idle(), count);
    if (to_wake > 0 || avoided_ < 0) keep_off_this_processor();
  }
  for (; to_wake > 0; --to_wake) called_.notify_one();
}

void thread_pool::finish(helpers& h) {
  std::unique_lock lock(mutex_);
  close(h);
  if (h.running_ == 0) return;
  lock.unlock();
  poll([&] { return h.running_ == 0; });
  lock.lock();
  for (auto time = pinning_time; !ended_.wait_for(lock, time, [&] { return h.running_ == 0; }); time *= 2) pin_helper_here(h);
}

void thread_pool::start_threads(int wanted, int most) {
  wanted = std::min(wanted, most - static_cast<int>(threads_.size()));
  if (wanted <= 0) return;
  threads_.reserve(threads_.size() + wanted);
  to_join_.reserve(to_join_.size() + threads_.size() + wanted);   // a thread cannot throw when it ends
  const blocked_signals inherited;
  for (; wanted > 0; --wanted) {
    auto created = std::make_unique<thread>(thread{*this, {}, nullptr});
    if (pthread_create(&created->id, nullptr, start, created.get()) != 0) break;
    threads_.push_back(std::move(created));
    avoided_ = -1;
  }
}

// Where no processor is idle, Linux likes to wake a thread on that of the thread which wakes it. There it would take turns with
// that thread instead of with the other program.
void thread_pool::keep_off_this_processor() {
#if defined(__linux__)
  const int here = sched_getcpu();
  cpu_set_t others;
  if (here < 0 || here == avoided_ || sched_getaffinity(0, sizeof others, &others) != 0) return;
  CPU_CLR(here, &others);
  if (CPU_COUNT(&others) == 0) return;
  for (const auto& t : threads_) pthread_setaffinity_np(t->id, sizeof others, &others);
  avoided_ = here;
#endif
}

// The caller sleeps while it waits, and one of its helpers may need a processor.
void thread_pool::pin_helper_here(const helpers& h) {
#if defined(__linux__)
  const int here = sched_getcpu();
  const auto waited_for = std::find_if(threads_.begin(), threads_.end(), [&](const auto& t) { return t->helping == &h; });
  if (here < 0 || waited_for == threads_.end()) return;
  cpu_set_t this_one;
  CPU_ZERO(&this_one);
  CPU_SET(here, &this_one);
  pthread_setaffinity_np((*waited_for)->id, sizeof this_one, &this_one);
  avoided_ = -1;   // the next call sets them all
#endif
}

void* thread_pool::start(void* of) {
  thread& self = *static_cast<thread*>(of);
  ask_for_short_slices();
  self.pool.serve(self);
  return nullptr;
}

void thread_pool::serve(thread& self) {
  std::unique_lock lock(mutex_);
  while (to_end_ == 0) {
    if (helpers* const h = open_) {
      help(*h, self, lock);
      continue;
    }
    ++polling_;
    lock.unlock();
    poll([&] { return open_ != nullptr; });
    lock.lock();
    --polling_;
    ++asleep_;
    called_.wait(lock, [&] { return open_ != nullptr || to_end_ > 0; });
    --asleep_;
  }
  --to_end_;
  const auto here = std::find_if(threads_.begin(), threads_.end(), [&](const auto& t) { return t.get() == &self; });
  to_join_.push_back(std::move(*here));
  threads_.erase(here);
  ended_.notify_all();
}

void thread_pool::help(helpers& h, thread& self, std::unique_lock<std::mutex>& lock) {
  self.helping = &h;
  const int number = ++h.begun_;
  ++h.running_;
  ++helping_;
  if (--h.vacancies_ == 0) close(h);
  lock.unlock();
  h.f_(h.context_, number);
  lock.lock();
  self.helping = nullptr;
  --helping_;
  if (--h.running_ == 0) ended_.notify_all();
}

// No further helper begins.
void thread_pool::close(helpers& h) {
  if (open_ == &h) {
    open_ = h.next_;
    return;
  }
  for (helpers* other = open_; other != nullptr; other = other->next_)
    if (other->next_ == &h) other->next_ = h.next_;
}

void thread_pool::end_idle_threads() {
  std::unique_lock lock(mutex_);
  to_end_ = idle();
  called_.notify_all();
  ended_.wait(lock, [&] { return to_end_ == 0; });
  while (!to_join_.empty()) {
    const pthread_t ended = to_join_.back()->id;
    to_join_.pop_back();
    lock.unlock();
    pthread_join(ended, nullptr);
    lock.lock();
  }
}

namespace {

// Never destroyed: its threads may outlive the end of main.
alignas(thread_pool) unsigned char storage[sizeof(thread_pool)];

thread_pool& pool() {
  static thread_pool& instance = []() -> thread_pool& {
    auto& created = *new (storage) thread_pool;
    // A child has the thread that forked alone: its pool is a new one. Idle threads are ended before, since Python warns of a
    // fork with threads.
    pthread_atfork([] { pool().end_idle_threads(); }, nullptr, [] { new (storage) thread_pool; });
    return created;
  }();
  return instance;
}

}  // namespace

bool helpers::are_awake() { return pool().has_polling_threads(); }

void helpers::call(int count) {
  called_ = true;
  pool().call(*this, count);
}

helpers::~helpers() {
  if (called_) pool().finish(*this);
}

}  // namespace crossent
