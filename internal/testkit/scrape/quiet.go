package scrape

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// Quiet waits for a moment at which a daemon does nothing, and returns what it says then at
// /metrics and at /api/v1/status. Also is called in that moment, possibly several times: what
// it saw last was seen between the two.
func Quiet(ctx context.Context, client *http.Client, address string, also func()) (status.Snapshot, Metrics, error) {
	for {
		before, err := Status(ctx, client, address)
		if err != nil {
			return before, nil, err
		}
		metrics, err := Scrape(ctx, client, address)
		if err != nil {
			return before, nil, err
		}
		also()
		after, err := Status(ctx, client, address)
		if err != nil {
			return after, nil, err
		}
		if before.Phase == status.Waiting && still(before, after) {
			return before, metrics, nil
		}
		select {
		case <-ctx.Done():
			return after, metrics, fmt.Errorf("never quiet: %w", context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// still reports whether nothing can have happened between two moments.
func still(before, after status.Snapshot) bool {
	sameError := before.Config.Error == after.Config.Error && before.Config.Loaded.Equal(after.Config.Loaded)
	return before.PhaseSince.Equal(after.PhaseSince) && before.Phase == after.Phase && before.Totals == after.Totals && sameError
}

// Status asks for /api/v1/status.
func Status(ctx context.Context, client *http.Client, address string) (s status.Snapshot, err error) {
	err = get(ctx, client, "http://"+address+"/api/v1/status", func(resp *http.Response) error {
		return json.NewDecoder(resp.Body).Decode(&s)
	})
	return s, err
}

// Scrape asks for /metrics.
func Scrape(ctx context.Context, client *http.Client, address string) (m Metrics, err error) {
	err = get(ctx, client, "http://"+address+"/metrics", func(resp *http.Response) error {
		m, err = Read(resp.Body)
		return err
	})
	return m, err
}

func get(ctx context.Context, client *http.Client, url string, read func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return read(resp)
}
