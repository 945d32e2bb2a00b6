package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/scrape"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

// settles waits until the daemon says that all is in sync that is to be, and finds out
// whether that is so, and whether all that it says agrees.
func (w *world) settles(ctx context.Context) error {
	since := time.Now()
	if err := w.daemon.shows(ctx, "everything is in sync", func(s status.Snapshot) bool { return w.inSync(s, since) }); err != nil {
		return err
	}
	var ecr, upstream []ecrlocal.Entry
	said, metrics, err := scrape.Quiet(ctx, w.daemon.client, w.daemon.address, func() {
		ecr, upstream = w.local.Journal(), w.seen.Journal()
	})
	if err != nil {
		return err
	}
	wrong := metrics.Disagreements(said)
	wrong = append(wrong, w.notWhatTheRegistriesSaw(said, metrics, byTheDaemon(ecr), upstream)...)
	for name, value := range metrics {
		if strings.HasPrefix(name, "mirror_behind_seconds") && value != 0 {
			wrong = append(wrong, fmt.Sprintf("%s is %v, and everything is in sync", name, value))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("a checkpoint:\n  %s", strings.Join(wrong, "\n  "))
	}
	w.tally.at(said, metrics)
	used, err := w.daemon.usage(metrics)
	w.grows.note(used)
	return errors.Join(err, w.everyTagIsWhole(ctx, true))
}

// inSync reports whether a status says so of every mirror, and of no others, after a time.
func (w *world) inSync(s status.Snapshot, since time.Time) bool {
	repositories := map[string]bool{}
	for to := range w.wanted {
		repositories[to.repository] = true
	}
	for _, m := range s.Mirrors {
		if m.LastSuccess == nil || m.LastSuccess.Before(since) || m.BehindSince != nil || m.Tags.InSync != 2 {
			return false
		}
	}
	return len(s.Mirrors) == len(repositories)
}

// byTheDaemon are the requests that the test itself did not make.
func byTheDaemon(journal []ecrlocal.Entry) []ecrlocal.Entry {
	return slices.DeleteFunc(journal, func(e ecrlocal.Entry) bool { return strings.HasSuffix(e.Principal, ":user/test") })
}

// notWhatTheRegistriesSaw says where the daemon and the journals of its life disagree.
func (w *world) notWhatTheRegistriesSaw(said status.Snapshot, m scrape.Metrics, ecr, upstream []ecrlocal.Entry) []string {
	want := counts{}
	var tags, uploaded, read float64
	for _, e := range ecr {
		want.count(w.ecr.host, e)
		switch {
		case e.Op == "manifest-put" && e.Status == http.StatusCreated && !strings.HasPrefix(e.Reference, "sha256:"):
			tags++
		case (e.Op == "upload-put" || e.Op == "upload-patch") && e.Status < 300:
			uploaded += float64(e.BytesIn)
		}
	}
	for _, e := range upstream {
		want.count(w.upstream.host, e)
		if e.Op == "blob-get" && e.Status == http.StatusOK {
			read += float64(e.BytesOut)
		}
	}
	want[w.upstream.host+" 5xx"] += float64(w.upstream.refused.Load())
	wrong := w.otherRequests(want, asked(m))
	if have := float64(said.Totals.Copied); have != tags {
		wrong = append(wrong, fmt.Sprintf("%v tags copied by the status, %v written by the journal", have, tags))
	}
	if have := m[`bytes_total{direction="written"}`]; have != uploaded {
		wrong = append(wrong, fmt.Sprintf("%v bytes written by the metrics, %v by the journal", have, uploaded))
	}
	if have := m[`bytes_total{direction="read"}`]; have != read && !(w.unclear && have < read) {
		wrong = append(wrong, fmt.Sprintf("%v bytes read by the metrics, %v by the journal", have, read))
	}
	return wrong
}

// counts are requests by where they went and the class of the answer: the registry's host
// and class, or AWS's operation and class.
type counts map[string]float64

// notAnswered is the class of requests without an answer.
const notAnswered = "error"

// count adds a request that a journal has.
func (c counts) count(host string, e ecrlocal.Entry) {
	class := strconv.Itoa(e.Status/100) + "xx"
	if e.Status == 0 {
		class = notAnswered
	}
	where := host
	if e.Plane == ecrlocal.PlaneAPI {
		where = e.Op
	}
	c[where+" "+class]++
	if e.Status == http.StatusTooManyRequests {
		c[where+" throttled"]++
	}
}

// asked is what the metrics say of requests. The question whether a host speaks TLS never
// gets to one that does not.
func asked(m scrape.Metrics) counts {
	have := counts{}
	for name, value := range m {
		labels := labelsOf(name)
		switch {
		case strings.HasPrefix(name, "throttled_total{"):
			have[labels["host"]+" throttled"] += value
		case !strings.HasPrefix(name, "requests_total{"), labels["class"] == notAnswered && labels["operation"] == "ping":
		default:
			where := labels["host"]
			if _, operation, aws := strings.Cut(labels["operation"], ":"); aws {
				where = operation
			}
			have[where+" "+labels["class"]] += value
		}
	}
	return have
}

// otherRequests says which requests are not the same in the metrics and in the journals.
// When something fails, what else is under way for it is given up, and may have reached the
// registry: of each such request the metrics say that there was no answer. Of what a
// registry did not answer they may know nothing: net/http asks again by itself where a
// connection was cut that had been used before.
func (w *world) otherRequests(want, have counts) []string {
	all := maps.Clone(want)
	maps.Copy(all, have) // what is in either
	var wrong []string
	surplus := map[string]float64{} // answers that nobody waited for
	for _, name := range slices.Sorted(maps.Keys(all)) {
		where, class, _ := strings.Cut(name, " ")
		switch more := want[name] - have[name]; {
		case w.unclear && class == notAnswered:
		case w.unclear && class == "throttled" && more >= 0:
		case w.unclear && more >= 0:
			surplus[where] += more
		case more != 0:
			wrong = append(wrong, fmt.Sprintf("requests, %s: %v in the metrics, %v in the journal", name, have[name], want[name]))
		}
	}
	for where, n := range surplus {
		if given := have[where+" "+notAnswered]; n > given {
			wrong = append(wrong, fmt.Sprintf("requests of %s: %v answers in the journal are not in the metrics, which miss %v", where, n, given))
		}
	}
	return wrong
}

// labelsOf takes the name of a series apart whose labels are plain.
func labelsOf(name string) map[string]string {
	labels := map[string]string{}
	_, written, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
	for pair := range strings.SplitSeq(written, ",") {
		label, value, _ := strings.Cut(pair, "=")
		labels[label] = strings.Trim(value, `"`)
	}
	return labels
}

// everyTagIsWhole walks every tag that the daemon is to keep. It is what upstream has, or,
// where the daemon was stopped, what it was when all was in sync last.
func (w *world) everyTagIsWhole(ctx context.Context, equal bool) error {
	own := signed{transport: &http.Transport{}, password: w.local.Password("", "")}
	defer own.transport.CloseIdleConnections()
	client := &http.Client{Transport: own}
	for to, from := range w.wanted {
		original, err := walker.Check(ctx, walker.Options{Client: client, Base: w.pushes.URL, Repository: from.repository, Reference: from.tag})
		if err != nil {
			return err
		}
		mirrored, err := walker.Check(ctx, walker.Options{
			Client: client, Base: w.local.URL, Repository: to.repository, Reference: to.tag,
		})
		if err := errors.Join(err, mirrored.Err()); err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
		w.tally.walked++
		if equal {
			err = walker.Same(original, mirrored)
		} else if mirrored.Root != original.Root && mirrored.Root != w.was[to] {
			err = errors.New("it is neither what it was nor what upstream has")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
		w.was[to] = mirrored.Root
	}
	return nil
}

// signed signs every request, also those that nobody has asked to be signed yet: the journal
// does not say whose a refused one was.
type signed struct {
	transport *http.Transport
	password  string
}

// RoundTrip implements http.RoundTripper.
func (s signed) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.SetBasicAuth("AWS", s.password)
	return s.transport.RoundTrip(req)
}

// growth is what one life of the daemon held, checkpoint by checkpoint.
type growth struct{ samples []usage }

func (g *growth) note(u usage) { g.samples = append(g.samples, u) }

// goroutines are those of each checkpoint, for people.
func (g *growth) goroutines() string {
	var each []string
	for _, s := range g.samples {
		each = append(each, strconv.Itoa(int(s.goroutines)))
	}
	return strings.Join(each, " ")
}

// enough is how many checkpoints tell a trend from a coincidence.
const enough = 12

// bounded compares the last third of a life with its first, which is when it warmed up.
// Connections that are kept for a while come and go with the work, two goroutines with each:
// what leaks is also there when there are fewest.
func (g *growth) bounded() (early, late usage, err error) {
	third := len(g.samples) / 3
	early, late = least(g.samples[:third]), least(g.samples[len(g.samples)-third:])
	if len(g.samples) < enough {
		return early, late, nil
	}
	return early, late, errors.Join(
		notMore("memory in KiB", early.peakKiB, late.peakKiB, early.peakKiB/4+16<<10),
		notMore("heap in KiB", early.heapKiB, late.heapKiB, 4<<10),
		notMore("goroutines", early.goroutines, late.goroutines, 10),
		notMore("descriptors", early.descriptors, late.descriptors, 10))
}

// notMore insists that something has grown by no more than so much.
func notMore(what string, early, late, by float64) error {
	if late > early+by {
		return fmt.Errorf("%s grew from %.0f to %.0f", what, early, late)
	}
	return nil
}

func least(samples []usage) usage {
	if len(samples) == 0 {
		return usage{}
	}
	u := samples[0]
	for _, s := range samples {
		u.peakKiB, u.heapKiB = min(u.peakKiB, s.peakKiB), min(u.heapKiB, s.heapKiB)
		u.goroutines, u.descriptors = min(u.goroutines, s.goroutines), min(u.descriptors, s.descriptors)
	}
	return u
}
