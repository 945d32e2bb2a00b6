package daemon

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the image is made from scratch, and has no time zones of its own

	"github.com/robfig/cron/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

// A Schedule says when mirrors are looked at: every so often, or when a cron expression
// says. Schedules of the same text are the same.
type Schedule struct {
	every time.Duration // 0 where there is a cron expression
	cron  cron.Schedule
	text  string
}

// Every is the schedule of an interval, from one start to the next.
func Every(interval time.Duration) Schedule {
	return Schedule{every: interval, text: shortDuration(interval)}
}

// shortDuration writes a duration as people do: 5m instead of 5m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// ParseSchedule reads the schedule of a mirror. Its grammar was checked with the file; that
// its time zone exists, and that its time ever comes, is checked here.
func ParseSchedule(s config.Schedule) (Schedule, error) {
	if every := s.Every(); every > 0 {
		return Every(every), nil
	}
	zone := "UTC"
	if s.TimeZone != "" {
		zone = s.TimeZone
	}
	if _, err := time.LoadLocation(zone); err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: time zone %q is not known: expected one such as UTC or Europe/Berlin", s.Cron, zone)
	}
	parsed, err := cron.ParseStandard("CRON_TZ=" + zone + " " + sundays(s.Cron))
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w", s.Cron, err)
	}
	if parsed.Next(time.Unix(0, 0)).IsZero() {
		return Schedule{}, fmt.Errorf("schedule %q: there is no such day", s.Cron)
	}
	return Schedule{cron: parsed, text: s.Cron + " " + zone}, nil
}

// String names the schedule, for people and as its key.
func (s Schedule) String() string { return s.text }

// sundays writes a 7 among the weekdays, which the parser does not know, as 0.
func sundays(expression string) string {
	fields := strings.Fields(expression)
	if len(fields) != 5 || !strings.Contains(fields[4], "7") {
		return expression
	}
	var days []string
	for item := range strings.SplitSeq(fields[4], ",") {
		days = append(days, weekdays(item)...)
	}
	fields[4] = strings.Join(days, ",")
	return strings.Join(fields, " ")
}

// weekdays takes an item that ends with Sunday as 7 apart: 5-7 is 5, 6 and 0.
func weekdays(item string) []string {
	span, step, _ := strings.Cut(item, "/")
	from, to, isSpan := strings.Cut(span, "-")
	if !isSpan {
		to = from
	}
	if to != "7" {
		return []string{item}
	}
	first := slices.Index([]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, strings.ToLower(from))
	if n, err := strconv.Atoi(from); err == nil {
		first = n
	}
	every, err := strconv.Atoi(step)
	if err != nil {
		every = 1
	}
	var days []string
	for day := first; day >= 0 && day <= 7; day += every {
		days = append(days, strconv.Itoa(day%7))
	}
	return days
}
