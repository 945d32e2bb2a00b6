package progress_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/progress"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// A bubble of synctest fails a test that leaves a goroutine behind, so each test here
// is also one of Close.

const mb = 1_000_000

func size(width, height int) func() (int, int) {
	return func() (int, int) { return width, height }
}

// pass lets time go by, and the last tick of it end.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func wantScreen(t *testing.T, s *screen, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), s.String()); diff != "" {
		t.Errorf("screen (-want +got):\n%s", diff)
	}
}

func TestTerminalShowsARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 100}
		p := progress.NewTerminal(s, size(100, 24))
		defer p.Close()

		p.Phase("planning")
		pass(100 * time.Millisecond)
		wantScreen(t, s, "planning\n")

		p.Phase("copying")
		p.Planned(4, 200*mb)
		p.Started("a", "docker.io/library/nginx:1.27", 40*mb)
		p.Started("b", "ghcr.io/kedacore/keda:2.4.0", 10*mb)
		time.Sleep(50 * time.Millisecond) // so that no byte moves in the moment of a drawing
		for range 20 {
			p.Moved("a", mb)
			p.Moved("b", mb/10)
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		wantScreen(t, s, `
  docker.io/library/nginx:1.27                 [===========>            ]  50%   20.0 MB of 40.0 MB
  ghcr.io/kedacore/keda:2.4.0                  [===>                    ]  20%   2.00 MB of 10.0 MB
copying  [=>                      ] 11%  0 of 4 images  22.0 MB moved  11.0 MB/s  16 s left
`)

		p.Finished("a", "copied")
		p.Finished("b", "failed")
		pass(100 * time.Millisecond)
		wantScreen(t, s, `
copying  [=====>                  ] 25%  2 of 4 images  22.0 MB moved  10.4 MB/s  6 s left
`)

		p.Close()
		wantScreen(t, s, "\n")
	})
}

func TestImagesCountWhereNotEverySizeIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 80}
		p := progress.NewTerminal(s, size(80, 24))
		defer p.Close()
		p.Planned(4, 10*mb) // those of the image whose size is known
		p.Started("a", "nginx:1", 10*mb)
		p.Started("b", "redis:7", 0)
		p.Moved("a", 5*mb)
		p.Moved("b", 50*mb)
		pass(100 * time.Millisecond)
		if want := "] 12%  0 of 4 images"; !strings.Contains(s.String(), want) {
			t.Errorf("want %q in\n%s", want, s)
		}
		p.Finished("a", "copied")
		pass(100 * time.Millisecond)
		if want := "] 25%  1 of 4 images"; !strings.Contains(s.String(), want) {
			t.Errorf("want %q in\n%s", want, s)
		}
	})
}

func TestTerminalPutsLogLinesAboveTheBars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 60}
		p := progress.NewTerminal(s, size(60, 24))
		fmt.Fprintln(p, "before")
		p.Phase("copying")
		p.Started("a", "nginx:1", 0)
		pass(100 * time.Millisecond)
		fmt.Fprint(p, "in two ")
		fmt.Fprint(p, "pieces\nand ")
		wantScreen(t, s, `
before
in two pieces
  nginx:1                                               0 B
copying
`)
		p.Close()
		fmt.Fprintln(p, "after")
		wantScreen(t, s, "before\nin two pieces\nand after\n")
	})
}

func TestTerminalThatWasMadeNarrower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		width := 100
		var mu sync.Mutex
		s := &screen{t: t, width: width}
		p := progress.NewTerminal(s, func() (int, int) {
			mu.Lock()
			defer mu.Unlock()
			return width, 24
		})
		fmt.Fprintln(p, "above")
		p.Planned(2, 0)
		p.Started("a", "docker.io/library/nginx:1.27", 10*mb)
		pass(100 * time.Millisecond)
		mu.Lock()
		width = 44
		mu.Unlock()
		s.resize(44)
		p.Moved("a", 5*mb)
		p.Finished("b", "copied")
		pass(100 * time.Millisecond)
		wantScreen(t, s, `
above
  …ry/nginx:1.27   50%   5.00 MB of 10.0 MB
[======>   ] 75%  1 of 2 images
`)
		p.Close()
		wantScreen(t, s, "above\n")
	})
}

func TestTerminalShowsNoMoreImagesThanFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 80}
		p := progress.NewTerminal(s, size(80, 6))
		defer p.Close()
		p.Planned(10, 0)
		for i := range 10 {
			p.Started(fmt.Sprint(i), fmt.Sprint("image:", i), 0)
		}
		pass(100 * time.Millisecond)
		wantScreen(t, s, `
  image:0                                                0 B
  image:1                                                0 B
  image:2                                                0 B
  and 7 more
[                   ] 0%  0 of 10 images  0 B moved
`)
	})
}

func TestTerminalOfAnySize(t *testing.T) {
	for _, height := range []int{1, 2, 3, 5, 50} {
		for width := range 130 {
			synctest.Test(t, func(t *testing.T) {
				s := &screen{t: t}
				p := progress.NewTerminal(s, size(width, height))
				defer p.Close()
				p.Phase("copying")
				p.Planned(30, 100*mb)
				for i := range 20 {
					p.Started(fmt.Sprint(i), "ghcr.io/日本/image:"+strings.Repeat("long", i), int64(i)*mb)
					p.Moved(fmt.Sprint(i), mb/3)
				}
				pass(2 * time.Second)
				for line := range strings.Lines(s.String()) {
					if got := human.Width(strings.TrimSuffix(line, "\n")); width > 1 && got >= width {
						t.Errorf("%d by %d: line of %d cells: %q", width, height, got, line)
					}
				}
				if got := strings.Count(s.String(), "\n"); width > 0 && got > max(height-1, 1) {
					t.Errorf("%d by %d: %d lines", width, height, got)
				}
			})
		}
	}
}

