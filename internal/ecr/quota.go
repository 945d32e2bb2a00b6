package ecr

import "github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"

// below is the share of a published rate that a run makes use of. AWS counts by its own
// clock, and somebody else may push to the account as well.
const below = 0.9

// The rates that AWS grants an account in a Region by default. Each request to a
// registry is metered as its API's twin: writing a manifest is PutImage, asking for one
// BatchGetImage, reading a blob GetDownloadUrlForLayer, and so on.
//
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
// https://docs.aws.amazon.com/AmazonECR/latest/public/public-service-quotas.html
const (
	putImage                    = 10
	batchGetImage               = 2000
	getDownloadURLForLayer      = 3000
	batchCheckLayerAvailability = 1000
	initiateLayerUpload         = 100
	completeLayerUpload         = 100

	publicPutImage                    = 10
	publicBatchCheckLayerAvailability = 200
	publicInitiateLayerUpload         = 10
	publicCompleteLayerUpload         = 10
)

// Quota returns what a host of ECR grants in a second, shared by all hosts of an account
// and Region; the zero Quota for hosts that are not ECR's. ECR Public's limit on pulls is
// no part of it: it differs by who asks and from where, and shows by itself.
func (r *Registries) Quota(host string) registry.Quota {
	if _, public := r.Public(host); public {
		return registry.Quota{
			ManifestWrites: below * publicPutImage,
			BlobQuestions:  below * publicBatchCheckLayerAvailability,
			UploadStarts:   below * publicInitiateLayerUpload,
			UploadEnds:     below * publicCompleteLayerUpload,
		}
	}
	at, private := r.Locate(host)
	if !private {
		return registry.Quota{}
	}
	return registry.Quota{
		Scope:          at.Account + "/" + at.Region,
		ManifestReads:  below * batchGetImage,
		ManifestWrites: below * putImage,
		BlobReads:      below * getDownloadURLForLayer,
		BlobQuestions:  below * batchCheckLayerAvailability,
		UploadStarts:   below * initiateLayerUpload,
		UploadEnds:     below * completeLayerUpload,
	}
}
