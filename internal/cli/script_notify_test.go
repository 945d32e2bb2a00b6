package cli_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// listeners are who is told of runs, by the names of their variables.
type listeners struct {
	mu   sync.Mutex
	told map[string][]string // each message: its signature, and its body
}

// listener NAME [STATUS] starts a receiver that answers with a status, and puts its URL
// into the variable NAME. The path holds a secret.
func (s *stage) listener(ts *testscript.TestScript, _ bool, args []string) {
	answer := http.StatusOK
	if len(args) > 1 {
		var err error
		answer, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.listeners.mu.Lock()
		defer s.listeners.mu.Unlock()
		if s.listeners.told == nil {
			s.listeners.told = map[string][]string{}
		}
		s.listeners.told[args[0]] = append(s.listeners.told[args[0]], r.Header.Get("Ecr-Mirror-Sync-Signature")+" "+string(body))
		w.WriteHeader(answer)
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL+"/hunter2")
}

// told NAME N [REGEX] waits until a receiver got N messages in all, and looks at the last.
func (s *stage) toldOf(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	messages := func() []string {
		s.listeners.mu.Lock()
		defer s.listeners.mu.Unlock()
		return append([]string{}, s.listeners.told[args[0]]...)
	}
	if s.daemon != nil {
		s.until(ts, "told "+strings.Join(args, " "), func() bool { return len(messages()) >= want })
	}
	all := messages()
	if len(all) != want || len(args) > 2 && !regexp.MustCompile(args[2]).MatchString(all[want-1]) {
		ts.Fatalf("%s was told:\n%s", args[0], strings.Join(all, "\n"))
	}
}
