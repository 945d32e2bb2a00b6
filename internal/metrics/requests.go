package metrics

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxHosts is how many hosts have series of their own; further ones are called other.
const maxHosts = 200

// requests counts the requests to registries and to AWS. It is what package transport
// and package ecr call an Observer.
type requests struct {
	read      prometheus.Counter
	answered  *prometheus.CounterVec
	throttled *prometheus.CounterVec
	remaining *prometheus.GaugeVec
	limit     *prometheus.GaugeVec
	expiry    *prometheus.GaugeVec

	hosts *hosts
}

func newRequests(read prometheus.Counter) requests {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, []string{"host"})
	}
	return requests{
		read: read,
		answered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "requests_total",
			Help: "Requests by the registry they were made for, by what was asked, and by the class of the answer; error means that there was none.",
		}, []string{"host", "operation", "class"}),
		throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "throttled_total", Help: "Answers that said: too many requests.",
		}, []string{"host"}),
		remaining: gauge("upstream_quota_remaining", "Pulls that are left, as the registry last said (Docker Hub's ratelimit-remaining)."),
		limit:     gauge("upstream_quota_limit", "Pulls that the registry grants in its window, as it last said (Docker Hub's ratelimit-limit)."),
		expiry:    gauge("token_expiry_timestamp_seconds", "When the password that AWS issued for the registry ends; it is renewed at half of its life."),
		hosts:     &hosts{seen: map[string]bool{}},
	}
}

func (r *requests) collectors() []prometheus.Collector {
	return []prometheus.Collector{r.answered, r.throttled, r.remaining, r.limit, r.expiry}
}

// Answered counts a request: for which host it was made, what it asked, and the status
// and header of the answer; 0 and nil where there was none. The header is not kept.
func (r *requests) Answered(host, operation string, status int, header http.Header) {
	host = r.hosts.label(host)
	r.answered.WithLabelValues(host, operation, class(status)).Inc()
	if left, ok := quota(header.Get("RateLimit-Remaining")); ok {
		r.remaining.WithLabelValues(host).Set(left)
	}
	if granted, ok := quota(header.Get("RateLimit-Limit")); ok {
		r.limit.WithLabelValues(host).Set(granted)
	}
}

// Throttled counts an answer that said that the host is asked too much.
func (r *requests) Throttled(host string) { r.throttled.WithLabelValues(r.hosts.label(host)).Inc() }

// Read counts bytes of blobs.
func (r *requests) Read(bytes int64) { r.read.Add(float64(bytes)) }

// TokenExpires notes when what a host is asked with ends.
func (r *requests) TokenExpires(host string, at time.Time) {
	r.expiry.WithLabelValues(r.hosts.label(host)).Set(seconds(at))
}

// class is a status as the metric has it.
func class(status int) string {
	if status < 100 || status > 599 {
		return "error"
	}
	return strconv.Itoa(status/100) + "xx"
}

// quota reads Docker Hub's way of saying how many pulls: 100;w=21600 is a hundred in six
// hours.
func quota(said string) (float64, bool) {
	number, _, _ := strings.Cut(said, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 32)
	return float64(n), err == nil
}

// hosts bounds the values of the label host.
type hosts struct {
	mu   sync.RWMutex
	seen map[string]bool
}

func (h *hosts) label(host string) string {
	host = label(host)
	h.mu.RLock()
	known := h.seen[host]
	h.mu.RUnlock()
	if known {
		return host
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.seen[host] && len(h.seen) >= maxHosts {
		return other
	}
	h.seen[host] = true
	return host
}
