package config

import (
	"strconv"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
)

// APIVersion names the schema of the file. A key is never renamed and never changes its
// meaning within a version; new keys may appear.
const APIVersion = "ecr-mirror-sync.io/v1alpha1"

// A File is what the files say once they are merged. The tags on its fields are the one
// description of the format: they drive decoding, the JSON Schema, and the reference
// for users. "is" names the grammar of a text, "aka" what other tools call the key.
type File struct {
	APIVersion       string              `yaml:"apiVersion" is:"apiVersion" must:"true" doc:"The version of this format."`
	Defaults         Defaults            `yaml:"defaults" doc:"What holds for every mirror of the file that does not say otherwise."`
	Registries       map[string]Registry `yaml:"registries" is:"place" doc:"How registries and buckets are spoken to, by host, as references write it, or by bucket: s3://BUCKET, r2://ACCOUNT/BUCKET."`
	Discovery        Discovery           `yaml:"discovery" doc:"Which ECR repositories are searched for resource tags that describe mirrors."`
	AllowedUpstreams []string            `yaml:"allowedUpstreams" is:"upstreamPattern" doc:"Where this is given, nothing is mirrored from a repository that none of the patterns matches, whoever asks for it. A pattern matches everything below it." default:"every upstream"`
	AllowedEgress    []string            `yaml:"allowedEgress" is:"network" doc:"Private networks that registries may lead to with redirects, token services and upload locations. The hosts of this file may be in any." default:"public addresses alone"`
	Prune            Pruning             `yaml:"prune" doc:"How much may be removed from the destinations of mirrors that prune, and where it is remembered since when a tag is unwanted. docs/prune.md tells the whole."`
	Log              Log                 `yaml:"log" aka:"logging" doc:"What is logged, how and where. Flags go over it."`
	Notifications    []Notification      `yaml:"notifications" aka:"notify,alerts" doc:"Who is told when a run fails, recovers or finds drift. docs/notifications.md tells the whole."`
	Mirrors          []Mirror            `yaml:"mirrors" aka:"images,tasks" doc:"What is mirrored where."`
}

// Log says what is logged.
type Log struct {
	Level      string `yaml:"level" is:"logLevel" doc:"What is logged: debug, info, warn or error, and what is above." default:"info"`
	Format     string `yaml:"format" is:"logFormat" doc:"console or json." default:"console"`
	Color      string `yaml:"color" aka:"colour,colors" is:"when" doc:"Whether levels are coloured in console lines: auto is on a terminal, unless NO_COLOR is set." default:"auto"`
	File       string `yaml:"file" aka:"output" is:"path" doc:"A file that lines are appended to." default:"standard error"`
	Caller     bool   `yaml:"caller" doc:"Say of each line where in the program it is from." default:"false"`
	TimeFormat string `yaml:"timeFormat" aka:"timeformat" is:"text" doc:"rfc3339, rfc3339nano, epoch, none, or a Go layout such as 15:04:05." default:"rfc3339"`
}

// Defaults holds what mirrors need not repeat.
type Defaults struct {
	Platforms     []string  `yaml:"platforms" is:"platforms" doc:"The platforms that are kept of an image of several, in a smaller index." default:"all"`
	Platform      string    `yaml:"platform" is:"platform" doc:"Mirror the image for this one platform instead of the index."`
	Referrers     *bool     `yaml:"referrers" doc:"Mirror signatures, SBOMs and attestations with each image." default:"true"`
	Replace       *bool     `yaml:"replace" doc:"Update a tag that upstream has moved. Where this is false the tag is left alone, and its drift is reported." default:"true"`
	ImmutableTags []string  `yaml:"immutableTags" is:"glob" doc:"Tags that never change upstream: once they are at the destination they are not compared any more."`
	MinTags       *int      `yaml:"minTags" min:"0" max:"1000000" doc:"A mirror whose rules match fewer tags than this fails. 0 switches the guard off." default:"0"`
	Schedule      *Schedule `yaml:"schedule" aka:"interval,cron" doc:"When the daemon looks at a mirror." default:"the daemon's own interval"`
	Prune         *Prune    `yaml:"prune" aka:"purge" doc:"Remove tags from the destination that no rule wants any more." default:"false"`

	Repositories *Repositories `yaml:"repositories" aka:"repository,createRepositories" doc:"How destination repositories at ECR come into being, and how they are to be. docs/ecr.md tells the whole." default:"they are left alone"`
}

