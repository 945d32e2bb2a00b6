// Package sdkbody works round one fault of the AWS SDK's HTTP bodies.
//
// smithy-go v1.28.8 closes a request's body as soon as the answer's header is there, and
// its WriteTo then returns io.EOF, which an io.WriterTo must not: net/http, looking once
// more whether the body is at its end, takes it for a failed write and closes the
// connection under the answer that is being read ("use of closed network connection").
// Under load one call in some thousands met this.
package sdkbody

import (
	"io"
	"net/http"
)

// Client is what the SDK sends requests with.
type Client interface {
	Do(*http.Request) (*http.Response, error)
}

// Plain returns a Client that sends through client, and shows it bodies that can be
// read and closed, and nothing else. A nil client is http.DefaultClient.
func Plain(client Client) Client {
	if client == nil {
		client = http.DefaultClient
	}
	return plain{client}
}

type plain struct{ client Client }

func (p plain) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		sent := *r
		sent.Body = struct{ io.ReadCloser }{r.Body}
		r = &sent
	}
	return p.client.Do(r)
}
