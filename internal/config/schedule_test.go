package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

func TestSchedule(t *testing.T) {
	for _, test := range []struct {
		text  string
		want  config.Schedule
		every time.Duration
	}{
		{"30s", config.Schedule{Interval: "30s"}, 30 * time.Second},
		{"1h30m", config.Schedule{Interval: "1h30m"}, 90 * time.Minute},
		{"{interval: 5m}", config.Schedule{Interval: "5m"}, 5 * time.Minute},
		{"'@daily'", config.Schedule{Cron: "@daily"}, 0},
		{"0 3 * * *", config.Schedule{Cron: "0 3 * * *"}, 0},
		{"'*/15 0-6,22-23 1 jan-mar MON-FRI'", config.Schedule{Cron: "*/15 0-6,22-23 1 jan-mar MON-FRI"}, 0},
		{"0-59/5 3 31 12 7", config.Schedule{Cron: "0-59/5 3 31 12 7"}, 0},
		{"{cron: 0 3 * * *, timeZone: America/Argentina/Buenos_Aires}", config.Schedule{Cron: "0 3 * * *", TimeZone: "America/Argentina/Buenos_Aires"}, 0},
	} {
		c := mustLoad(t, withTags("  tags: a\n  schedule: "+test.text+"\n"))
		got := c.Rules[0].Schedule
		if diff := cmp.Diff(&test.want, got); diff != "" || got.Every() != test.every {
			t.Errorf("%s: every %s (-want +got):\n%s", test.text, got.Every(), diff)
		}
	}
}
