package faultreg

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"
)

// An Action is what becomes of a request. It answers it, or not.
type Action func(*Exchange)

// Exchange is one request on its way to the registry.
type Exchange struct {
	http.ResponseWriter

	Request *http.Request
	Entry   Entry

	next http.Handler
	died <-chan struct{}
}

// Pass lets the registry answer.
func (x *Exchange) Pass() { x.next.ServeHTTP(x.ResponseWriter, x.Request) }

// wait waits until the client has left, the registry has died, or for a time, if that is
// not 0. It reports whether the time has passed.
func (x *Exchange) wait(d time.Duration) bool {
	var passed <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		passed = timer.C
	}
	select {
	case <-passed:
		return true
	case <-x.Request.Context().Done():
	case <-x.died:
	}
	return false
}

// perform lets the registry act, and keeps its answer. It acts as if the client stayed.
func (x *Exchange) perform() *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	x.next.ServeHTTP(answer, x.Request.WithContext(context.WithoutCancel(x.Request.Context())))
	return answer
}

// reset ends the connection with a TCP reset.
func (x *Exchange) reset() {
	conn, _, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// Status answers with a status, headers given as name and value, and nothing else.
func Status(code int, header ...string) Action {
	return func(x *Exchange) {
		for i := 0; i+1 < len(header); i += 2 {
			x.Header().Set(header[i], header[i+1])
		}
		x.WriteHeader(code)
	}
}

// Refuse answers with a status and an error as the specification has it.
func Refuse(status int, code, message string) Action {
	return func(x *Exchange) {
		x.Header().Set("Content-Type", "application/json")
		x.WriteHeader(status)
		_ = json.NewEncoder(x).Encode(map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
	}
}

// Redirect answers with a redirect.
func Redirect(status int, location string) Action { return Status(status, "Location", location) }

// Say answers 200 with a body of any type: a login page, a captive portal.
func Say(contentType, body string) Action {
	return func(x *Exchange) {
		x.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(x, body)
	}
}

// Delay lets the registry answer after a while.
func Delay(d time.Duration) Action {
	return func(x *Exchange) {
		if x.wait(d) {
			x.Pass()
		}
	}
}

// Stall takes the request and never answers.
func Stall() Action {
	return func(x *Exchange) {
		// Who does not read the body is not told that its sender has left.
		go func() { _, _ = io.Copy(io.Discard, x.Request.Body) }()
		x.wait(0)
		x.reset()
	}
}

// StopReading takes the first bytes of the request's body, and then neither reads on nor
// answers until the registry is killed.
func StopReading(after int64) Action {
	return func(x *Exchange) {
		_, _ = io.CopyN(io.Discard, x.Request.Body, after)
		<-x.died
		x.reset()
	}
}

// Reset cuts the connection with a TCP reset before the registry has seen the request.
func Reset() Action { return (*Exchange).reset }

// Close closes the connection in an orderly way, without an answer.
func Close() Action { return func(*Exchange) { panic(http.ErrAbortHandler) } }

// LoseAnswer lets the registry act, and cuts the connection instead of its answer.
func LoseAnswer() Action {
	return func(x *Exchange) {
		x.perform()
		x.reset()
	}
}

// ActThenStall lets the registry act, and never answers.
func ActThenStall() Action {
	return func(x *Exchange) {
		x.perform()
		x.wait(0)
		x.reset()
	}
}

// ActThen lets the registry act, and answers something else.
func ActThen(answer Action) Action {
	return func(x *Exchange) {
		x.perform()
		answer(x)
	}
}

// An Answer is what a registry said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Lie lets the registry act, and sends its answer as change leaves it. The length is that
// of the body, unless change sets another one.
func Lie(change func(*Answer)) Action {
	return func(x *Exchange) {
		recorded := x.perform()
		a := Answer{Status: recorded.Code, Header: recorded.Header(), Body: recorded.Body.Bytes()}
		announced := a.Header.Get("Content-Length")
		change(&a)
		if x.Request.Method != http.MethodHead && a.Header.Get("Content-Length") == announced {
			a.Header.Set("Content-Length", strconv.Itoa(len(a.Body)))
		}
		maps.Copy(x.Header(), a.Header)
		x.WriteHeader(a.Status)
		if x.Request.Method != http.MethodHead {
			_, _ = x.Write(a.Body)
		}
	}
}

// Corrupt flips a bit of the byte at a place in the answer's body, from its end where at
// is negative.
func Corrupt(at int) Action {
	return Lie(func(a *Answer) {
		i := at // the action may be used again
		if i < 0 {
			i += len(a.Body)
		}
		if i >= 0 && i < len(a.Body) {
			a.Body = bytes.Clone(a.Body)
			a.Body[i] ^= 1
		}
	})
}

// Shorten ends the answer's body after n bytes and says that this is all there is.
func Shorten(n int) Action {
	return Lie(func(a *Answer) { a.Body = a.Body[:min(n, len(a.Body))] })
}

// Truncate announces the whole answer, and closes the connection after n bytes of the body.
func Truncate(n int) Action {
	return partly(n, func(*Exchange) { panic(http.ErrAbortHandler) })
}

// CutAfter announces the whole answer, and resets the connection after n bytes of the body.
func CutAfter(n int) Action { return partly(n, (*Exchange).reset) }

// StallAfter announces the whole answer, and sends nothing more after n bytes of the body.
func StallAfter(n int) Action {
	return partly(n, func(x *Exchange) {
		x.wait(0)
		x.reset()
	})
}

// Drip sends the answer's body byte by byte, with a pause before each.
func Drip(pause time.Duration) Action {
	return func(x *Exchange) {
		answer := x.perform()
		x.announce(answer)
		for _, b := range answer.Body.Bytes() {
			if !x.wait(pause) {
				x.reset()
				return
			}
			_, _ = x.Write([]byte{b})
			_ = http.NewResponseController(x.ResponseWriter).Flush()
		}
	}
}

// partly sends the first n bytes of the answer's body and then leaves the rest to end. An
// answer that is no longer than that is sent whole, but for its last byte.
func partly(n int, end func(*Exchange)) Action {
	return func(x *Exchange) {
		answer := x.perform()
		x.announce(answer)
		_, _ = x.Write(answer.Body.Bytes()[:min(n, max(answer.Body.Len()-1, 0))])
		_ = http.NewResponseController(x.ResponseWriter).Flush()
		end(x)
	}
}

// announce sends the head of an answer with the length of its whole body.
func (x *Exchange) announce(answer *httptest.ResponseRecorder) {
	maps.Copy(x.Header(), answer.Header())
	x.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()))
	x.WriteHeader(answer.Code)
}

// After calls f, and then does the rest.
func After(f func(), do Action) Action {
	return func(x *Exchange) {
		f()
		do(x)
	}
}
