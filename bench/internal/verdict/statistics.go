// Package verdict turns what runs cost into figures that can be trusted, compares them
// with the goals, and prints both.
package verdict

import (
	"math/rand/v2"
	"slices"
)

// Median is the middle of values, 0 where there are none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

const resamples = 10_000

// Interval is where the median of values like these lies in 95 of 100 cases: a
// percentile bootstrap, the same for the same values.
func Interval(values []float64) (low, high float64) {
	if len(values) == 0 {
		return 0, 0
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // resampling, and repeatable
	medians := make([]float64, resamples)
	sample := make([]float64, len(values))
	for i := range medians {
		for j := range sample {
			sample[j] = values[random.IntN(len(values))]
		}
		medians[i] = Median(sample)
	}
	slices.Sort(medians)
	return medians[resamples*25/1000], medians[resamples*975/1000]
}

// Ratios divides pair by pair.
func Ratios(values, by []float64) []float64 {
	ratios := make([]float64, 0, len(values))
	for i := range min(len(values), len(by)) {
		if by[i] > 0 {
			ratios = append(ratios, values[i]/by[i])
		}
	}
	return ratios
}
