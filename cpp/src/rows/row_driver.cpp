#include "rows/row_driver.hpp"

#include <algorithm>

#include "core/number.hpp"
#include "core/streaming.hpp"
#include "rows/row_chunks.hpp"

namespace crossent {
namespace {

constexpr index cached_bytes = 1 << 18;   // of the rows of a batch
constexpr index reread_bytes = 1 << 17;   // the same where they are read again, beside a stream of output

// Rows per batch: as many as stay in cache, in whole tiles, and few enough to keep the threads busy.
index choose_batch(const row_plan& plan, int threads) {
  const index lanes = plan.lanes_over_rows ? plan.kernel().lanes : 1, classes = std::min(plan.classes, cached_bytes);
  index row_bytes = 0;
  for (const row_input& input : plan.inputs) row_bytes += classes * item_size(input.array.type);
  index n = std::clamp<index>((plan.writes() ? reread_bytes : cached_bytes) / row_bytes, 1, batch_rows);
  n = std::min(n, std::max<index>(8, plan.rows / (4 * threads)));
  return std::clamp<index>((n + lanes - 1) / lanes * lanes, lanes, batch_rows);
}

// Several threads that all read for a while and then all write leave memory idle half of the time. So where there is more than the
// caches hold, the next batch is prefetched while one is written, if rows are neither so short that it is not worth the trouble
// nor so long that the next one would push this one out.
bool should_prefetch_next_batch(const row_plan& plan, int threads) {
  const row_array& x = plan.inputs[0].array;
  const index row_bytes = plan.classes * item_size(x.type);
  return threads > 1 && x.class_stride == item_size(x.type) && row_bytes >= reread_bytes / batch_rows &&
         row_bytes <= 2 * reread_bytes && plan.rows * row_bytes > streamed_bytes;
}

// Room for a tile of each worker, where one does not fit the stack.
struct tile_memory {
  line_memory memory;