// A Registry is how one registry host is spoken to.
type Registry struct {
	Credentials *Credentials            `yaml:"credentials" aka:"auth" doc:"Who asks. Nobody but this host gets them. For a bucket, username is the access key's id and password its secret." default:"what the environment offers, such as AWS roles"`
	Paths       map[string]RegistryPath `yaml:"paths" is:"pathPrefix" doc:"What differs for the repositories below a path, such as team/app. The longest path holds."`
	TLS         TLS                     `yaml:"tls" doc:"How the connection is secured."`

	TokenService string `yaml:"tokenService" aka:"realm,authHost" is:"host" doc:"The host that exchanges the credentials for tokens, where that is one of another domain: it gets them as well. HOST or HOST:PORT." default:"hosts of the registry's own domain, such as auth.docker.io for docker.io"`

	Limits Limits `yaml:"limits" doc:"How much is asked of the registry at once."`
	S3     Bucket `yaml:"s3" doc:"How a bucket is reached and written to; for keys of the form s3://BUCKET and r2://ACCOUNT/BUCKET. docs/s3.md tells the whole."`
	ECR    *ECR   `yaml:"ecr" doc:"The host is a registry of ECR: which one, where its name does not say, and with which role it is spoken to. Without it public.ecr.aws is read anonymously. docs/ecr.md tells the whole."`
}

// RegistryPath is what a part of a registry has of its own.
type RegistryPath struct {
	Credentials *Credentials `yaml:"credentials" aka:"auth" doc:"Who asks for these repositories." must:"true"`
}

// ECR says how a registry of ECR is spoken to. What the host's name says need not be
// repeated.
type ECR struct {
	Account     string `yaml:"account" aka:"registryId,registry-id" is:"account" doc:"The account whose registry the host is." default:"what the host's name says"`
	Region      string `yaml:"region" is:"region" doc:"Its Region." default:"what the host's name says"`
	Profile     string `yaml:"profile" is:"text" doc:"The profile of the AWS configuration whose credentials are used for this registry, for its API and for its password." default:"the credentials that the program was started with"`
	Role        string `yaml:"role" aka:"roleArn,role-arn" is:"role" doc:"The IAM role to assume for this registry, as upstream and as destination; with the credentials of profile, if there is one." default:"with a profile none, else --role-arn, if that is given"`
	ExternalID  string `yaml:"externalId" aka:"external-id" is:"externalId" doc:"The external id that the role's trust policy asks for."`
	SessionName string `yaml:"sessionName" aka:"roleSessionName" is:"sessionName" doc:"How the role's sessions are called in CloudTrail." default:"ecr-mirror-sync"`
	Endpoint    string `yaml:"endpoint" is:"url" doc:"The URL of ECR's API for this registry, such as a VPC endpoint's or an emulator's." default:"AWS's own, or what the AWS configuration says"`
	Public      bool   `yaml:"public" doc:"The host is ECR Public, as an emulator's is; public.ecr.aws always is." default:"false"`
}

func (e *ECR) check(r *reader, path string) {
	if e.Public && (e.Account != "" || e.Region != "") {
		r.fail(path, "ECR Public is one for all accounts and Regions", "public alone, or account and region")
	}
	checkRole(r, path, e.Role, e.ExternalID, e.SessionName)
}

// checkRole notes what belongs to a role where there is none.
func checkRole(r *reader, path, role, externalID, sessionName string) {
	if role == "" && (externalID != "" || sessionName != "") {
		r.fail(path, "externalId and sessionName belong to a role, and none is given", "role")
	}
}

// TLS says how the connection to a registry is secured.
type TLS struct {
	CA         string `yaml:"ca" is:"path" doc:"A PEM file with the authorities to trust besides the system's."`
	Cert       string `yaml:"cert" aka:"clientCert,client-cert" is:"path" doc:"A PEM file with the client certificate to show, and what it needs to be verified. It goes with key."`
	Key        string `yaml:"key" aka:"clientKey,client-key" is:"path" doc:"A PEM file with the key of cert."`
	CertDir    string `yaml:"certDir" aka:"certs-dir" is:"path" doc:"A directory with *.crt, *.cert and *.key files, as docker and podman keep them: authorities and a client certificate." default:"where ca and cert are absent too, the host's directory in a certs.d folder of docker or podman"`
	MinVersion string `yaml:"minVersion" is:"tlsVersion" doc:"The oldest version of TLS to speak." default:"1.2"`
	Insecure   bool   `yaml:"insecure" aka:"skip-tls-verify,skipTLSVerify" doc:"Do not verify the registry's certificate." default:"false"`
	PlainHTTP  bool   `yaml:"plainHTTP" doc:"Speak HTTP without TLS, credentials included." default:"false"`
}

