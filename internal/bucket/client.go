package bucket

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/sdkhttp"
)

// client is S3's API. Streams are sent once: what has been read cannot be sent again.
type client struct {
	*s3.Client
	checksums bool // whether the server is AWS's, which compares checksums
}

// connect reads the configuration, and asks where the bucket is, unless that is known.
// closing closes the connections of the client, also of one that is returned with an error.
func connect(ctx context.Context, o Options, s Settings, name string) (c client, closing func(), err error) {
	cfg, err := config.LoadDefaultConfig(ctx, identity(o.Config, s)...)
	if err != nil {
		return client{}, func() {}, fmt.Errorf("AWS configuration: %w", err)
	}
	connections, err := sdkhttp.New(cfg.HTTPClient, func(t *http.Transport) {
		t.MaxIdleConnsPerHost = defaultSmallRequests
		t.DisableCompression = true // digests are of the bytes as they are stored
	})
	if err != nil {
		return client{}, func() {}, fmt.Errorf("AWS configuration: %w", err)
	}
	cfg.HTTPClient = connections
	if s.Role != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), s.Role))
	}
	cfg.RetryMaxAttempts = o.RetryTimes + 1
	c = newClient(cfg, s)
	if s.Region != "" || !c.checksums {
		return c, connections.Close, nil
	}
	region, err := askRegion(ctx, c, name)
	if err == nil && region != "" && region != cfg.Region {
		cfg.Region = region
		c = newClient(cfg, s)
	}
	return c, connections.Close, err
}

// identity says who asks: who the settings say, else who the run is.
func identity(run aws.Config, s Settings) []func(*config.LoadOptions) error {
	opts := []func(*config.LoadOptions) error{
		config.WithHTTPClient(sdkhttp.WhileLoading()), config.WithAPIOptions(run.APIOptions), config.WithDefaultRegion(run.Region),
	}
	if run.Logger != nil {
		opts = append(opts, config.WithLogger(run.Logger))
	}
	switch {
	case s.AccessKey != "":
		return append(opts, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, "")))
	case s.Profile != "":
		return append(opts, config.WithSharedConfigProfile(s.Profile))
	}
	return append(opts, config.WithCredentialsProvider(run.Credentials))
}

func newClient(cfg aws.Config, s Settings) client {
	own := s3.NewFromConfig(cfg, func(o *s3.Options) {
		if s.Endpoint != "" {
			o.BaseEndpoint = aws.String(s.Endpoint)
			o.Region = "auto" // R2's, and no other server minds
		}
		if s.Region != "" {
			o.Region = s.Region
		}
		o.UsePathStyle = o.BaseEndpoint != nil
		if s.PathStyle != nil {
			o.UsePathStyle = *s.PathStyle
		}
		// The checksums that are worth sending are digests, and known beforehand.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	return client{Client: own, checksums: own.Options().BaseEndpoint == nil}
}

// askRegion asks S3 where a bucket is, "" where it does not say. That the bucket may not be
// looked at says nothing about what is in it.
func askRegion(ctx context.Context, c client, name string) (string, error) {
	out, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name})
	if err == nil {
		return aws.ToString(out.BucketRegion), nil
	}
	status, header := answered(err)
	if status == http.StatusNotFound {
		return "", fmt.Errorf("s3:HeadBucket: there is no bucket %s: %w", name, registry.ErrPermanent)
	}
	if region := header.Get("X-Amz-Bucket-Region"); region != "" {
		return region, nil
	}
	return "", translate("HeadBucket", err)
}

// Times that requests may take. A call without a blob is tried again within its time.
const (
	smallTime  = 2 * time.Minute
	partTime   = 5 * time.Minute
	stallTime  = time.Minute
	answerTime = 5 * time.Minute // between the last byte of a blob and the answer
)
