package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/egress"
)

// receiver is a server that keeps what it got and answers with the next status, 200 once
// none is left.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	answers []int
	headers []http.Header
	bodies  []string
}

func listen(t *testing.T, answers ...int) *receiver {
	t.Helper()
	r := &receiver{answers: answers}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.headers, r.bodies = append(r.headers, req.Header), append(r.bodies, string(body))
		if len(r.answers) > 0 {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(r.answers[0])
			r.answers = r.answers[1:]
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func message() Message {
	s := Seen{Started: time.Unix(1, 0), Mirrors: map[string]Counts{"web": {Failed: 1, Reason: "1: <!channel> & <https://evil.example|click>"}}}
	changes, _ := History{}.Next(s, Policy{}, time.Unix(2, 0))
	return NewMessage("id", s, changes, time.Unix(2, 0))
}

// impatient does not wait between attempts, and notes how long it would have.
func impatient(p *poster) *[]time.Duration {
	waited := new([]time.Duration)
	p.pause = func(_ context.Context, d time.Duration) error {
		*waited = append(*waited, d)
		return nil
	}
	return waited
}

var signature = regexp.MustCompile(`^t=([0-9]+),v1=([0-9a-f]{64})$`)

func TestWebhookIsSignedAndTriedAgain(t *testing.T) {
	r := listen(t, 503, 429)
	w, err := NewWebhook(r.URL, "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	clock := int64(1700000000)
	w.now = func() time.Time { clock++; return time.Unix(clock, 0) }
	waited := impatient(w.post)
	if err := w.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	if len(r.bodies) != 3 || len(*waited) != 2 || (*waited)[1] <= (*waited)[0] {
		t.Fatalf("%d attempts, after %v", len(r.bodies), *waited)
	}
	for i, body := range r.bodies {
		m := signature.FindStringSubmatch(r.headers[i].Get("Ecr-Mirror-Sync-Signature"))
		if m == nil || m[1] != strconv.Itoa(1700000001+i) {
			t.Fatalf("signature %q", r.headers[i].Get("Ecr-Mirror-Sync-Signature"))
		}
		mac := hmac.New(sha256.New, []byte("s3cret"))
		mac.Write([]byte(m[1] + "." + body))
		if hex.EncodeToString(mac.Sum(nil)) != m[2] {
			t.Errorf("attempt %d: the signature is not that of what arrived", i)
		}
		var got struct {
			APIVersion, ID, Summary string
			Events                  []string
			Mirrors                 []struct{ Name, Event, Reason string }
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil || got.ID != "id" || got.Mirrors[0].Name != "web" || got.Events[0] != "failed" || got.APIVersion != "ecr-mirror-sync.io/notification/v1" {
			t.Errorf("%v: %s", err, body)
		}
	}
}

// What is not worth another attempt gets none; a redirect is not followed.
func TestWhatIsNotTriedAgain(t *testing.T) {
	for _, status := range []int{307, 302, 400, 401, 404} {
		r := listen(t, status)
		w, _ := NewWebhook(r.URL+"/hook?token=canary", "canary")
		impatient(w.post)
		err := w.Send(t.Context(), message())
		if err == nil || len(r.bodies) != 1 || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), strconv.Itoa(status)) {
			t.Errorf("%d: %d attempts, %v", status, len(r.bodies), err)
		}
	}
	r := listen(t, 500, 500, 500, 500, 500, 500)
	w, _ := NewWebhook(r.URL, "")
	impatient(w.post)
	if err := w.Send(t.Context(), message()); err == nil || len(r.bodies) != attempts {
		t.Errorf("%d attempts, %v", len(r.bodies), err)
	}
	if r.headers[0].Get(SignatureHeader) != "" {
		t.Error("signed without a secret")
	}
}

// Each way to fail, and each address that is refused, keeps the secret for itself.
func TestErrorsShowNoSecret(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	host := strings.TrimPrefix(closed.URL, "http://")
	senders := map[string]func() (Sender, error){
		"webhook, nobody there":   func() (Sender, error) { return quick(NewWebhook(closed.URL+"/canary", "canary")) },
		"webhook, metadata":       func() (Sender, error) { return quick(NewWebhook("http://169.254.169.254/canary", "canary")) },
		"webhook, no URL":         func() (Sender, error) { return NewWebhook("canary", "") },
		"webhook, control":        func() (Sender, error) { return NewWebhook("http://x/\x7fcanary", "") },
		"slack, nobody there":     func() (Sender, error) { return quickSlack(NewSlack(closed.URL + "/canary")) },
		"slack in the clear":      func() (Sender, error) { return NewSlack("http://hooks.example.com/canary") },
		"shoutrrr, nobody there":  func() (Sender, error) { return NewShoutrrr("generic://" + host + "/canary?disabletls=yes") },
		"shoutrrr, not a service": func() (Sender, error) { return NewShoutrrr("canaries://canary") },
		"shoutrrr, no URL":        func() (Sender, error) { return NewShoutrrr("canary") },
		"shoutrrr, bad URL":       func() (Sender, error) { return NewShoutrrr("teams://canary") },
	}
	for name, open := range senders {
		s, err := open()
		if err == nil {
			err = s.Send(t.Context(), message())
		}
		if err == nil || strings.Contains(strings.ReplaceAll(err.Error(), "canaries", ""), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func quick(w *Webhook, err error) (Sender, error) {
	if err == nil {
		impatient(w.post)
	}
	return w, err
}

func quickSlack(s *Slack, err error) (Sender, error) {
	if err == nil {
		impatient(s.post)
	}
	return s, err
}

// In Slack nothing from a registry is a mention, a link or a format.
func TestSlack(t *testing.T) {
	r := listen(t)
	s, err := NewSlack(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	var body struct {
		Text   string
		Blocks []struct {
			Type string
			Text struct{ Type, Text string }
		}
	}
	if err := json.Unmarshal([]byte(r.bodies[0]), &body); err != nil {
		t.Fatal(err)
	}
	last := body.Blocks[len(body.Blocks)-1]
	if body.Text != "ecr-mirror-sync: 1 mirror fails" || body.Blocks[0].Text.Text != "*ecr-mirror-sync: 1 mirror fails*" {
		t.Errorf("%s", r.bodies[0])
	}
	if want := "web: failed, 1 failed; 1: &lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;"; last.Type != "section" || last.Text.Type != "plain_text" || last.Text.Text != want {
		t.Errorf("have %+v, want %s", last, want)
	}
	var many Message
	for range MaxMirrors {
		many.Mirrors = append(many.Mirrors, Change{Mirror: strings.Repeat("<", maxReason), Counts: Counts{Reason: strings.Repeat("&", maxReason)}})
	}
	for _, b := range slackMessage(many).Blocks {
		if len(b.Text.Text) > 3000 {
			t.Errorf("a section of %d bytes", len(b.Text.Text))
		}
	}
	if n := len(slackMessage(many).Blocks); n > 50 {
		t.Errorf("%d blocks", n)
	}
}

func TestShoutrrr(t *testing.T) {
	r := listen(t)
	s, err := NewShoutrrr("generic://" + strings.TrimPrefix(r.URL, "http://") + "/hook?disabletls=yes")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), message()); err != nil || len(r.bodies) != 1 || r.bodies[0] != message().Text() {
		t.Errorf("%v: %q, want %q", err, r.bodies, message().Text())
	}
	slow, release := slowServer(t)
	defer release()
	s, _ = NewShoutrrr("generic://" + strings.TrimPrefix(slow, "http://") + "/?disabletls=yes")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Send(ctx, message()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a service that does not answer: %v", err)
	}
}

// slowServer answers once it is released.
func slowServer(t *testing.T) (address string, release func()) {
	t.Helper()
	gate := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-gate }))
	t.Cleanup(server.Close)
	return server.URL, func() { close(gate) }
}

// Who could not be told is told with the next run; the others are not told twice.
func TestTellRemembersWhoWasTold(t *testing.T) {
	good, bad := listen(t), listen(t, 404)
	a, _ := NewWebhook(good.URL, "")
	b, _ := NewWebhook(bad.URL, "")
	receivers := []Receiver{{Name: "a", Sender: a}, {Name: "b", Sender: b}}
	s := Seen{Started: time.Unix(1, 0), Mirrors: map[string]Counts{"web": {Failed: 1, Reason: "reset"}}}
	known, err := Tell(t.Context(), receivers, nil, s, time.Unix(2, 0))
	if err == nil || !strings.Contains(err.Error(), "notify b: ") || strings.Contains(err.Error(), "notify a") {
		t.Errorf("the first run: %v", err)
	}
	state, err := State{"sync": known}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseState(state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Tell(t.Context(), receivers, again["sync"], s, time.Unix(3, 0)); err != nil || len(good.bodies) != 1 || len(bad.bodies) != 2 {
		t.Errorf("the second: %v; %d and %d messages", err, len(good.bodies), len(bad.bodies))
	}
}

func TestParseStateIsStrict(t *testing.T) {
	for _, text := range []string{"{}", "null", "[]", `{"apiVersion":"ecr-mirror-sync.io/state/v1","commands":{}}`, `{"apiVersion":"` + stateVersion + `","commands":{},"more":1}`, `{"apiVersion":"` + stateVersion + `"}`} {
		if _, err := ParseState([]byte(text)); err == nil {
			t.Errorf("%s is taken for a state", text)
		}
	}
}

// The snippet that the documentation shows accepts what is signed, and nothing else.
func TestSnippetOfTheDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/notifications.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "```sh\n# verify.sh")
	script, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("the documentation has no verify.sh")
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	check := func(header, body string) error {
		if err := os.WriteFile(filepath.Join(dir, "body.json"), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "#"+script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "SECRET=s3cret $&", "SIGNATURE="+header)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	body := `{"a": "ü\n"}`
	now := time.Now()
	if err := check(sign([]byte("s3cret $&"), now, []byte(body)), body); err != nil {
		t.Errorf("what was signed: %v", err)
	}
	for what, refused := range map[string][2]string{
		"another body":   {sign([]byte("s3cret $&"), now, []byte(body)), body + " "},
		"another secret": {sign([]byte("other"), now, []byte(body)), body},
		"an old one":     {sign([]byte("s3cret $&"), now.Add(-time.Hour), []byte(body)), body},
		"none":           {"", body},
	} {
		if check(refused[0], refused[1]) == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

// Where clouds keep credentials is refused before anybody is asked.
func TestMetadataServicesAreRefused(t *testing.T) {
	t.Setenv("HTTP_PROXY", "")
	w, _ := NewWebhook("http://169.254.169.254/latest", "")
	impatient(w.post)
	want := egress.Check(netip.MustParseAddr("169.254.169.254"))
	if err := w.Send(t.Context(), message()); err == nil || want == nil || !strings.Contains(err.Error(), want.Error()) {
		t.Errorf("%v, want %v", err, want)
	}
}