func TestTerminalWithoutSizeIs80By24(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 80}
		p := progress.NewTerminal(s, nil)
		defer p.Close()
		p.Phase(strings.Repeat("x", 100))
		pass(100 * time.Millisecond)
		wantScreen(t, s, strings.Repeat("x", 79)+"\n")
	})
}

func TestTerminalDrawsTenTimesASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 80}
		p := progress.NewTerminal(s, size(80, 24))
		defer p.Close()
		p.Planned(1, 1000*mb)
		p.Started("a", "nginx:1", 1000*mb)
		for range 1000 {
			p.Moved("a", mb/2)
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if got := s.count(); got > 10 {
			t.Errorf("%d writes in a second", got)
		}
	})
}

func TestTerminalDrawsNothingWhereNothingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 80}
		p := progress.NewTerminal(s, size(80, 24))
		p.Phase("discovering")
		pass(time.Minute)
		if got := s.count(); got != 1 {
			t.Errorf("%d writes", got)
		}
		p.Close()
	})
}

func TestLabelsCannotSteerTheTerminal(t *testing.T) {
	nasty := "a\x1b[2J\r\n\u202eb\u009b"
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 200}
		var log strings.Builder
		terminal, plain := progress.NewTerminal(s, size(200, 24)), progress.NewPlain(&log, time.Second)
		for _, p := range []progress.Reporter{terminal, plain} {
			p.Planned(2, 0)
			p.Phase(nasty)
			p.Started("a", nasty, 0)
			p.Finished("b", nasty)
		}
		pass(time.Second)
		terminal.Close()
		plain.Close()
		for _, text := range []string{s.String(), log.String()} {
			for line := range strings.Lines(text) {
				if line = strings.TrimSuffix(line, "\n"); human.Text(line) != line {
					t.Errorf("raw: %q", line)
				}
			}
		}
	})
}

func TestPlainWritesALineNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		p := progress.NewPlain(&log, 0)
		p.Phase("planning")
		pass(5 * time.Second)
		p.Phase("copying")
		p.Planned(3, 100*mb)
		p.Started("a", "nginx:1", 50*mb)
		p.Started("b", "redis:7", 50*mb)
		for range 50 {
			p.Moved("a", mb/2)
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		pass(time.Hour)
		p.Finished("a", "copied")
		p.Finished("b", "in sync")
		fmt.Fprintln(p, "a line of the log")
		pass(5 * time.Second)
		p.Finished("c", "copied")
		p.Close()
		pass(time.Hour)
		want := `progress: planning
progress: copying, 25% done, 0 of 3 images, 25.0 MB moved, 5.00 MB/s, 15 s left
a line of the log
progress: copying, 100% done, 2 of 3 images, 25.0 MB moved, 1 copied, 1 in sync
`
		if diff := cmp.Diff(want, log.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestPlainIsSilentInAShortRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		p := progress.NewPlain(&log, 5*time.Second)
		p.Planned(1, mb)
		p.Started("a", "nginx:1", mb)
		p.Moved("a", mb)
		pass(4 * time.Second)
		p.Finished("a", "copied")
		p.Close()
		if log.Len() > 0 {
			t.Errorf("wrote %q", log.String())
		}
	})
}

func TestPlainHasNothingToSayBeforeAPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		p := progress.NewPlain(&log, time.Second)
		p.Moved("unknown", mb)
		pass(2 * time.Second)
		p.Close()
		if log.Len() > 0 {
			t.Errorf("wrote %q", log.String())
		}
	})
}

func TestNothingIsWrittenAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t}
		for _, p := range []progress.Reporter{progress.NewTerminal(s, nil), progress.NewPlain(s, time.Second), progress.Nop{}} {
			p.Close()
			before := s.count()
			drive(p, "late")
			p.Close()
			pass(time.Minute)
			if got := s.count(); got != before {
				t.Errorf("%T wrote after Close", p)
			}
		}
	})
}

// drive uses every method but Close.
func drive(p progress.Reporter, id string) {
	p.Phase("copying")
	p.Planned(3, 100)
	p.Started(id, id, 50)
	p.Started(id, id, 60)
	p.Moved(id, 10)
	p.Moved("nobody", 10)
	p.Finished(id, "copied")
	p.Finished("nobody", "failed")
}

func TestManyGoroutines(t *testing.T) {
	s := &screen{t: t}
	for _, p := range []progress.Reporter{progress.NewTerminal(s, size(80, 24)), progress.NewPlain(s, time.Millisecond), progress.Nop{}} {
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for range 50 {
					drive(p, fmt.Sprint(i))
					if w, ok := p.(io.Writer); ok {
						fmt.Fprintln(w, "a line")
					}
					time.Sleep(time.Millisecond)
				}
				if i == 7 {
					p.Close()
				}
			})
		}
		wg.Wait()
		p.Close()
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWriteReturnsTheWritersError(t *testing.T) {
	terminal, plain := progress.NewTerminal(brokenPipe{}, nil), progress.NewPlain(brokenPipe{}, 0)
	defer terminal.Close()
	defer plain.Close()
	for _, w := range []io.Writer{terminal, plain} {
		if _, err := io.WriteString(w, "line\n"); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%T: got %v", w, err)
		}
	}
}
