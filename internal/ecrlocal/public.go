package ecrlocal

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	publictypes "github.com/aws/aws-sdk-go-v2/service/ecrpublic/types"
	"github.com/opencontainers/go-digest"
)

const (
	// publicRegion stands where a private registry has its Region: an account has one public
	// registry.
	publicRegion = "public"
	// publicAliasPrefix begins every public registry's alias; the account follows.
	publicAliasPrefix = "public-"
	// publicTokenPath is where bearer tokens for public pulls are had, anonymously too.
	publicTokenPath = "/token/"
)

// publicAlias is the first segment of an account's public repositories.
func publicAlias(account string) string { return publicAliasPrefix + account }

// splitPublicName takes the alias off the name of a public repository.
func splitPublicName(name string) (account, rest string, ok bool) {
	alias, rest, ok := strings.Cut(name, "/")
	account, isAlias := strings.CutPrefix(alias, publicAliasPrefix)
	return account, rest, ok && isAlias && isAccountID(account)
}

// grantFor authenticates a registry request. For a public repository it also moves the alias
// out of rt's name, and the action into the public service. With an error it returns what is
// known nevertheless of who asked for what.
func (s *Server) grantFor(r *http.Request, rt *route, only *registryKey) (grant, error) {
	if only != nil {
		return s.grantOnly(r, *only)
	}
	account, rest, public := splitPublicName(rt.name)
	if !public {
		return s.authenticate(r)
	}
	id, err := s.publicIdentity(r)
	if err != nil {
		return grant{}, err
	}
	rt.alias, rt.name = publicAlias(account)+"/", rest
	rt.action = strings.Replace(rt.action, "ecr:", "ecr-public:", 1)
	reading := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !reading && id.account != account {
		return grant{}, newRegistryError(http.StatusForbidden, "DENIED", "only the account %s may push here", account)
	}
	return grant{identity: id, target: registryKey{Account: account, Region: publicRegion}}, nil
}

