package verdict_test

import (
	"slices"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/verdict"
)

func TestMedian(t *testing.T) {
	tests := []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 2, 100}, 3},
	}
	for _, test := range tests {
		if got := verdict.Median(test.values); got != test.want {
			t.Errorf("the median of %v is %v, want %v", test.values, got, test.want)
		}
	}
}

// An interval holds the median, is as wide as the values allow, and does not change
// from one call to the next.
func TestInterval(t *testing.T) {
	values := []float64{1.02, 0.97, 1.10, 1.05, 1.01, 0.99, 1.30}
	low, high := verdict.Interval(values)
	if median := verdict.Median(values); low > median || high < median || low < slices.Min(values) || high > slices.Max(values) {
		t.Errorf("the interval of %v is %v to %v", values, low, high)
	}
	if low == high {
		t.Errorf("the interval of different values is a point: %v", low)
	}
	if again, _ := verdict.Interval(values); again != low {
		t.Errorf("the lower end was %v and is %v", low, again)
	}
	if low, high := verdict.Interval([]float64{2, 2, 2}); low != 2 || high != 2 {
		t.Errorf("the interval of equal values is %v to %v", low, high)
	}
}

func TestRatios(t *testing.T) {
	if got := verdict.Ratios([]float64{2, 9, 5}, []float64{1, 3, 0}); !slices.Equal(got, []float64{2, 3}) {
		t.Errorf("got %v", got)
	}
}
