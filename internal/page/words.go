package page

import (
	"fmt"
	"time"
)

// ago is how long something is past, in words.
func ago(now time.Time, then *time.Time) string {
	if then == nil {
		return "never"
	}
	return span(now.Sub(*then)) + " ago"
}

// until is how long something is ahead.
func until(now time.Time, then *time.Time) string {
	switch {
	case then == nil:
		return "–"
	case !then.After(now):
		return "now"
	}
	return "in " + span(then.Sub(now))
}

// span is a duration as a person says it: in its two largest units at most.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}

// size is a number of bytes, in powers of 1000, as registries count.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1000, 0
	for value >= 999.95 && unit < 4 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.1f %s", value, [...]string{"kB", "MB", "GB", "TB", "PB"}[unit])
}
