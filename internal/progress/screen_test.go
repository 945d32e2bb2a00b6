package progress_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// screen is a terminal that knows the few sequences that bars are drawn with, and
// fails the test on any other.
type screen struct {
	t      *testing.T
	mu     sync.Mutex
	width  int
	rows   [][]rune // a cell each; the second cell of a wide rune is 0
	row    int
	col    int
	writes int
}

var token = regexp.MustCompile(`^(\x1b\[(\d*)([A-Z])|\r|\n|[^\x1b\r\n]+)`)

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	for rest := string(p); rest != ""; {
		m := token.FindStringSubmatch(rest)
		if m == nil {
			s.t.Fatalf("not a sequence that bars are drawn with: %q", rest)
		}
		s.apply(m)
		rest = rest[len(m[0]):]
	}
	return len(p), nil
}

func (s *screen) apply(m []string) {
	s.reach()
	switch {
	case m[0] == "\r":
		s.col = 0
	case m[0] == "\n":
		s.row, s.col = s.row+1, 0
		s.reach()
	case m[3] == "A":
		n, err := strconv.Atoi(m[2])
		if err != nil || n > s.row {
			s.t.Fatalf("cursor up by %q from row %d", m[2], s.row)
		}
		s.row -= n
	case m[3] == "K":
		s.rows[s.row] = s.rows[s.row][:min(s.col, len(s.rows[s.row]))]
	case m[3] == "J":
		s.rows = s.rows[:s.row+1]
		s.rows[s.row] = s.rows[s.row][:min(s.col, len(s.rows[s.row]))]
	case m[3] != "":
		s.t.Fatalf("unknown sequence %q", m[0])
	default:
		s.put(m[0])
	}
}

// put writes text over what is there, wrapping as terminals do.
func (s *screen) put(text string) {
	for _, r := range text {
		if s.width > 0 && s.col >= s.width {
			s.row, s.col = s.row+1, 0
			s.reach()
		}
		for range human.Width(string(r)) {
			for len(s.rows[s.row]) <= s.col {
				s.rows[s.row] = append(s.rows[s.row], ' ')
			}
			s.rows[s.row][s.col] = r
			s.col, r = s.col+1, 0
		}
	}
}

func (s *screen) reach() {
	for len(s.rows) <= s.row {
		s.rows = append(s.rows, nil)
	}
}

// resize makes the screen narrower, breaking what is on it as terminals do.
func (s *screen) resize(width int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows [][]rune
	for i, row := range s.rows {
		if i == s.row {
			s.row = len(rows)
		}
		for len(row) > width {
			rows, row = append(rows, row[:width]), row[width:]
		}
		rows = append(rows, row)
	}
	s.rows, s.width = rows, width
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, row := range s.rows {
		cells := strings.ReplaceAll(string(row), "\x00", "")
		fmt.Fprintln(&b, strings.TrimRight(cells, " "))
	}
	return strings.TrimPrefix(strings.TrimRight(b.String(), "\n")+"\n", "\n")
}

func (s *screen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}
