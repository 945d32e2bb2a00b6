package ecrlocal

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Published limits that no setting changes.
const (
	maxResourceTags        = 50
	maxTagsPerImage        = 1000
	maxManifestSize        = 4 << 20
	maxImagesPerRepository = 100_000
	maxRepositories        = 100_000
)

// registryKey names one private registry: an account in a Region.
type registryKey struct {
	Account string
	Region  string
}

// MarshalText and UnmarshalText let a registryKey be the key of a JSON object.
func (k registryKey) MarshalText() ([]byte, error) { return []byte(k.Account + "/" + k.Region), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (k *registryKey) UnmarshalText(text []byte) error {
	k.Account, k.Region, _ = strings.Cut(string(text), "/")
	return nil
}

// state is everything the server knows but the bytes of blobs and manifests. Its exported
// fields are what --data keeps. Server.mu guards it.
type state struct {
	Sealer     sealer // what issued tokens are sealed with
	Registries map[registryKey]*registry
	Sessions   map[string]session // by temporary access key
}

func newState() *state {
	return &state{
		Sealer:     newSealer(),
		Registries: make(map[registryKey]*registry),
		Sessions:   make(map[string]session),
	}
}

// registry is one account's registry in one Region.
type registry struct {
	Key          registryKey
	Repositories map[string]*repository
	Settings     map[string]string    // account settings by name
	Templates    map[string]*template // creation templates by prefix
	Tagged       taggedResources      // what the tagging API sees, by ARN
}

// registry returns the registry called key, which always exists.
func (st *state) registry(key registryKey) *registry {
	r, ok := st.Registries[key]
	if !ok {
		r = &registry{
			Key:          key,
			Repositories: make(map[string]*repository),
			Settings:     make(map[string]string),
			Templates:    make(map[string]*template),
			Tagged:       make(taggedResources),
		}
		st.Registries[key] = r
	}
	return r
}

// repository returns the repository called name, or RepositoryNotFoundException.
func (r *registry) repository(name string) (*repository, error) {
	repo, ok := r.Repositories[name]
	if !ok {
		return nil, errRepositoryNotFound(name, r.Key.Account)
	}
	return repo, nil
}

// names returns the repositories' names in order.
func (r *registry) names() []string { return slices.Sorted(maps.Keys(r.Repositories)) }

// settings are what a repository and a creation template have in common.
type settings struct {
	Mutability      string   // one of the four mutability modes
	Exclusions      []string // wildcard filters on tags
	EncryptionType  string
	KMSKey          string
	Policy          string
	LifecyclePolicy string
}

// withDefaults fills in what AWS assumes when nothing is said.
func (s settings) withDefaults() settings {
	s.Mutability = cmp.Or(s.Mutability, mutable)
	s.EncryptionType = cmp.Or(s.EncryptionType, "AES256")
	return s
}

// encryptedLike reports whether blobs may be shared between repositories with s and t.
func (s settings) encryptedLike(t settings) bool {
	return s.EncryptionType == t.EncryptionType && s.KMSKey == t.KMSKey
}

// The tag mutability modes.
const (
	mutable                = "MUTABLE"
	immutable              = "IMMUTABLE"
	mutableWithExclusion   = "MUTABLE_WITH_EXCLUSION"
	immutableWithExclusion = "IMMUTABLE_WITH_EXCLUSION"
)

// immutableTag reports whether tag, once it exists, may never move.
func (s settings) immutableTag(tag string) bool {
	excluded := slices.ContainsFunc(s.Exclusions, func(filter string) bool {
		ok, err := path.Match(filter, tag) // filters hold no other metacharacter than the star
		return err == nil && ok
	})
	switch s.Mutability {
	case immutable:
		return true
	case immutableWithExclusion:
		return !excluded
	case mutableWithExclusion:
		return excluded
	default:
		return false
	}
}

// repository is one repository and the images in it.
type repository struct {
	settings
	// ID names the repository's blobs in the storage. A repository that is deleted and created
	// again has another, so that it does not see the blobs of the old one.
	ID         string
	Name       string
	Key        registryKey
	CreatedAt  time.Time
	ScanOnPush bool
	Images     map[digest.Digest]*image
	Tags       map[string]digest.Digest

	layerUsers   references // images by the blobs they are made of
	indexesOf    references // indexes by the children they name
	referrersOf  references // images by the subject they refer to
	sortedImages []imageKey // cache for listing; nil after any change
}

// references maps a digest to the digests of the images that mention it.
type references map[digest.Digest]map[digest.Digest]struct{}

func (r references) add(mentioned, by digest.Digest) {
	users, ok := r[mentioned]
	if !ok {
		users = make(map[digest.Digest]struct{})
		r[mentioned] = users
	}
	users[by] = struct{}{}
}

func (r references) remove(mentioned, by digest.Digest) {
	delete(r[mentioned], by)
	if len(r[mentioned]) == 0 {
		delete(r, mentioned)
	}
}

// image is one manifest in one repository.
type image struct {
	Digest      digest.Digest
	MediaType   string
	PushedAt    time.Time
	Archived    bool
	ArchivedAt  time.Time
	ActivatedAt time.Time
	PulledAt    time.Time

	*manifest
	tags map[string]struct{}
}

// status is the image's storage status on the API.
func (i *image) status() string {
	if i.Archived {
		return "ARCHIVED"
	}
	return "ACTIVE"
}

// sortedTags returns the image's tags in order.
func (i *image) sortedTags() []string { return slices.Sorted(maps.Keys(i.tags)) }

// newRepository adds an empty repository called name to r.
func (r *registry) newRepository(name string, s settings, now time.Time) *repository {
	repo := &repository{
		settings:  s.withDefaults(),
		ID:        randomHex(8),
		Name:      name,
		Key:       r.Key,
		CreatedAt: now,
		Images:    make(map[digest.Digest]*image),
		Tags:      make(map[string]digest.Digest),
	}
	repo.resetIndexes()
	r.Repositories[name] = repo
	return repo
}

func (repo *repository) resetIndexes() {
	repo.layerUsers, repo.indexesOf, repo.referrersOf = make(references), make(references), make(references)
	repo.sortedImages = nil
}

// arn is the repository's Amazon resource name.
func (repo *repository) arn() string { return repositoryARN(repo.Key, repo.Name) }

func repositoryARN(key registryKey, name string) string {
	if key.Region == publicRegion {
		return "arn:aws:ecr-public::" + key.Account + ":repository/" + name
	}
	return "arn:" + partition(key.Region) + ":ecr:" + key.Region + ":" + key.Account + ":repository/" + name
}

// partition is the AWS partition a Region belongs to.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	default:
		return "aws"
	}
}

