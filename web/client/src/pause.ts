const first = 100; // milliseconds before the second attempt; it doubles from there

/** jitter is how long to wait before an attempt: anything up to a bound that doubles, so that many do not come at once. */
export function jitter(attempt: number, most: number): number {
  return Math.random() * Math.min(first * 2 ** Math.min(attempt, 16), most) + 1;
}

/** before is how long to wait before a refused request is asked again: what the server said, or a pause that grows. */
export function before(retryAfter: number | undefined, attempt: number): number {
  return retryAfter === undefined ? first + jitter(attempt, 5_000) : retryAfter + jitter(0, first);
}
