package config

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A Schedule says when the daemon looks at a mirror. An interval or a cron expression
// may be written alone. Its parts are well formed; whether the time zone exists is for
// the machine that runs it.
type Schedule struct {
	Interval string `yaml:"interval" is:"interval" doc:"The time from one start to the next. It may be written alone: schedule: 30m."`
	Cron     string `yaml:"cron" is:"cron" doc:"Minute, hour, day of the month, month, weekday; or @hourly, @daily, @weekly, @monthly, @yearly. It may be written alone."`
	TimeZone string `yaml:"timeZone" aka:"timezone,tz" is:"timeZone" doc:"Whose time the cron expression is in." default:"UTC"`
}

// Every returns the interval, 0 where there is a cron expression.
func (s Schedule) Every() time.Duration {
	d, err := time.ParseDuration(s.Interval)
	if err != nil {
		return 0
	}
	return d
}

func (s *Schedule) read(r *reader, n *node, path string) {
	if n.kind != scalar {
		r.structureOf(s, n, path)
		return
	}
	if strings.ContainsAny(n.value, " @*") {
		s.Cron, _ = r.text(n, "cron", path)
		return
	}
	s.Interval, _ = r.text(n, "interval", path)
}

func (s *Schedule) check(r *reader, path string) {
	switch {
	case (s.Interval == "") == (s.Cron == ""):
		r.fail(path, "a schedule is an interval or a cron expression", "one of interval and cron")
	case s.TimeZone != "" && s.Cron == "":
		r.fail(path+".timeZone", "an interval has no time zone", "timeZone beside cron only")
	}
}

func (s Schedule) show() *yaml.Node {
	switch {
	case s.Interval != "":
		return text(s.Interval)
	case s.TimeZone == "":
		return text(s.Cron)
	}
	return structureNode(s)
}

// minInterval is the shortest interval: registries are not asked more often than that.
const minInterval = 30 * time.Second

func checkInterval(s string) error {
	if d, err := time.ParseDuration(s); err != nil || d < minInterval {
		return errors.New(isNot(s, "an interval"))
	}
	return nil
}

var (
	timeZone  = pattern(`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$`)
	cronWords = regexp.MustCompile(`^@(hourly|daily|midnight|weekly|monthly|yearly|annually)$`)
	cronItem  = regexp.MustCompile(`^(\*|([0-9A-Za-z]{1,3})(?:-([0-9A-Za-z]{1,3}))?)(?:/([0-9]{1,2}))?$`)
)

// A cronField is one of the five numbers of a cron expression.
type cronField struct {
	low, high int
	names     []string // of low, low+1 …
}

func cronFields() []cronField {
	return []cronField{
		{low: 0, high: 59},
		{low: 0, high: 23},
		{low: 1, high: 31},
		{low: 1, high: 12, names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
		{low: 0, high: 7, names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
	}
}

func checkCron(s string) error {
	if cronWords.MatchString(s) {
		return nil
	}
	written, fields := strings.Fields(s), cronFields()
	if len(written) != len(fields) {
		return errors.New(isNot(s, "a cron expression"))
	}
	for i, field := range fields {
		for item := range strings.SplitSeq(written[i], ",") {
			if !field.holds(item) {
				return errors.New(isNot(item, "part of a cron expression from "+strconv.Itoa(field.low)+" to "+strconv.Itoa(field.high)))
			}
		}
	}
	return nil
}

// holds reports whether item is one of the field's: *, a number, a range, with a step.
func (f cronField) holds(item string) bool {
	m := cronItem.FindStringSubmatch(item)
	if m == nil || m[4] == "0" || m[4] == "00" {
		return false
	}
	if m[1] == "*" {
		return true
	}
	from, ok := f.number(m[2])
	to := from
	if ok && m[3] != "" {
		to, ok = f.number(m[3])
	}
	return ok && from <= to
}

func (f cronField) number(s string) (int, bool) {
	for i, name := range f.names {
		if strings.EqualFold(s, name) {
			return f.low + i, true
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= f.low && n <= f.high
}