// Limits bounds what is asked of a registry at once. 0 leaves it to the program.
type Limits struct {
	Requests                int     `yaml:"requests" min:"1" max:"1000" doc:"Small requests at once, at most; how many there are adapts to the registry."`
	BlobStreams             int     `yaml:"blobStreams" min:"1" max:"1000" doc:"Blobs read, and as many written, at once, at most; how many there are adapts to the registry."`
	ManifestWritesPerSecond float64 `yaml:"manifestWritesPerSecond" min:"0" max:"10000" doc:"Manifests written in a second." default:"for private ECR 9, of the 10 that AWS grants an account and Region"`
	UploadsPerSecond        float64 `yaml:"uploadsPerSecond" min:"0" max:"10000" doc:"Blob uploads begun in a second." default:"for private ECR 90, of the 100 that AWS grants an account and Region"`
}

// Discovery says which ECR repositories are searched for resource tags.
type Discovery struct {
	Enabled *bool   `yaml:"enabled" doc:"Search for repositories with resource tags besides following the mirrors of this file." default:"true where ecr is given, else false"`
	ECR     []Scope `yaml:"ecr" doc:"Where to search. Discovery that is enabled without this searches the account and Region of the AWS configuration."`
}

// On reports whether repositories are searched at all.
func (d Discovery) On() bool {
	if d.Enabled != nil {
		return *d.Enabled
	}
	return len(d.ECR) > 0
}

// A Scope is a part of ECR that is searched for resource tags. The zero Scope is the
// account and Region of the AWS configuration.
type Scope struct {
	Account string   `yaml:"account" aka:"registryId,registry-id" is:"account" doc:"The account whose registry is meant." default:"the caller's, or the role's"`
	Regions []string `yaml:"regions" aka:"region" is:"region" doc:"The Regions to search." default:"the AWS configuration's"`
	Role    string   `yaml:"role" aka:"roleArn,role-arn" is:"role" doc:"The IAM role to assume first."`

	ExternalID  string `yaml:"externalId" aka:"external-id" is:"externalId" doc:"The external id that the role's trust policy asks for."`
	SessionName string `yaml:"sessionName" aka:"roleSessionName" is:"sessionName" doc:"How the role's sessions are called in CloudTrail." default:"ecr-mirror-sync"`

	Prefixes []string `yaml:"prefixes" aka:"prefix" is:"pathPrefix" doc:"Only repositories under one of these, by whole path segments." default:"every repository"`
	ImageKey string   `yaml:"imageKey" aka:"image-key" is:"resourceTagKey" doc:"The resource tag that names the upstream repository." default:"upstream-image"`
	TagKey   string   `yaml:"tagKey" aka:"tag-key" is:"resourceTagKey" doc:"The resource tag that names the tags to mirror." default:"upstream-tags"`
}

// Keys returns the resource-tag keys of the scope.
func (s Scope) Keys() discover.Keys { return discover.NewKeys(s.ImageKey, s.TagKey) }