  tile_memory(const row_plan& plan, int threads) {
    if (plan.lanes_over_rows && plan.classes > tile_classes) memory.reserve(threads * tile_bytes);
  }
  char* of(int worker) const { return memory.data() == nullptr ? nullptr : memory.data() + worker * tile_bytes; }
};

int known_inputs(const row_plan& plan) { return plan.known != nullptr ? plan.known->inputs() : 0; }

void reserve(const row_plan& plan, const row_steps& steps, row_batch& batch, index rows) {
  batch.plan = &plan;
  batch.blocks = plan.blocks();
  batch.in.reset(new input_rows[std::max(plan.inputs.size(), static_cast<std::size_t>(known_inputs(plan)))]);
  for (std::size_t k = 0; k < plan.inputs.size(); ++k)
    if (plan.inputs[k].with_statistics) batch.in[k].reserve_blocks(rows * batch.blocks + pack_rows);
  batch.state = steps.new_state();
  if (!plan.cache_exponentials) return;
  const index size = item_size(plan.type), lanes = plan.kernel().lanes;
  input_rows& x = batch.in[0];
  if (!plan.lanes_over_rows) {
    x.exponentials.reserve(rows * cached_row_bytes(plan.classes, size));
    return;
  }
  x.exponentials.reserve(batch_rows * plan.classes * size);
  for (index i = 0; i < batch_rows; ++i)
    x.cached_rows[i] = x.exponentials.data() + (i / lanes * lanes * plan.classes + i % lanes) * size;
  std::fill_n(x.cached_strides, batch_tiles, size);
}

// Of input k, whose rows are pointed at.
void set_transform(const row_plan& plan, row_batch& batch, int k, index padded) {
  const row_input& input = plan.input(k);
  input_rows& x = batch.in[k];
  if (!input.is_transformed) return;
  x.transform = {input.softcap, reinterpret_cast<const double*>(input.bias.data()), nullptr};
  if (input.temperature.given()) {
    input.temperature.load(batch.first, batch.count, x.temperature);
    std::fill(x.temperature + batch.count, x.temperature + padded, 1.0);
    x.transform.temperature = x.temperature;
  }
  if (k == 0 && plan.through_softcap) batch.softcapped = batch.input(0);
}

void start(const row_plan& plan, row_steps& steps, row_batch& batch, index first, index rows) {
  batch.first = first;
  batch.count = rows;
  const index lanes = plan.kernel().lanes, padded = (batch.count + pack_rows - 1) / pack_rows * pack_rows;
  for (std::size_t k = 0; k < plan.inputs.size(); ++k)
    point_at_rows(plan.inputs[k].array, first, batch.count, lanes, batch.in[k].x, batch.in[k].tile_strides, padded);
  for (std::size_t k = 0; k < plan.inputs.size(); ++k) set_transform(plan, batch, static_cast<int>(k), padded);
  if (plan.writes()) point_at_rows(plan.out, first, batch.count, lanes, batch.out, batch.out_strides);
  steps.load(batch);
}

void take_statistics(const row_plan& plan, row_batch& batch, index begin, index end, char* tile) {
  for (int k = 0; k < static_cast<int>(plan.inputs.size()); ++k) {
    if (!plan.input(k).with_statistics) continue;
    block_statistics to = batch.in[k].statistics_of_blocks();
    to.tile = tile;
    to.is_part = plan.is_part;
    plan.kernel().statistics(batch.input(k), begin, end, plan.input(k).t, to);
  }
}

// The statistics of the rows, from those of their blocks, or as they are known.
void finish_statistics(const row_plan& plan, row_batch& batch) {
  for (int k = 0; k < known_inputs(plan); ++k) plan.known->load(batch.first, batch.count, k, batch.in[k].statistics);
  for (int k = 0; k < static_cast<int>(plan.inputs.size()); ++k) {
    if (!plan.input(k).with_statistics) continue;
    input_rows& x = batch.in[k];
    plan.kernel().merge_blocks(batch.count, batch.blocks, plan.input(k).t, x.statistics_of_blocks(), x.statistics);
  }
}

// Batches of rows, one after the other on each worker. A unit is a batch, or, where losses are reduced per block, the rows of one.
class batch_walk {
 public:
  batch_walk(const row_plan& plan, row_steps& steps, row_losses* losses, index rows, int threads)
      : plan_(plan),
        steps_(steps),
        losses_(losses),
        rows_(rows),
        unit_(plan.reduce_per_block ? summed_rows : rows),
        prefetch_next_(should_prefetch_next_batch(plan, threads)),
        tiles_(plan, threads),
        batches_(new row_batch[static_cast<std::size_t>(threads)]) {
    for (int i = 0; i < threads; ++i) reserve(plan, steps, batches_[static_cast<std::size_t>(i)], rows);
    if (plan.reduce_per_block) losses->start(threads);
  }
  index units() const { return (plan_.rows + unit_ - 1) / unit_; }
  index unit_work() const { return work_of(unit_, plan_.classes, plan_.cost); }

  void operator()(index begin, index end, int worker) const {
    row_batch& batch = batches_[static_cast<std::size_t>(worker)];
    batch.worker = worker;
    const index step = plan_.reduce_per_block ? 1 : end - begin;
    for (index u = begin; u < end; u += step) {
      run(batch, u * unit_, std::min((u + step) * unit_, plan_.rows));
      if (plan_.reduce_per_block) losses_->end_block(u, worker);
    }
    if (plan_.stream) stream_fence();
  }

 private:
  void run(row_batch& batch, index first, index last) const {
    for (; first < last; first += batch.count) {
      if (plan_.fused) first += steps_.run_fused(first, last - first, batch.worker);
      if (first == last) break;
      start(plan_, steps_, batch, first, std::min(rows_, last - first));
      take_statistics(plan_, batch, 0, batch.blocks, tiles_.of(batch.worker));
      finish_statistics(plan_, batch);
      steps_.prepare(batch);
      if (plan_.with_sums) steps_.reduce(batch, 0, batch.blocks);
      steps_.finish(batch);
      batch.prefetch_next = prefetch_next_ && first + batch.count < last;
      if (plan_.writes()) steps_.write(batch, 0, batch.blocks);
      steps_.complete(batch);
    }
  }

