package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// SignatureHeader carries t=SECONDS,v1=HEX: when the attempt was made, and the HMAC-SHA256
// of "SECONDS.BODY" under the secret. Who checks that the time is near, too, is safe from
// replays.
const SignatureHeader = "Ecr-Mirror-Sync-Signature"

// Sender brings a message to one receiver. Send is done when ctx is, and none of its
// errors shows a secret. It is safe for concurrent use.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Webhook sends a Message as JSON.
type Webhook struct {
	post   *poster
	secret []byte
	now    func() time.Time
}

// NewWebhook returns the receiver at a URL. Without a secret nothing is signed.
func NewWebhook(address, secret string) (*Webhook, error) {
	p, err := newPoster(address, anyHost)
	if err != nil {
		return nil, err
	}
	return &Webhook{post: p, secret: []byte(secret), now: time.Now}, nil
}

// Send implements Sender.
func (w *Webhook) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding the message: %w", err)
	}
	return w.post.post(ctx, body, func(h http.Header) {
		if len(w.secret) > 0 {
			h.Set(SignatureHeader, sign(w.secret, w.now(), body))
		}
	})
}

// sign is the header's value. Each attempt has a time of its own.
func sign(secret []byte, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	_, _ = fmt.Fprintf(mac, "%d.", at.Unix())
	_, _ = mac.Write(body)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}
