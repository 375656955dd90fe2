// Selective scan of Mamba-1 on a CPU, forward and backward, float32, channels last.
//
// With dt = softplus(delta + bias):
//   h_t = exp(dt A) h_{t-1} + dt B u,   y = C . h_t + D u,   out = y SiLU(z)
//
// Channels are worked on LANES at a time, so that a position is a few vector registers. States are
// kept only at every INTERVAL-th position; the backward pass computes those between them again.
// The result does not depend on the number of threads: every sum has a fixed order, and what is
// summed over channels goes through GROUPS partial sums, each made by one task.

#include <torch/extension.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <tuple>
#include <vector>

namespace {

constexpr int STATE = 16;
constexpr int LANES = 16;
constexpr int INTERVAL = 64;
constexpr int64_t GROUPS = 8;

// Cephes expf: relative error 1e-7; underflows to about 1e-38.
inline float fast_exp(float x) {
  x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  const float k = __builtin_rintf(x * 1.44269504088896341f);
  const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(k) + 127) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

// log(1 + e) for e in [0, 1] as 2 atanh(e / (2 + e)); small e keep all their digits, which
// log(1 + e) in float32 does not give them.
inline float fast_log1p(float e) {
  const float s = e / (2.0f + e), q = s * s;
  float p = 1.0f / 15.0f;
  p = p * q + 1.0f / 13.0f;
  p = p * q + 1.0f / 11.0f;
  p = p * q + 1.0f / 9.0f;
  p = p * q + 1.0f / 7.0f;
  p = p * q + 1.0f / 5.0f;
  p = p * q + 1.0f / 3.0f;
  p = p * q + 1.0f;
  return 2.0f * s * p;
}

inline float logistic(float x) {
  const float e = fast_exp(-std::fabs(x));
  return (x > 0.0f ? 1.0f : e) / (1.0f + e);
}

struct Shape {
  int64_t batch, length, channels;
  bool softplus, reverse;
  int64_t blocks() const { return (channels + LANES - 1) / LANES; }
  int64_t chunks() const { return (length + INTERVAL - 1) / INTERVAL; }
  int64_t position(int64_t step) const { return reverse ? length - 1 - step : step; }
  int64_t border(int64_t b, int64_t block, int64_t chunk) const {
    return ((b * blocks() + block) * chunks() + chunk) * STATE * LANES;
  }
};

struct Inputs {
  const float *u, *delta, *A, *B, *C, *D, *bias, *z;
};

inline void load_lanes(float* to, const float* from, int width) {
  for (int j = 0; j < LANES; j++) to[j] = j < width ? from[j] : 0.0f;
}

// A block of channels: its share of A (state-major), D and the bias.
struct Block {
  int64_t first;
  int width;
  alignas(64) float A[STATE][LANES], D[LANES], bias[LANES];

  Block(const Inputs& in, const Shape& shape, int64_t block) {
    first = block * LANES;
    width = static_cast<int>(std::min<int64_t>(LANES, shape.channels - first));
    load_lanes(D, in.D + first, width);
    load_lanes(bias, in.bias + first, width);
    for (int n = 0; n < STATE; n++)
      for (int j = 0; j < LANES; j++) A[n][j] = j < width ? in.A[(first + j) * STATE + n] : 0.0f;
  }