// index makes img findable by what it mentions.
func (repo *repository) index(img *image) {
	for _, l := range img.blobs() {
		repo.layerUsers.add(l, img.Digest)
	}
	for _, c := range img.children {
		repo.indexesOf.add(c.Digest, img.Digest)
	}
	if img.subject != nil {
		repo.referrersOf.add(img.subject.Digest, img.Digest)
	}
	repo.sortedImages = nil
}

// add puts img, which is not there yet, into the repository.
func (repo *repository) add(img *image) {
	repo.Images[img.Digest] = img
	repo.index(img)
}

// remove takes img and its tags out of the repository.
func (repo *repository) remove(img *image) {
	for tag := range img.tags {
		delete(repo.Tags, tag)
	}
	for _, l := range img.blobs() {
		repo.layerUsers.remove(l, img.Digest)
	}
	for _, c := range img.children {
		repo.indexesOf.remove(c.Digest, img.Digest)
	}
	if img.subject != nil {
		repo.referrersOf.remove(img.subject.Digest, img.Digest)
	}
	delete(repo.Images, img.Digest)
	repo.sortedImages = nil
}

// tag points tag at img, taking it from the image that had it.
func (repo *repository) tag(tag string, img *image) {
	repo.untag(tag)
	repo.Tags[tag] = img.Digest
	img.tags[tag] = struct{}{}
	repo.sortedImages = nil
}