// A Mirror is an entry of the mirrors section as it is written. Config.Rules and
// Config.Patterns hold what it means.
type Mirror struct {
	Name      string        `yaml:"name" is:"name" must:"true" doc:"What reports, --only and other files call the mirror. A later file replaces the mirror by its name."`
	From      From          `yaml:"from" aka:"source,upstream" must:"true" doc:"The upstream: a repository, or a part of a registry."`
	To        []Destination `yaml:"to" aka:"target,targets,destination,destinations,dest" must:"true" doc:"The destinations."`
	Tags      Tags          `yaml:"tags" aka:"mode,compatibility,pinned-major,allow-prerelease,mutableTags,ignoredTags" must:"true" doc:"Which tags: a list of short words, or a map that can say more. In a list, 1.27.3 is that tag, 1.27.* a glob, \"semver: >=1.2 <2\" a range, \"regex: v[0-9]+\" an expression and stable@sha256:… that digest under that name."`
	Platforms []string      `yaml:"platforms" is:"platforms" doc:"The platforms that are kept of an image of several, in a smaller index." default:"defaults.platforms"`
	Platform  string        `yaml:"platform" is:"platform" doc:"Mirror the image for this one platform instead of the index." default:"defaults.platform"`
	Referrers *bool         `yaml:"referrers" doc:"Mirror signatures, SBOMs and attestations with each image." default:"defaults.referrers"`
	Replace   *bool         `yaml:"replace" aka:"replace-tag" doc:"Update a tag that upstream has moved. Where this is false the tag is left alone, and its drift is reported." default:"defaults.replace"`
	Schedule  *Schedule     `yaml:"schedule" aka:"interval,cron" doc:"When the daemon looks at this mirror." default:"defaults.schedule"`
	Prune     *Prune        `yaml:"prune" aka:"purge" doc:"Remove tags from the destination that no rule wants any more. Keys that are not given here are those of defaults.prune." default:"defaults.prune"`

	LogLevel string `yaml:"logLevel" is:"logLevel" doc:"What is logged of this mirror: debug, info, warn or error. Requests to registries serve several mirrors and are logged by log.level alone." default:"log.level"`

	Repositories *Repositories `yaml:"repositories" aka:"repository,createRepositories" doc:"How the destination repositories at ECR come into being, and how they are to be. Keys that are not given here are those of defaults.repositories." default:"defaults.repositories"`
}

// From is what a mirror reads: one repository, or the repositories of a registry that
// match a pattern. A repository may be written alone, without the map.
type From struct {
	Repository    string   `yaml:"repository" is:"repository" doc:"One repository. It may be written alone: from: docker.io/library/nginx. An OCI image layout is written oci:DIR/NAME, one in a tar file oci-archive:DIR/NAME.tar."`
	Registry      string   `yaml:"registry" is:"upstreamPlace" doc:"The registry whose repositories are listed, or oci:DIR, a directory of OCI image layouts."`
	Repositories  []string `yaml:"repositories" is:"repositoryPattern" doc:"Which of its repositories: names, globs (* within a path segment, ** across them), or regex: and an expression that the whole path matches."`
	Lister        string   `yaml:"lister" is:"lister" doc:"How the registry is asked for its repositories: its catalog, the ECR API, the ECR Public API, a Docker Hub namespace, or Docker Hub's search." default:"ecr and ecr-public for hosts of ECR, else catalog"`
	Namespace     string   `yaml:"namespace" is:"pathPrefix" doc:"With lister: docker-hub, the user or organization whose repositories are listed."`
	Search        string   `yaml:"search" is:"text" doc:"With lister: docker-hub-search, what to search for."`
	MaxItems      *int     `yaml:"maxItems" min:"0" max:"1000000" doc:"More repositories than this are an error, since leaving some out would go unnoticed; for docker-hub-search, how many results are looked at. 0 is no limit." default:"1000"`
	CacheDuration string   `yaml:"cacheDuration" is:"duration" doc:"How long the daemon uses a list again. 0s asks each time." default:"1h"`
}

// A Destination is where a mirror writes: one repository, or a registry and how the
// upstream path becomes the path there. A repository may be written alone.
type Destination struct {
	Repository  string  `yaml:"repository" is:"destination" doc:"One repository. It may be written alone: to: registry.example.com/mirror/nginx. A bucket is written s3://BUCKET/PATH or r2://ACCOUNT/BUCKET/PATH, an OCI image layout oci:DIR/NAME or oci-archive:DIR/NAME.tar. With a tag, the one tag that the mirror chooses gets that name."`
	Registry    string  `yaml:"registry" is:"place" doc:"The registry, a bucket such as s3://BUCKET, or a directory of layouts such as oci:DIR; the path is upstream's, changed by one of the keys below."`
	Prefix      string  `yaml:"prefix" is:"pathPrefix" doc:"Put before upstream's path."`
	Regex       string  `yaml:"regex" is:"pathRegexp" doc:"An expression; what it matches of upstream's path is replaced, and a path that it does not match stays as it is. It is not anchored: ^ and $ are."`
	Replacement *string `yaml:"replacement" is:"replacement" doc:"What to put there; $1, ${1} and ${name} stand for groups."`
	Template    string  `yaml:"template" is:"template" doc:"A Go template for the path, of .Registry, .Path, .Namespace (the path without its last segment) and .Name (its last segment), with the functions lower, replace OLD NEW, trimPrefix P and trimSuffix S."`
}

