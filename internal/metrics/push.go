package metrics

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus/push"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// Pushgateway is where runs that end leave their numbers for Prometheus.
type Pushgateway struct {
	url      *url.URL // without the user
	user     *url.Userinfo
	job      string
	grouping map[string]string
	client   *http.Client
}

// pushTime bounds a request to the gateway.
const pushTime = 10 * time.Second

// NewPushgateway returns the gateway at an address such as http://user:password@gateway:9091.
// What is pushed is kept there under the job and the further labels of grouping.
func NewPushgateway(address, job string, grouping map[string]string) (*Pushgateway, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("expected a URL such as http://pushgateway:9091") // which is not quoted: it may hold a password
	}
	g := &Pushgateway{user: u.User, job: job, grouping: grouping, client: &http.Client{Timeout: pushTime}}
	u.User = nil
	g.url = u
	return g, nil
}

// String is the gateway's address without its user.
func (g *Pushgateway) String() string { return g.url.String() }

// Push replaces those of the group's metrics that m has. No error shows the gateway's
// password.
func (g *Pushgateway) Push(ctx context.Context, m *Metrics) error {
	p := push.New(g.url.String(), g.job).Gatherer(m.Gatherer()).Client(g.client)
	for name, value := range g.grouping {
		p = p.Grouping(name, value)
	}
	if g.user != nil {
		password, _ := g.user.Password()
		p = p.BasicAuth(g.user.Username(), password)
	}
	if err := p.AddContext(ctx); err != nil {
		return fmt.Errorf("push metrics to %s: %w", g, redact.Error(err))
	}
	return nil
}

// maxEarlier is how much of earlier metrics is read, in bytes.
const maxEarlier = 64 << 20

// Earlier returns how mirrors stood when a run last pushed to the group.
func (g *Pushgateway) Earlier(ctx context.Context) ([]Mirror, error) {
	mirrors, err := g.earlier(ctx)
	if err != nil {
		return nil, fmt.Errorf("read earlier metrics from %s: %w", g, redact.Error(err))
	}
	return mirrors, nil
}

func (g *Pushgateway) earlier(ctx context.Context) ([]Mirror, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url.JoinPath("metrics").String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	if g.user != nil {
		password, _ := g.user.Password()
		req.SetBasicAuth(g.user.Username(), password)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the gateway answered %s", resp.Status)
	}
	group := map[string]string{"job": g.job}
	maps.Copy(group, g.grouping)
	return readMirrors(io.LimitReader(resp.Body, maxEarlier), group, time.Time{})
}