// untag removes tag and leaves its image.
func (repo *repository) untag(tag string) {
	if old, ok := repo.Images[repo.Tags[tag]]; ok {
		delete(old.tags, tag)
	}
	delete(repo.Tags, tag)
	repo.sortedImages = nil
}

// find resolves a tag, a digest, or a digest that must carry the tag. It returns nil when
// there is no such image.
func (repo *repository) find(tag string, dgst digest.Digest) *image {
	if tag == "" {
		return repo.Images[dgst]
	}
	found, ok := repo.Tags[tag]
	if !ok || (dgst != "" && dgst != found) {
		return nil
	}
	return repo.Images[found]
}

// layerArchived reports whether every image that uses the blob is archived.
func (repo *repository) layerArchived(dgst digest.Digest) bool {
	users := repo.layerUsers[dgst]
	for user := range users {
		if !repo.Images[user].Archived {
			return false
		}
	}
	return len(users) > 0
}

// imageKey is one entry of an image listing: an image under one of its tags, or untagged.
type imageKey struct {
	digest digest.Digest
	tag    string
}

func (k imageKey) String() string { return string(k.digest) + " " + k.tag }

// listing returns every (digest, tag) pair, ordered by digest, which is no order a client
// could mistake for a meaningful one.
func (repo *repository) listing() []imageKey {
	if repo.sortedImages != nil {
		return repo.sortedImages
	}
	keys := make([]imageKey, 0, len(repo.Tags)+len(repo.Images))
	for dgst, img := range repo.Images {
		if len(img.tags) == 0 {
			keys = append(keys, imageKey{digest: dgst})
		}
		for tag := range img.tags {
			keys = append(keys, imageKey{digest: dgst, tag: tag})
		}
	}
	slices.SortFunc(keys, func(a, b imageKey) int {
		return cmp.Or(cmp.Compare(a.digest, b.digest), cmp.Compare(a.tag, b.tag))
	})
	repo.sortedImages = keys
	return keys
}

// template is a repository creation template.
type template struct {
	settings
	Prefix       string
	Description  string
	AppliedFor   []string
	RoleARN      string
	ResourceTags map[string]string
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// rootPrefix is the prefix of the template that applies when no other does.
const rootPrefix = "ROOT"

// templateForPush returns the template that creates name on push: the one whose prefix covers
// the most path segments, else ROOT, else nil.
func (r *registry) templateForPush(name string) *template {
	best := r.Templates[rootPrefix]
	if best != nil && !slices.Contains(best.AppliedFor, "CREATE_ON_PUSH") {
		best = nil
	}
	longest := -1
	for prefix, t := range r.Templates {
		if prefix != rootPrefix && slices.Contains(t.AppliedFor, "CREATE_ON_PUSH") &&
			strings.HasPrefix(name, strings.TrimSuffix(prefix, "/")+"/") && len(prefix) > longest {
			best, longest = t, len(prefix)
		}
	}
	return best
}

// session is a set of temporary credentials that STS issued.
type session struct {
	Account string
	ARN     string // of the session
	RoleARN string
	UserID  string
	Expires time.Time
}

// The grammars of names. They are the service model's.
func repositoryNameValid(name string) bool {
	return len(name) >= 2 && len(name) <= 256 && repositoryNamePattern.MatchString(name)
}

func imageTagValid(tag string) bool { return imageTagPattern.MatchString(tag) }

// Compiled once, never changed.
var (
	repositoryNamePattern = regexp.MustCompile(`^(?:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*/)*[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	imageTagPattern       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	exclusionPattern      = regexp.MustCompile(`^[A-Za-z0-9._*-]{1,128}$`)
	regionPattern         = regexp.MustCompile(`^[a-z0-9]+(?:-[a-z0-9]+)*$`)
	resourceTagPattern    = regexp.MustCompile(`^[\p{L}\p{N} _.:/=+\-@]*$`)
)

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
