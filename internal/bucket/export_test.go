package bucket

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Sized returns o with other sizes of what is sent as a whole, and of parts.
func (o Options) Sized(single, part int64) Options {
	o.tuning = tuning{single: single, part: part}
	return o
}

// AskRegion asks the server that config names where a bucket is.
func AskRegion(ctx context.Context, config aws.Config, s Settings, name string) (string, error) {
	return askRegion(ctx, newClient(config, s), name)
}

// Located is what a host says of a bucket.
func Located(host string, s Settings) (Settings, string, error) { return located(host, s) }
