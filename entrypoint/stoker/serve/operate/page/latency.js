// Percentiles of the last minute, from the histograms of /metrics.

/**
 * A histogram of Prometheus at one moment: cumulative counts at upper bounds, the last of which is infinity.
 * @typedef {{bounds: number[], counts: number[]}} Histogram
 */

export const NAMES = { first: "time_to_first_token_seconds", next: "time_per_output_token_seconds" };

/**
 * @param {string} text in Prometheus' format
 * @param {string} name of a histogram; of several series, such as those of adapters, the sum
 * @returns {Histogram}
 */
export function histogram(text, name) {
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (const line of text.split("\n")) {
    if (!line.startsWith(`${name}_bucket{`)) continue;
    const bound = /le="([^"]+)"/.exec(line)?.[1] ?? "+Inf";
    const upper = bound === "+Inf" ? Infinity : Number(bound);
    counts.set(upper, (counts.get(upper) ?? 0) + Number(line.slice(line.lastIndexOf(" ") + 1)));
  }
  const bounds = [...counts.keys()].sort((one, other) => one - other);
  return { bounds, counts: bounds.map((bound) => /** @type {number} */ (counts.get(bound))) };
}

/**
 * What happened between two moments.
 * @param {Histogram} later
 * @param {Histogram} earlier
 * @returns {Histogram}
 */
export function between(later, earlier) {
  if (earlier.bounds.length !== later.bounds.length) return later; // the first request came in between
  return { bounds: later.bounds, counts: later.counts.map((count, index) => count - earlier.counts[index]) };
}

/**
 * As Prometheus' histogram_quantile: linear within a bucket.
 * @param {Histogram} histogram
 * @param {number} share 0 to 1
 * @returns {number | null} seconds; null where nothing happened
 */
export function quantile({ bounds, counts }, share) {
  const total = counts[counts.length - 1] ?? 0;
  if (!(total > 0)) return null;
  const rank = share * total;
  const index = counts.findIndex((count) => count >= rank);
  if (index === bounds.length - 1) return bounds[index - 1] ?? null;
  const below = index ? counts[index - 1] : 0;
  const from = index ? bounds[index - 1] : 0;
  const within = counts[index] - below;
  return within > 0 ? from + ((bounds[index] - from) * (rank - below)) / within : from;
}
