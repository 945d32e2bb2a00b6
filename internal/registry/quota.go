package registry

// A Quota is how many requests of each kind a host grants in a second, 0 where no limit
// is known. What is asked of it stays below, so that a run is not refused what it could
// have had a moment later.
type Quota struct {
	// Scope says what the quota is for: hosts with the same Scope share one, such as
	// those of an account in a Region. "" means the host alone.
	Scope string

	ManifestReads  float64
	ManifestWrites float64
	BlobReads      float64
	BlobQuestions  float64 // whether a blob is there
	UploadStarts   float64 // mounts are some, too
	UploadEnds     float64
}
