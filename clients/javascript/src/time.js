// Durations. They are measured on the monotonic clock, so that a wrong or changed wall clock does
// not affect them.

/** The seconds since some moment in the past. */
export function seconds() {
  return performance.now() / 1_000;
}

/**
 * Waits, or throws the reason of `signal` when it is aborted.
 * @param {number} duration in seconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(duration, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, duration * 1_000);
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/**
 * A signal that is aborted when the first of `signals` is. The listeners on the other signals are then
 * removed. `AbortSignal.any` does the same, but Node before 20.3 does not have it.
 * @param {AbortSignal[]} signals
 */
export function anySignal(...signals) {
  const any = new AbortController();
  for (const signal of signals) {
    if (signal.aborted) {
      any.abort(signal.reason);
    }
    signal.addEventListener("abort", () => any.abort(signal.reason), { once: true, signal: any.signal });
  }
  return any.signal;
}

/**
 * A uniform random wait below an upper bound, in seconds. The bound doubles with each failure, from
 * `first` to `highest`.
 * @param {number} failures
 * @param {number} first
 * @param {number} highest
 */
export function fullJitter(failures, first, highest) {
  return Math.random() * Math.min(first * 2 ** Math.min(failures - 1, 16), highest);
}