  // step size, and its derivative by delta
  void step_size(const float* delta, bool softplus, float* dt, float* slope) const {
#pragma omp simd
    for (int j = 0; j < LANES; j++) {
      const float q = delta[j] + bias[j];
      const float e = fast_exp(-std::fabs(q));
      const float smooth = (q > 0.0f ? q : 0.0f) + fast_log1p(e);
      dt[j] = softplus ? smooth : q;
      slope[j] = softplus ? (q > 0.0f ? 1.0f : e) / (1.0f + e) : 1.0f;
    }
  }
};

void run_forward(const Inputs& in, const Shape& shape, float* out, float* borders) {
  const int64_t blocks = shape.blocks(), L = shape.length, D = shape.channels;
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
  for (int64_t b = 0; b < shape.batch; b++)
    for (int64_t k = 0; k < blocks; k++) {
      const Block block(in, shape, k);
      alignas(64) float h[STATE][LANES] = {}, u[LANES], delta[LANES], z[LANES], dt[LANES];
      alignas(64) float slope[LANES], x[LANES], y[LANES];
      for (int64_t step = 0; step < L; step++) {
        const int64_t t = shape.position(step), at = (b * L + t) * D + block.first;
        if (borders && step % INTERVAL == 0)
          std::memcpy(borders + shape.border(b, k, step / INTERVAL), h, sizeof h);
        load_lanes(u, in.u + at, block.width);
        load_lanes(delta, in.delta + at, block.width);
        block.step_size(delta, shape.softplus, dt, slope);
        for (int j = 0; j < LANES; j++) {
          x[j] = dt[j] * u[j];
          y[j] = block.D[j] * u[j];
        }
        const float *B = in.B + (b * L + t) * STATE, *C = in.C + (b * L + t) * STATE;
        for (int n = 0; n < STATE; n++) {
          const float b_n = B[n], c_n = C[n];
#pragma omp simd
          for (int j = 0; j < LANES; j++) {
            h[n][j] = fast_exp(dt[j] * block.A[n][j]) * h[n][j] + x[j] * b_n;
            y[j] += h[n][j] * c_n;
          }
        }
        if (in.z) {
          load_lanes(z, in.z + at, block.width);
#pragma omp simd
          for (int j = 0; j < LANES; j++) y[j] *= z[j] * logistic(z[j]);
        }
        for (int j = 0; j < block.width; j++) out[at + j] = y[j];
      }
    }
}

struct Gradients {
  float *u, *delta, *z;      // (B, L, D)
  float *A, *D, *bias;       // one slot per sequence: (B, D, N), (B, D), (B, D)
  float *B, *C;              // one slot per group: (G, B, L, N)
};

// Scratch memory of one task: one chunk of one block.
struct Scratch {
  std::vector<float> states, decay, dt, slope, u;
  Scratch()
      : states((INTERVAL + 1) * STATE * LANES),
        decay(INTERVAL * STATE * LANES),
        dt(INTERVAL * LANES),
        slope(INTERVAL * LANES),
        u(INTERVAL * LANES) {}
};

void backward_block(const Inputs& in, const Shape& shape, const float* borders,
                    const float* grad_out, const Gradients& grad, int64_t b, int64_t k,
                    int64_t group, Scratch& scratch) {
  const int64_t L = shape.length, D = shape.channels;
  const Block block(in, shape, k);
  alignas(64) float carry[STATE][LANES] = {}, grad_A[STATE][LANES] = {}, grad_D[LANES] = {};
  alignas(64) float grad_bias[LANES] = {}, delta[LANES], x[LANES], g[LANES], z[LANES], y[LANES];
  alignas(64) float grad_x[LANES], grad_dt[LANES], grad_z[LANES];
  float* const grad_B = grad.B + group * shape.batch * L * STATE;
  float* const grad_C = grad.C + group * shape.batch * L * STATE;
  for (int64_t chunk = shape.chunks() - 1; chunk >= 0; chunk--) {
    const int64_t from = chunk * INTERVAL, until = std::min<int64_t>(L, from + INTERVAL);
    std::memcpy(scratch.states.data(), borders + shape.border(b, k, chunk),
                sizeof(float) * STATE * LANES);
    for (int64_t step = from; step < until; step++) {
      const int64_t t = shape.position(step), i = step - from, at = (b * L + t) * D + block.first;
      float *dt = &scratch.dt[i * LANES], *slope = &scratch.slope[i * LANES];
      float* u = &scratch.u[i * LANES];
      load_lanes(u, in.u + at, block.width);
      load_lanes(delta, in.delta + at, block.width);
      block.step_size(delta, shape.softplus, dt, slope);
      for (int j = 0; j < LANES; j++) x[j] = dt[j] * u[j];
      const float* before = &scratch.states[i * STATE * LANES];
      float *after = &scratch.states[(i + 1) * STATE * LANES];
      float* decay = &scratch.decay[i * STATE * LANES];
      const float* B = in.B + (b * L + t) * STATE;
      for (int n = 0; n < STATE; n++) {
        const float b_n = B[n];
#pragma omp simd
        for (int j = 0; j < LANES; j++) {
          const int s = n * LANES + j;
          decay[s] = fast_exp(dt[j] * block.A[n][j]);
          after[s] = decay[s] * before[s] + x[j] * b_n;
        }
      }
    }
    for (int64_t step = until - 1; step >= from; step--) {
      const int64_t t = shape.position(step), i = step - from, at = (b * L + t) * D + block.first;
      const float *dt = &scratch.dt[i * LANES], *slope = &scratch.slope[i * LANES];
      const float* u = &scratch.u[i * LANES];
      const float* before = &scratch.states[i * STATE * LANES];
      const float* after = &scratch.states[(i + 1) * STATE * LANES];
      const float* decay = &scratch.decay[i * STATE * LANES];
      const float *B = in.B + (b * L + t) * STATE, *C = in.C + (b * L + t) * STATE;
      load_lanes(g, grad_out + at, block.width);
      for (int j = 0; j < LANES; j++) {
        y[j] = block.D[j] * u[j];
        x[j] = dt[j] * u[j];
        grad_x[j] = grad_dt[j] = 0.0f;
      }
      if (in.z) {
        load_lanes(z, in.z + at, block.width);
#pragma omp simd
        for (int j = 0; j < LANES; j++) {
          const float open = logistic(z[j]);
          grad_z[j] = g[j] * open * (1.0f + z[j] * (1.0f - open));
          g[j] *= z[j] * open;
        }
      }
      for (int n = 0; n < STATE; n++) {
        const float b_n = B[n], c_n = C[n];
        float sum_b = 0.0f, sum_c = 0.0f;
#pragma omp simd reduction(+ : sum_b, sum_c)
        for (int j = 0; j < LANES; j++) {
          const int s = n * LANES + j;
          const float h = after[s], e = decay[s], q = carry[n][j] + g[j] * c_n;
          const float exponent = q * before[s] * e;
          y[j] += h * c_n;
          sum_c += g[j] * h;
          sum_b += q * x[j];
          grad_dt[j] += exponent * block.A[n][j];
          grad_A[n][j] += exponent * dt[j];
          grad_x[j] += q * b_n;
          carry[n][j] = q * e;
        }
        grad_B[(b * L + t) * STATE + n] += sum_b;
        grad_C[(b * L + t) * STATE + n] += sum_c;
      }
      for (int j = 0; j < block.width; j++) {
        const float step_gradient = (grad_dt[j] + grad_x[j] * u[j]) * slope[j];
        grad.u[at + j] = grad_x[j] * dt[j] + g[j] * block.D[j];
        grad.delta[at + j] = step_gradient;
        grad_bias[j] += step_gradient;
        grad_D[j] += g[j] * u[j];
        if (in.z) grad.z[at + j] = grad_z[j] * y[j];
      }
    }
  }
  for (int j = 0; j < block.width; j++) {
    const int64_t channel = b * D + block.first + j;
    for (int n = 0; n < STATE; n++) grad.A[channel * STATE + n] = grad_A[n][j];
    grad.D[channel] = grad_D[j];
    grad.bias[channel] = grad_bias[j];
  }
}

const float* pointer(const at::Tensor& x) { return x.const_data_ptr<float>(); }

Inputs inputs_of(const at::Tensor& u, const at::Tensor& delta, const at::Tensor& A,
                 const at::Tensor& B, const at::Tensor& C, const at::Tensor& D,
                 const at::Tensor& bias, const std::optional<at::Tensor>& z) {
  TORCH_CHECK(A.size(1) == STATE, "the state must have ", STATE, " numbers");
  return {pointer(u), pointer(delta), pointer(A),    pointer(B),
          pointer(C), pointer(D),     pointer(bias), z ? pointer(*z) : nullptr};
}

std::tuple<at::Tensor, at::Tensor> forward(at::Tensor u, at::Tensor delta, at::Tensor A,
                                           at::Tensor B, at::Tensor C, at::Tensor D,
                                           at::Tensor bias, std::optional<at::Tensor> z,
                                           bool softplus, bool reverse, bool keeps) {
  const Shape shape{u.size(0), u.size(1), u.size(2), softplus, reverse};
  const Inputs in = inputs_of(u, delta, A, B, C, D, bias, z);
  at::Tensor out = at::empty_like(u);
  const int64_t size = shape.batch * shape.blocks() * shape.chunks() * STATE * LANES;
  at::Tensor borders = at::empty({keeps ? size : 0}, u.options());
  py::gil_scoped_release release;
  run_forward(in, shape, out.data_ptr<float>(), keeps ? borders.data_ptr<float>() : nullptr);
  return {out, borders};
}

std::vector<std::optional<at::Tensor>> backward(at::Tensor u, at::Tensor delta, at::Tensor A,
                                                at::Tensor B, at::Tensor C, at::Tensor D,
                                                at::Tensor bias, std::optional<at::Tensor> z,
                                                at::Tensor borders, at::Tensor grad_out,
                                                bool softplus, bool reverse) {
  const Shape shape{u.size(0), u.size(1), u.size(2), softplus, reverse};
  const Inputs in = inputs_of(u, delta, A, B, C, D, bias, z);
  const int64_t blocks = shape.blocks(), groups = std::min(GROUPS, blocks);
  const auto like = u.options();
  at::Tensor grad_u = at::empty_like(u), grad_delta = at::empty_like(u);
  std::optional<at::Tensor> grad_z;
  if (z) grad_z = at::empty_like(u);
  at::Tensor grad_A = at::empty({shape.batch, shape.channels, STATE}, like);
  at::Tensor grad_D = at::empty({shape.batch, shape.channels}, like);
  at::Tensor grad_bias = at::empty({shape.batch, shape.channels}, like);
  at::Tensor grad_B = at::zeros({groups, shape.batch, shape.length, STATE}, like);
  at::Tensor grad_C = at::zeros_like(grad_B);
  const Gradients grad{grad_u.data_ptr<float>(),
                       grad_delta.data_ptr<float>(),
                       grad_z ? grad_z->data_ptr<float>() : nullptr,
                       grad_A.data_ptr<float>(),
                       grad_D.data_ptr<float>(),
                       grad_bias.data_ptr<float>(),
                       grad_B.data_ptr<float>(),
                       grad_C.data_ptr<float>()};
  const float *kept = pointer(borders), *incoming = pointer(grad_out);
  {
    py::gil_scoped_release release;
#pragma omp parallel
    {
      Scratch scratch;
#pragma omp for collapse(2) schedule(dynamic, 1)
      for (int64_t b = 0; b < shape.batch; b++)
        for (int64_t group = 0; group < groups; group++)
          for (int64_t k = group; k < blocks; k += groups)
            backward_block(in, shape, kept, incoming, grad, b, k, group, scratch);
    }
  }
  return {grad_u,        grad_delta,    grad_A.sum(0),    grad_B.sum(0),
          grad_C.sum(0), grad_D.sum(0), grad_bias.sum(0), grad_z};
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("forward", &forward);
  m.def("backward", &backward);
}
