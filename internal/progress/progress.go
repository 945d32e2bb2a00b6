// Package progress shows a person how far a run is, on standard error. It is told what
// happens and decides nothing. Terminal draws bars, Plain writes a line now and then
// for logs, Nop is silence.
package progress

import (
	"sync"
	"time"
)

// Reporter is told what a run does. All methods may be called from many goroutines,
// also with ids that were never started; after Close they do nothing.
type Reporter interface {
	// Phase says in a word or two what the run is doing: "planning".
	Phase(text string)
	// Planned says how much there is to do: images, and their bytes, 0 where not known.
	// Where the size of a started image is not known, the run is measured in images.
	Planned(images int, bytes int64)
	// Started says that work on an image began. The label is for people; size is in
	// bytes, 0 where not known.
	Started(id, label string, size int64)
	// Moved says that n more bytes of an image arrived.
	Moved(id string, n int)
	// Finished says what came of an image, in a word: "copied".
	Finished(id, status string)
	// Close ends the reporting and waits until nothing of it is left, neither on the
	// screen nor as a goroutine. It may be called again.
	Close()
}

var (
	_ Reporter = (*Terminal)(nil)
	_ Reporter = (*Plain)(nil)
	_ Reporter = Nop{}
)

// Nop reports nothing.
type Nop struct{}

// Phase does nothing.
func (Nop) Phase(string) {}

// Planned does nothing.
func (Nop) Planned(int, int64) {}

// Started does nothing.
func (Nop) Started(string, string, int64) {}

// Moved does nothing.
func (Nop) Moved(string, int) {}

// Finished does nothing.
func (Nop) Finished(string, string) {}

// Close does nothing.
func (Nop) Close() {}

// beat calls tick at every interval until stop is called, which waits for the last
// tick to end and may be called again.
func beat(interval time.Duration, tick func()) (stop func()) {
	ticker := time.NewTicker(interval)
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				tick()
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(quit)
		<-gone
	})
}