  const row_plan& plan_;
  row_steps& steps_;
  row_losses* losses_;
  index rows_, unit_;
  bool prefetch_next_;
  tile_memory tiles_;
  std::unique_ptr<row_batch[]> batches_;   // of each worker
};

// Rows of which no class is read.
void run_known(const row_plan& plan, row_steps& steps, const execution& e) {
  for_each_row_chunk(plan.rows, e, [&](index first, index count) {
    row_batch batch;
    reserve(plan, steps, batch, count);
    batch.first = first;
    batch.count = count;
    steps.load(batch);
    finish_statistics(plan, batch);
    steps.prepare(batch);
    steps.finish(batch);
    steps.complete(batch);
  });
}

// Few rows, which are all in flight, or long ones, one batch after the other: the threads share the blocks of each.
void run_blocks(const row_plan& plan, row_steps& steps, index rows, int threads, const execution& e) {
  const index blocks = plan.blocks(), batches = (plan.rows + rows - 1) / rows, work = work_of(rows, plan.classes, plan.cost);
  const index in_flight = work > longest_unit ? 1 : std::min<index>(batches, 4 * threads);
  const tile_memory tiles(plan, threads);
  const std::unique_ptr<row_batch[]> flight(new row_batch[static_cast<std::size_t>(in_flight)]);
  for (index k = 0; k < in_flight; ++k) reserve(plan, steps, flight[static_cast<std::size_t>(k)], rows);
  interrupt_poller interrupts(e);
  for (index first = 0; first < batches; first += in_flight) {
    const index count = std::min(in_flight, batches - first);
    const index ranges = std::min(blocks, std::max((8 * threads + count - 1) / count, (work - 1) / longest_unit + 1));
    const auto range_begin = [&](index k) { return share_of(blocks, k, ranges); };
    const auto over_batches = [&](index batch_work, auto f) {
      parallel_for(count, batch_work, threads, e, [&](index begin, index end, int) {
        for (index k = begin; k < end; ++k) f(flight[static_cast<std::size_t>(k)]);
      });
      interrupts.poll();
    };
    const auto over_ranges = [&](auto f) {   // f(batch, first block, last block, worker)
      parallel_for(count * ranges, work / ranges, threads, e, [&](index begin, index end, int worker) {
        for (index u = begin; u < end; ++u)
          f(flight[static_cast<std::size_t>(u / ranges)], range_begin(u % ranges), range_begin(u % ranges + 1), worker);
        if (plan.stream) stream_fence();
      });
      interrupts.poll();
    };
    for (index k = 0; k < count; ++k) {
      const index row = (first + k) * rows;
      start(plan, steps, flight[static_cast<std::size_t>(k)], row, std::min(rows, plan.rows - row));
    }
    over_ranges([&](row_batch& batch, index begin, index end, int worker) {
      take_statistics(plan, batch, begin, end, tiles.of(worker));
    });
    over_batches(rows * blocks, [&](row_batch& batch) {
      finish_statistics(plan, batch);
      steps.prepare(batch);
      if (!plan.with_sums) steps.finish(batch);
    });
    if (plan.with_sums) {
      over_ranges([&](row_batch& batch, index begin, index end, int) { steps.reduce(batch, begin, end); });
      over_batches(rows * blocks, [&](row_batch& batch) { steps.finish(batch); });
    }
    if (plan.writes()) over_ranges([&](row_batch& batch, index begin, index end, int) { steps.write(batch, begin, end); });
    for (index k = 0; k < count; ++k) steps.complete(flight[static_cast<std::size_t>(k)]);
  }
}

}  // namespace

void row_batch::skip_zero_weight_rows(const double* row_weight) {
  if (plan->lanes_over_rows) return;
  for (index i = 0; i < count; ++i)
    for (std::size_t k = 0; row_weight[i] == 0 && k < plan->inputs.size(); ++k) in[k].x[i] = nullptr;
}

void row_batch::scale_factors(const double* exponent, gradient_rows& gradient) {
  from_cache = plan->cache_exponentials && plan->kernel().unbias_factors(count, gradient.factor, gradient.factor_lo);
  if (from_cache) return point_at_cached();
  std::copy_n(exponent, count, gradient.exponent);
  plan->kernel().split_exponents(count, gradient.factor, gradient.factor_lo, gradient.exponent);
}

void row_batch::write_softmax_gradient(const source* q, index begin, index end, const gradient_rows& gradient) const {
  if (!from_cache)
    return plan->kernel().write_softmax_gradient(input(0), in[0].statistics, q, output(), begin, end, plan->input(0).t,
                                                 gradient);
  plan->kernel().write_cached_gradient(cached(), q, output(), gradient);
}

// With lanes over rows they lie in one place.
void row_batch::point_at_cached() {
  if (plan->lanes_over_rows) return;
  for (index i = 0; i < count; ++i)
    in[0].cached_rows[i] = in[0].x[i] == nullptr
                               ? nullptr
                               : in[0].exponentials.data() + i * cached_row_bytes(plan->classes, item_size(plan->type));
}

source row_batch::cached() const {
  const bool over_rows = plan->lanes_over_rows;
  const index stride = item_size(plan->type) * (over_rows ? plan->kernel().lanes : 1);
  source exponentials{in[0].cached_rows, count, plan->classes, stride, plan->type, over_rows, false, in[0].cached_strides};
  point_at_next(exponentials);
  return exponentials;
}

// Rows lie as far apart as the first two do, or memory is fetched in vain.
void row_batch::point_at_next(source& s) const {
  const row_array& a = plan->input(0).array;
  if (!prefetch_next || in[0].x[0] == nullptr) return;
  s.next_row_stride = a.rows.inner_stride();
  s.next_class_stride = a.class_stride;
  s.next = in[0].x[0] + count * s.next_row_stride;
}

double row_batch::logit(int k, index row, index c) const {
  const row_array& a = plan->input(k).array;
  if (plan->input(k).is_transformed) return plan->kernel().transformed_logit(input(k), row, c);
  return load_rounded(in[k].x[row] + c * a.class_stride, a.type, plan->type);
}

double row_batch::softcap_derivative(int k, index row, index c) const {
  return plan->input(k).softcap > 0 ? plan->kernel().softcap_derivative(input(k), row, c) : 1;
}

void row_batch::divide_by_temperatures(int k, double* gradients) const {
  if (!plan->input(k).temperature.given()) return;
  for (index i = 0; i < count; ++i) gradients[i] /= in[k].temperature[i];
}

void row_batch::store_entry(index row, index c, double value) {
  store_number(out[row] + c * plan->out.class_stride, plan->out.type, value);
}

void row_steps::reduce(row_batch&, index, index) {}
void row_steps::write(row_batch&, index, index) {}

void run_rows(const row_plan& plan, row_steps& steps, const execution& e, row_losses* losses) {
  if (plan.rows == 0) return;
  if (plan.inputs.empty()) return run_known(plan, steps, e);
  const int threads = threads_for(plan.rows * plan.classes, e);
  const index rows = choose_batch(plan, threads);
  const bool are_few = threads > 1 && plan.rows < 4 * threads * rows && plan.blocks() >= 4;
  if (!plan.reduce_per_block && (are_few || work_of(rows, plan.classes, plan.cost) > longest_unit))
    return run_blocks(plan, steps, rows, threads, e);
  batch_walk walk(plan, steps, losses, rows, threads);
  parallel_for(walk.units(), walk.unit_work(), threads, e, walk);
}

}  // namespace crossent
