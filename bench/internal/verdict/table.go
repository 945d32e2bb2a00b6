package verdict

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Heading is what a table begins with.
func (w Workload) Heading() string {
	network := "raw loopback"
	if w.Delay > 0 {
		network = fmt.Sprintf("%s added to every request", w.Delay)
	}
	return fmt.Sprintf("%s, %s: %s", w.Name, network, w.Content)
}

// Write prints a workload: one line for each entrant, medians of its runs, and one for
// each goal.
func (w Workload) Write(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n\n", w.Heading())
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\truns\twall s\tx floor\tCPU s\tx floor\tpeak MiB\trequests up + down\tblob MB up + down\tconnections")
	for _, e := range w.Entrants {
		fmt.Fprintln(table, w.line(e))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, e := range w.Entrants {
		for i, r := range e.Runs {
			if r.Problem != "" {
				fmt.Fprintf(&b, "%s, round %d does not count: %s\n", e.Name, i+1, r.Problem)
			}
		}
	}
	writeGoals(&b, w.Goals)
	_, err := io.WriteString(out, b.String())
	return err
}

func (w Workload) line(e Entrant) string {
	runs := w.entrant(e.Name)
	switch empty := strings.Repeat("\t", 8); {
	case e.Skipped != "":
		return e.Name + "\t-" + empty + e.Skipped
	case len(runs) == 0:
		return e.Name + "\t0" + empty + "none that counts"
	}
	r := runs[len(runs)-1]
	return strings.Join([]string{
		e.Name,
		fmt.Sprint(len(runs)),
		fmt.Sprintf("%.2f", Median(all(runs, wall))),
		w.ratio(e.Name, wall),
		fmt.Sprintf("%.2f", Median(all(runs, cpu))),
		w.ratio(e.Name, cpu),
		fmt.Sprintf("%.0f", Median(all(runs, peak))/(1<<20)),
		fmt.Sprintf("%d + %d", r.Source.Requests, r.Target.Requests),
		fmt.Sprintf("%.1f + %.1f", float64(r.Source.BlobBytes)/1e6, float64(r.Target.BlobBytes)/1e6),
		fmt.Sprintf("%d + %d", r.Source.Connections, r.Target.Connections),
	}, "\t")
}

// ratio is the median of the ratios to the floor, round by round, and its interval
// where there are rounds enough for one.
func (w Workload) ratio(name string, of func(Run) float64) string {
	ratios := Ratios(w.pairs(name, Floor, of))
	switch {
	case name == Floor:
		return "1"
	case len(ratios) == 0:
		return ""
	case len(ratios) < 3:
		return fmt.Sprintf("%.2f", Median(ratios))
	}
	low, high := Interval(ratios)
	return fmt.Sprintf("%.2f [%.2f-%.2f]", Median(ratios), low, high)
}

func writeGoals(b *strings.Builder, goals []Goal) {
	if len(goals) == 0 {
		return
	}
	b.WriteString("\n")
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, g := range goals {
		met := "met"
		if !g.Met {
			met = "MISSED"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", met, g.What, g.Want, g.Got)
	}
	_ = table.Flush() // to memory
}

// Write prints what the benchmark was.
func (r Report) Write(out io.Writer) error {
	_, err := fmt.Fprintf(out, "%s\n%s, ecr-mirror-sync %s, %s; scale %g\n", r.Command, r.Began.Format(time.RFC3339), r.Version, r.Machine, r.Scale)
	if err == nil && r.Load != "" {
		_, err = fmt.Fprintf(out, "load of the machine at the beginning: %s\n", r.Load)
	}
	if err == nil && r.Scale != 1 {
		_, err = fmt.Fprintln(out, "The goals for time and memory are those of scale 1. At this scale only counts say something.")
	}
	return err
}
