package daemon

import (
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

func TestParseSchedule(t *testing.T) {
	from := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC) // a Friday, before Berlin's clocks go forward
	tests := []struct {
		schedule config.Schedule
		text     string
		next     string // "" for an interval
	}{
		{config.Schedule{Interval: "5m"}, "5m", ""},
		{config.Schedule{Interval: "90m"}, "1h30m", ""},
		{config.Schedule{Interval: "24h"}, "24h", ""},
		{config.Schedule{Cron: "0 3 * * *"}, "0 3 * * * UTC", "2026-03-28T03:00:00Z"},
		{config.Schedule{Cron: "0 3 * * *", TimeZone: "Europe/Berlin"}, "0 3 * * * Europe/Berlin", "2026-03-28T02:00:00Z"},
		{config.Schedule{Cron: "30 6 * * sun", TimeZone: "Europe/Berlin"}, "30 6 * * sun Europe/Berlin", "2026-03-29T04:30:00Z"},
		{config.Schedule{Cron: "@weekly"}, "@weekly UTC", "2026-03-29T00:00:00Z"},
		{config.Schedule{Cron: "0 0 * * 7"}, "0 0 * * 7 UTC", "2026-03-29T00:00:00Z"},
		{config.Schedule{Cron: "0 0 * * 6-7"}, "0 0 * * 6-7 UTC", "2026-03-28T00:00:00Z"},
		{config.Schedule{Cron: "0 0 * * 3-7/4"}, "0 0 * * 3-7/4 UTC", "2026-03-29T00:00:00Z"},
		{config.Schedule{Cron: "0 0 * * mon-7/6"}, "0 0 * * mon-7/6 UTC", "2026-03-29T00:00:00Z"},
		{config.Schedule{Cron: "0 0 * * */2"}, "0 0 * * */2 UTC", "2026-03-28T00:00:00Z"},
	}
	for _, test := range tests {
		s, err := ParseSchedule(test.schedule)
		if err != nil || s.String() != test.text {
			t.Errorf("%+v is %q, %v, want %q", test.schedule, s, err, test.text)
			continue
		}
		if test.next == "" {
			if s.every != test.schedule.Every() || s.cron != nil {
				t.Errorf("%+v is every %s", test.schedule, s.every)
			}
			continue
		}
		if next := s.cron.Next(from).UTC().Format(time.RFC3339); next != test.next {
			t.Errorf("%+v is next at %s, want %s", test.schedule, next, test.next)
		}
	}
}

func TestParseScheduleErrors(t *testing.T) {
	tests := []struct {
		schedule config.Schedule
		want     string
	}{
		{config.Schedule{Cron: "0 3 * * *", TimeZone: "Mars/Olympus"}, `schedule "0 3 * * *": time zone "Mars/Olympus" is not known`},
		{config.Schedule{Cron: "0 3 30 2 *"}, `schedule "0 3 30 2 *": there is no such day`},
		{config.Schedule{Cron: "0 25 * * *"}, `schedule "0 25 * * *": `},
	}
	for _, test := range tests {
		if _, err := ParseSchedule(test.schedule); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.schedule, err, test.want)
		}
	}
}
