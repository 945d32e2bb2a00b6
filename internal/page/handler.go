package page

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// Bounds of what a query may say.
const (
	longestText = 200 // bytes
	leastWait   = 5   // seconds between two loads
	mostWait    = 3600
)

// Handler serves the page of what snapshot returns: ?q=TEXT and ?state=STATE choose mirrors,
// ?refresh=SECONDS loads it again and again. What a query says that it cannot mean is left out.
func Handler(r *Renderer, snapshot func() status.Snapshot) http.Handler {
	policy := "default-src 'none'; style-src '" + r.styleHash() + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if err := r.Status(w, snapshot(), queryOf(req)); err != nil {
			http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		}
	})
}

func queryOf(req *http.Request) Query {
	values := req.URL.Query()
	q := Query{Text: values.Get("q")}
	q.Text = q.Text[:min(len(q.Text), longestText)]
	if state := State(values.Get("state")); slices.Contains(States(), state) {
		q.State = state
	}
	if seconds, err := strconv.Atoi(values.Get("refresh")); err == nil && seconds > 0 {
		q.Refresh = min(max(seconds, leastWait), mostWait)
	}
	return q
}

// styleHash is how the policy names the one style that the page may have.
func (r *Renderer) styleHash() string {
	sum := sha256.Sum256([]byte(r.style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