// publicIdentity reads the bearer token of a request, or the token of a login as AWS.
func (s *Server) publicIdentity(r *http.Request) (identity, error) {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, password, basic := r.BasicAuth(); basic {
		token, bearer = password, true
	}
	var claims tokenClaims
	if !bearer || !s.secret.open("public", token, &claims) {
		return identity{}, &registryError{
			status: http.StatusUnauthorized, code: "UNAUTHORIZED", message: "Not Authorized",
			header: http.Header{"Www-Authenticate": {`Bearer realm="` + baseURL(r) + publicTokenPath + `",service="public.ecr.aws",scope="aws"`}},
		}
	}
	if !s.clock().Before(claims.Expires) {
		return identity{}, newRegistryError(http.StatusForbidden, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
	}
	if claims.AccessKey == "" {
		return userIdentity("", "", "anonymous", nil), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, apiErr := s.identify(claims.AccessKey)
	if apiErr != nil {
		return identity{}, newRegistryError(http.StatusForbidden, "DENIED", "%s", apiErr.message)
	}
	return id, nil
}

// servePublicToken issues bearer tokens: for the login in the request, else anonymous ones.
func (s *Server) servePublicToken(x *exchange, r *http.Request) {
	x.describe(func(e *Entry) { e.Plane, e.Op = PlaneRegistry, "token" })
	claims := tokenClaims{Region: publicRegion, Expires: s.clock().Add(s.tokenTTL)}
	if _, password, ok := r.BasicAuth(); ok {
		var login tokenClaims
		if !s.secret.open("public", password, &login) || !s.clock().Before(login.Expires) {
			writeRegistryError(x, newRegistryError(http.StatusUnauthorized, "UNAUTHORIZED", "Not Authorized"))
			return
		}
		claims = login
	}
	p := &pull{exchange: x, r: r}
	if err := p.respondJSON("application/json", map[string]any{
		"token":      s.secret.seal("public", claims),
		"expires_in": int(claims.Expires.Sub(s.clock()) / time.Second),
	}); err != nil {
		writeRegistryError(x, err)
	}
}

// publicOperations is the part of ECR Public's control plane that mirrors use.
func publicOperations() map[string]operation {
	handlers := map[string]func(*Server, *call, []byte) (any, error){
		"GetAuthorizationToken": op((*Server).publicAuthorizationToken),
		"CreateRepository":      locked((*Server).publicCreateRepository),
		"DescribeRepositories":  locked((*Server).publicDescribeRepositories),
		"DescribeImages":        locked((*Server).publicDescribeImages),
		"DescribeImageTags":     locked((*Server).publicDescribeImageTags),
		"TagResource":           locked((*Server).publicTagResource),
		"ListTagsForResource":   locked((*Server).publicListTags),

		"DescribeRegistries":          op((*Server).publicDescribeRegistries),
		"BatchCheckLayerAvailability": locked((*Server).publicBatchCheckLayerAvailability),
	}
	operations := make(map[string]operation, len(handlers))
	for name, handle := range handlers {
		operations[targetPublic+name] = operation{action: "ecr-public:" + name, casing: camel, handle: handle}
	}
	return operations
}

func (s *Server) publicAuthorizationToken(c *call, _ *ecrpublic.GetAuthorizationTokenInput) (*ecrpublic.GetAuthorizationTokenOutput, error) {
	expires := s.clock().Add(s.tokenTTL)
	token := s.secret.seal("public", tokenClaims{
		AccessKey: c.caller.accessKey, Account: c.caller.account, Region: publicRegion, Expires: expires,
	})
	return &ecrpublic.GetAuthorizationTokenOutput{AuthorizationData: &publictypes.AuthorizationData{
		AuthorizationToken: aws.String(base64.StdEncoding.EncodeToString([]byte("AWS:" + token))),
		ExpiresAt:          &expires,
	}}, nil
}

func (repo *repository) describePublic(host string) *publictypes.Repository {
	created := repo.CreatedAt
	return &publictypes.Repository{
		CreatedAt:      &created,
		RegistryId:     aws.String(repo.Key.Account),
		RepositoryArn:  aws.String(repo.arn()),
		RepositoryName: aws.String(repo.Name),
		RepositoryUri:  aws.String(host + "/" + publicAlias(repo.Key.Account) + "/" + repo.Name),
	}
}

func (s *Server) publicCreateRepository(c *call, in *ecrpublic.CreateRepositoryInput) (*ecrpublic.CreateRepositoryOutput, error) {
	if len(aws.ToString(in.RepositoryName)) > 205 {
		return nil, errConstraint("repositoryName", "Member must have length less than or equal to 205")
	}
	tags, err := mergeTags(nil, fromPublicTags(in.Tags))
	if err != nil {
		return nil, err
	}
	repo, err := s.addRepository(c.target(nil), aws.ToString(in.RepositoryName), settings{}, tags)
	if err != nil {
		return nil, err
	}
	return &ecrpublic.CreateRepositoryOutput{Repository: repo.describePublic(c.r.Host)}, nil
}

func (s *Server) publicDescribeRepositories(c *call, in *ecrpublic.DescribeRepositoriesInput) (*ecrpublic.DescribeRepositoriesOutput, error) {
	reg := s.state.registry(c.target(nil))
	out := &ecrpublic.DescribeRepositoriesOutput{Repositories: []publictypes.Repository{}}
	names := in.RepositoryNames
	if len(names) == 0 {
		var err error
		names, out.NextToken, err = paginate(s, pageRequest{
			op: "public DescribeRepositories", size: in.MaxResults, token: in.NextToken, byDefault: 100, most: 1000,
		}, reg.names(), func(name string) string { return name })
		if err != nil {
			return nil, err
		}
	} else if in.MaxResults != nil || in.NextToken != nil {
		return nil, errInvalidParameter("maxResults and nextToken cannot be used together with repositoryNames")
	}
	for _, name := range names {
		repo, err := reg.repository(name)
		if err != nil {
			return nil, err
		}
		out.Repositories = append(out.Repositories, *repo.describePublic(c.r.Host))
	}
	return out, nil
}

// publicDescribeRegistries shows the caller's one public registry, with its alias.
func (s *Server) publicDescribeRegistries(c *call, _ *ecrpublic.DescribeRegistriesInput) (*ecrpublic.DescribeRegistriesOutput, error) {
	alias := publicAlias(c.caller.account)
	return &ecrpublic.DescribeRegistriesOutput{Registries: []publictypes.Registry{{
		RegistryId:  &c.caller.account,
		RegistryArn: aws.String("arn:aws:ecr-public::" + c.caller.account + ":registry/" + c.caller.account),
		RegistryUri: aws.String(c.r.Host + "/" + alias),
		Verified:    aws.Bool(false),
		Aliases: []publictypes.RegistryAlias{{
			Name: &alias, DefaultRegistryAlias: true, PrimaryRegistryAlias: true, Status: publictypes.RegistryAliasStatusActive,
		}},
	}}}, nil
}

// publicBatchCheckLayerAvailability answers as its twin for private repositories does.
func (s *Server) publicBatchCheckLayerAvailability(c *call, in *ecrpublic.BatchCheckLayerAvailabilityInput) (*ecrpublic.BatchCheckLayerAvailabilityOutput, error) {
	private, err := s.batchCheckLayerAvailability(c, &ecr.BatchCheckLayerAvailabilityInput{RepositoryName: in.RepositoryName, LayerDigests: in.LayerDigests})
	if err != nil {
		return nil, err
	}
	out := &ecrpublic.BatchCheckLayerAvailabilityOutput{Layers: []publictypes.Layer{}, Failures: []publictypes.LayerFailure{}}
	for _, layer := range private.Layers {
		out.Layers = append(out.Layers, publictypes.Layer{
			LayerAvailability: publictypes.LayerAvailability(layer.LayerAvailability), LayerDigest: layer.LayerDigest,
			LayerSize: layer.LayerSize, MediaType: layer.MediaType,
		})
	}
	for _, failure := range private.Failures {
		out.Failures = append(out.Failures, publictypes.LayerFailure{
			FailureCode: publictypes.LayerFailureCode(failure.FailureCode), FailureReason: failure.FailureReason, LayerDigest: failure.LayerDigest,
		})
	}
	return out, nil
}

func (s *Server) publicDescribeImages(c *call, in *ecrpublic.DescribeImagesInput) (*ecrpublic.DescribeImagesOutput, error) {
	repo, err := s.repository(c, nil, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	var images []*image
	for _, dgst := range sortedDigests(repo) {
		images = append(images, repo.Images[dgst])
	}
	if len(in.ImageIds) > 0 {
		images = nil
		for _, id := range in.ImageIds {
			img := repo.find(aws.ToString(id.ImageTag), digest.Digest(aws.ToString(id.ImageDigest)))
			if img == nil {
				return nil, newError("ImageNotFoundException", "the image does not exist within the repository with name '%s'", repo.Name)
			}
			images = append(images, img)
		}
		slices.SortFunc(images, func(a, b *image) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	}
	page, next, err := paginate(s, pageRequest{
		op: "public DescribeImages", size: in.MaxResults, token: in.NextToken, byDefault: 100, most: 1000,
	}, images, func(img *image) string { return string(img.Digest) })
	if err != nil {
		return nil, err
	}
	out := &ecrpublic.DescribeImagesOutput{ImageDetails: []publictypes.ImageDetail{}, NextToken: next}
	for _, img := range page {
		pushed := img.PushedAt
		out.ImageDetails = append(out.ImageDetails, publictypes.ImageDetail{
			ArtifactMediaType: optional(img.artifactType), ImageDigest: aws.String(string(img.Digest)),
			ImageManifestMediaType: aws.String(img.MediaType), ImagePushedAt: &pushed,
			ImageSizeInBytes: aws.Int64(repo.imageSize(img)), ImageTags: img.sortedTags(),
			RegistryId: aws.String(repo.Key.Account), RepositoryName: aws.String(repo.Name),
		})
	}
	return out, nil
}

func (s *Server) publicDescribeImageTags(c *call, in *ecrpublic.DescribeImageTagsInput) (*ecrpublic.DescribeImageTagsOutput, error) {
	repo, err := s.repository(c, nil, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	keys := slices.DeleteFunc(slices.Clone(repo.listing()), func(k imageKey) bool { return k.tag == "" })
	page, next, err := paginate(s, pageRequest{
		op: "public DescribeImageTags", size: in.MaxResults, token: in.NextToken, byDefault: 100, most: 1000,
	}, keys, imageKey.String)
	if err != nil {
		return nil, err
	}
	out := &ecrpublic.DescribeImageTagsOutput{ImageTagDetails: []publictypes.ImageTagDetail{}, NextToken: next}
	for _, key := range page {
		img := repo.Images[key.digest]
		pushed := img.PushedAt
		out.ImageTagDetails = append(out.ImageTagDetails, publictypes.ImageTagDetail{
			CreatedAt: &pushed, ImageTag: aws.String(key.tag),
			ImageDetail: &publictypes.ReferencedImageDetail{
				ImageDigest: aws.String(string(img.Digest)), ImageManifestMediaType: aws.String(img.MediaType),
				ImagePushedAt: &pushed, ImageSizeInBytes: aws.Int64(repo.imageSize(img)),
			},
		})
	}
	return out, nil
}

func (s *Server) publicTagResource(c *call, in *ecrpublic.TagResourceInput) (*ecrpublic.TagResourceOutput, error) {
	reg, repo, err := s.taggedRepository(c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	tags, err := mergeTags(reg.Tagged.current(repo.arn()), fromPublicTags(in.Tags))
	if err != nil {
		return nil, err
	}
	reg.Tagged.set(repo.arn(), tags, s.clock())
	s.changed()
	return &ecrpublic.TagResourceOutput{}, nil
}

func (s *Server) publicListTags(c *call, in *ecrpublic.ListTagsForResourceInput) (*ecrpublic.ListTagsForResourceOutput, error) {
	reg, repo, err := s.taggedRepository(c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	out := &ecrpublic.ListTagsForResourceOutput{Tags: []publictypes.Tag{}}
	for _, tag := range sortedTagList(reg.Tagged.current(repo.arn())) {
		out.Tags = append(out.Tags, publictypes.Tag{Key: tag.Key, Value: tag.Value})
	}
	return out, nil
}

func fromPublicTags(tags []publictypes.Tag) []ecrtypes.Tag {
	var list []ecrtypes.Tag
	for _, tag := range tags {
		list = append(list, ecrtypes.Tag{Key: tag.Key, Value: tag.Value})
	}
	return list
}