// Terms choose tags. A list of short words may stand for the map.
type Terms struct {
	Literals []string `yaml:"literals" is:"tag" doc:"These tags."`
	Globs    []string `yaml:"globs" is:"glob" doc:"Tags that match; * stands for any run of characters."`
	Semver   []string `yaml:"semver" is:"range" doc:"Versions in a range, such as >=1.2 <2, ~1.4 or 1.2 - 1.9 || 2.x."`
	Regex    []string `yaml:"regex" is:"regexp" doc:"Tags that an RE2 expression matches as a whole."`
	Digests  []string `yaml:"digests" is:"pin" doc:"That digest under that name: stable@sha256:…"`
}

// Patterns tell tags apart. A list of short words may stand for the map.
type Patterns struct {
	Globs  []string `yaml:"globs" is:"glob" doc:"Tags that match; * stands for any run of characters, and without one it is the whole tag."`
	Semver []string `yaml:"semver" is:"range" doc:"Versions in a range."`
	Regex  []string `yaml:"regex" is:"regexp" doc:"Tags that an RE2 expression matches as a whole."`
}

// Keep is what chosen tags have to match. A list of short words may stand for the map.
type Keep struct {
	Patterns
	Not Patterns `yaml:"not" doc:"What chosen tags must not match."`
}

// Tags is the selection language in ordinary words. What Terms and Not choose is united;
// Keep and the narrowing keys then filter what globs, ranges and expressions chose;
// Exclude wins.
type Tags struct {
	Terms
	Not        Patterns `yaml:"not" doc:"Every tag that does not match is chosen. In a list of short words, ! inverts what it precedes: \"!1.*\", \"!regex: v[0-9]+\"."`
	Exclude    Terms    `yaml:"exclude" aka:"ignore,ignoredTags" doc:"Tags to leave out, whatever chose them."`
	Keep       Keep     `yaml:"keep" doc:"Of what globs, semver, regex and not chose, only tags that match every one of these."`
	Newest     int      `yaml:"newest" aka:"latest" min:"1" max:"100000" doc:"Of what was chosen, this many of the highest."`
	NewestBy   string   `yaml:"newestBy" is:"order" doc:"What newest goes by: the version, the time the image was created, or the name with its digits read as numbers." default:"version"`
	Mode       string   `yaml:"mode" is:"mode" doc:"highest: the highest version. higher: what is above the destination's highest, and the highest where it is empty. semver: every version. all: every tag."`
	Variant    string   `yaml:"variant" aka:"compatibility" is:"glob" doc:"Only versions of this variant, such as alpine or debian-*."`
	Major      *int     `yaml:"major" aka:"pinned-major" min:"0" max:"999999999" doc:"Only versions with this major number."`
	Minor      *int     `yaml:"minor" min:"0" max:"999999999" doc:"Only versions with this minor number."`
	Prerelease bool     `yaml:"prerelease" aka:"allow-prerelease" doc:"Pre-releases are versions too." default:"false"`
	Floating   bool     `yaml:"floating" doc:"Floating tags, such as 1.27 beside 1.27.3, are versions too." default:"false"`
	Strict     bool     `yaml:"strict" doc:"Versions are read as semver.org has them: whatever follows a dash is a pre-release." default:"false"`
	Immutable  []string `yaml:"immutable" is:"glob" doc:"Tags that never change upstream: once they are at the destination they are not compared any more." default:"defaults.immutableTags"`
	Mutable    []string `yaml:"mutable" aka:"mutableTags" is:"glob" doc:"The other way round: every tag but these is immutable, whatever defaults.immutableTags says."`
	MinTags    *int     `yaml:"minTags" min:"0" max:"1000000" doc:"Fewer tags than this are an error. 0 switches the guard off." default:"defaults.minTags"`
}

// cacheFor returns how long a list of repositories is used again.
func (f From) cacheFor() time.Duration {
	if d, err := time.ParseDuration(f.CacheDuration); err == nil {
		return d
	}
	return time.Hour
}

// maxItems returns how many repositories there may be, 0 for any number.
func (f From) maxItems() int {
	if f.MaxItems != nil {
		return *f.MaxItems
	}
	return 1000
}

// label is how keys name an item of a list: by its name, where it has one.
func label(name string, index int) string {
	if name == "" {
		name = strconv.Itoa(index)
	}
	return "[" + name + "]"
}

// join appends a key to the keys above it.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
