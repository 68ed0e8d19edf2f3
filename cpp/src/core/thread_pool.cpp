#include "core/thread_pool.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <vector>

namespace crossent {
namespace {

// How long a thread polls before it sleeps: the steps of a call follow each other within that, and to be woken takes longer.
// No more, since a thread that polls keeps its processor from others.
constexpr auto polling_time = std::chrono::microseconds(20);

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

}  // namespace

class thread_pool {
 public:
  void call(helpers&, int count);
  void finish(helpers&);
  void end_idle_threads();

 private:
  static void* start(void*);
  void start_threads(int wanted, int most);
  void keep_off_this_processor();
  void serve();
  void help(helpers&, std::unique_lock<std::mutex>&);
  void close(helpers&);
  int idle() const { return static_cast<int>(threads_.size()) - helping_; }

  std::mutex mutex_;
  std::condition_variable called_;        // helpers are called, or idle threads shall end
  std::condition_variable ended_;         // the last of a call's helpers, or an idle thread
  std::atomic<helpers*> open_{nullptr};   // calls with vacancies
  std::vector<pthread_t> threads_;
  int helping_ = 0, polling_ = 0, asleep_ = 0;   // of threads_; one that starts is none of these yet
  int to_end_ = 0;                               // of threads_, idle ones
  std::vector<pthread_t> to_join_;               // has ended
  int avoided_ = -1;                             // the processor that threads_ are kept off
};

void thread_pool::call(helpers& h, int count) {
  int to_wake;
  {
    const std::lock_guard lock(mutex_);
    h.vacancies_ = count;
    h.next_ = open_;
    open_ = &h;
    to_wake = std::min(asleep_, count - polling_);
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
  ended_.wait(lock, [&] { return h.running_ == 0; });
}

void thread_pool::start_threads(int wanted, int most) {
  wanted = std::min(wanted, most - static_cast<int>(threads_.size()));
  if (wanted <= 0) return;
  threads_.reserve(threads_.size() + wanted);
  to_join_.reserve(to_join_.size() + threads_.size() + wanted);   // a thread cannot throw when it ends
  // Signals are for the threads of the program, except those that an instruction raises.
  sigset_t blocked, before;
  sigfillset(&blocked);
  for (const int raised : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigdelset(&blocked, raised);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  pthread_t thread;
  for (; wanted > 0 && pthread_create(&thread, nullptr, start, this) == 0; --wanted) threads_.push_back(thread);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  avoided_ = -1;
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
  for (const pthread_t thread : threads_) pthread_setaffinity_np(thread, sizeof others, &others);
  avoided_ = here;
#endif
}

void* thread_pool::start(void* pool) {
  static_cast<thread_pool*>(pool)->serve();
  return nullptr;
}

void thread_pool::serve() {
  std::unique_lock lock(mutex_);
  while (to_end_ == 0) {
    if (helpers* const h = open_) {
      help(*h, lock);
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
  threads_.erase(std::find(threads_.begin(), threads_.end(), pthread_self()));
  to_join_.push_back(pthread_self());
  ended_.notify_all();
}

void thread_pool::help(helpers& h, std::unique_lock<std::mutex>& lock) {
  const int number = ++h.begun_;
  ++h.running_;
  ++helping_;
  if (--h.vacancies_ == 0) close(h);
  lock.unlock();
  h.f_(h.context_, number);
  lock.lock();
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
    const pthread_t thread = to_join_.back();
    to_join_.pop_back();
    lock.unlock();
    pthread_join(thread, nullptr);
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

void helpers::call(int count) {
  called_ = true;
  pool().call(*this, count);
}

helpers::~helpers() {
  if (called_) pool().finish(*this);
}

}  // namespace crossent
