package ecrlocal

import (
	"cmp"
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// describe is a repository as the API shows it. The caller holds mu.
func (s *Server) describe(c *call, repo *repository) *ecrtypes.Repository {
	encryption := &ecrtypes.EncryptionConfiguration{EncryptionType: ecrtypes.EncryptionType(repo.EncryptionType)}
	if repo.KMSKey != "" {
		encryption.KmsKey = &repo.KMSKey
	}
	created := repo.CreatedAt
	return &ecrtypes.Repository{
		CreatedAt:                          &created,
		EncryptionConfiguration:            encryption,
		ImageScanningConfiguration:         &ecrtypes.ImageScanningConfiguration{ScanOnPush: repo.ScanOnPush},
		ImageTagMutability:                 ecrtypes.ImageTagMutability(repo.Mutability),
		ImageTagMutabilityExclusionFilters: exclusionFilters(repo.Exclusions),
		RegistryId:                         aws.String(repo.Key.Account),
		RepositoryArn:                      aws.String(repo.arn()),
		RepositoryName:                     aws.String(repo.Name),
		RepositoryUri:                      aws.String(s.host(c.r, repo.Key) + "/" + repo.Name),
	}
}

func exclusionFilters(patterns []string) []ecrtypes.ImageTagMutabilityExclusionFilter {
	var filters []ecrtypes.ImageTagMutabilityExclusionFilter
	for _, p := range patterns {
		filters = append(filters, ecrtypes.ImageTagMutabilityExclusionFilter{
			Filter: aws.String(p), FilterType: ecrtypes.ImageTagMutabilityExclusionFilterTypeWildcard,
		})
	}
	return filters
}

// checkMutability reads a mutability mode and its exclusion filters. An absent mode is MUTABLE.
func checkMutability(mode ecrtypes.ImageTagMutability, filters []ecrtypes.ImageTagMutabilityExclusionFilter) (string, []string, error) {
	if mode != "" && !slices.Contains(mode.Values(), mode) {
		return "", nil, errConstraint("imageTagMutability", "Member must satisfy enum value set: [MUTABLE, IMMUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION]")
	}
	excluding := mode == mutableWithExclusion || mode == immutableWithExclusion
	if excluding != (len(filters) > 0) {
		return "", nil, errInvalidParameter("exclusion filters go with the modes MUTABLE_WITH_EXCLUSION and IMMUTABLE_WITH_EXCLUSION, and these need them")
	}
	if len(filters) > 5 {
		return "", nil, errConstraint("imageTagMutabilityExclusionFilters", "Member must have length less than or equal to 5")
	}
	var patterns []string
	for _, f := range filters {
		if f.FilterType != ecrtypes.ImageTagMutabilityExclusionFilterTypeWildcard || !exclusionPattern.MatchString(aws.ToString(f.Filter)) {
			return "", nil, errConstraint("imageTagMutabilityExclusionFilters", "must be WILDCARD filters of letters, digits and . _ - *")
		}
		patterns = append(patterns, *f.Filter)
	}
	return cmp.Or(string(mode), mutable), patterns, nil
}

func (s *Server) createRepository(c *call, in *ecr.CreateRepositoryInput) (*ecr.CreateRepositoryOutput, error) {
	mode, exclusions, err := checkMutability(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters)
	if err != nil {
		return nil, err
	}
	want := settings{Mutability: mode, Exclusions: exclusions}
	if e := in.EncryptionConfiguration; e != nil {
		if !slices.Contains(e.EncryptionType.Values(), e.EncryptionType) {
			return nil, errConstraint("encryptionConfiguration.encryptionType", "Member must satisfy enum value set: [AES256, KMS, KMS_DSSE]")
		}
		want.EncryptionType, want.KMSKey = string(e.EncryptionType), aws.ToString(e.KmsKey)
	}
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	repo, err := s.addRepository(c.target(in.RegistryId), aws.ToString(in.RepositoryName), want, tags)
	if err != nil {
		return nil, err
	}
	repo.ScanOnPush = in.ImageScanningConfiguration != nil && in.ImageScanningConfiguration.ScanOnPush
	return &ecr.CreateRepositoryOutput{Repository: s.describe(c, repo)}, nil
}

// addRepository creates a repository with resource tags. The caller holds mu.
func (s *Server) addRepository(key registryKey, name string, want settings, tags map[string]string) (*repository, error) {
	if !s.nameValid(name) {
		return nil, errRepositoryName(name)
	}
	if !isAccountID(key.Account) || !regionPattern.MatchString(key.Region) {
		return nil, errInvalidParameter("there is no registry %q in the Region %q", key.Account, key.Region)
	}
	reg := s.state.registry(key)
	if _, exists := reg.Repositories[name]; exists {
		return nil, newError("RepositoryAlreadyExistsException",
			"The repository with name '%s' already exists in the registry with id '%s'", name, key.Account)
	}
	if len(reg.Repositories) >= s.quota {
		return nil, newError("LimitExceededException",
			"The registry with id '%s' already has the maximum allowed number of repositories which is '%d'", key.Account, s.quota)
	}
	repo := reg.newRepository(name, want, s.clock())
	if len(tags) > 0 {
		reg.Tagged.set(repo.arn(), tags, s.clock())
	}
	s.changed()
	return repo, nil
}

func (s *Server) deleteRepository(c *call, in *ecr.DeleteRepositoryInput) (*ecr.DeleteRepositoryOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if len(repo.Images) > 0 && !in.Force {
		return nil, newError("RepositoryNotEmptyException",
			"The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", repo.Name, repo.Key.Account)
	}
	reg := s.state.registry(repo.Key)
	delete(reg.Repositories, repo.Name)
	reg.Tagged.forget(repo.arn(), s.clock())
	s.changed()
	return &ecr.DeleteRepositoryOutput{Repository: s.describe(c, repo)}, nil
}

func (s *Server) describeRepositories(c *call, in *ecr.DescribeRepositoriesInput) (*ecr.DescribeRepositoriesOutput, error) {
	reg := s.state.registry(c.target(in.RegistryId))
	out := &ecr.DescribeRepositoriesOutput{Repositories: []ecrtypes.Repository{}}
	names := in.RepositoryNames
	if len(names) > 0 {
		if in.MaxResults != nil || in.NextToken != nil {
			return nil, errInvalidParameter("maxResults and nextToken cannot be used together with repositoryNames")
		}
		if len(names) > 100 {
			return nil, errConstraint("repositoryNames", "Member must have length less than or equal to 100")
		}
	} else {
		var err error
		names, out.NextToken, err = paginate(s, pageRequest{
			op: "DescribeRepositories", size: in.MaxResults, token: in.NextToken, byDefault: 100, most: 1000,
		}, reg.names(), func(name string) string { return name })
		if err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		repo, err := s.repository(c, in.RegistryId, &name)
		if err != nil {
			return nil, err
		}
		out.Repositories = append(out.Repositories, *s.describe(c, repo))
	}
	return out, nil
}

func (s *Server) putImageTagMutability(c *call, in *ecr.PutImageTagMutabilityInput) (*ecr.PutImageTagMutabilityOutput, error) {
	mode, exclusions, err := checkMutability(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters)
	if err != nil {
		return nil, err
	}
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	repo.Mutability, repo.Exclusions = mode, exclusions
	s.changed()
	return &ecr.PutImageTagMutabilityOutput{
		ImageTagMutability:                 ecrtypes.ImageTagMutability(mode),
		ImageTagMutabilityExclusionFilters: exclusionFilters(exclusions),
		RegistryId:                         &repo.Key.Account,
		RepositoryName:                     &repo.Name,
	}, nil
}

func (s *Server) putImageScanningConfiguration(c *call, in *ecr.PutImageScanningConfigurationInput) (*ecr.PutImageScanningConfigurationOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if in.ImageScanningConfiguration == nil {
		return nil, errConstraint("imageScanningConfiguration", "Member must not be null")
	}
	repo.ScanOnPush = in.ImageScanningConfiguration.ScanOnPush
	s.changed()
	return &ecr.PutImageScanningConfigurationOutput{
		ImageScanningConfiguration: &ecrtypes.ImageScanningConfiguration{ScanOnPush: repo.ScanOnPush},
		RegistryId:                 &repo.Key.Account,
		RepositoryName:             &repo.Name,
	}, nil
}

func (s *Server) setRepositoryPolicy(c *call, in *ecr.SetRepositoryPolicyInput) (*ecr.SetRepositoryPolicyOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if !json.Valid([]byte(aws.ToString(in.PolicyText))) {
		return nil, errConstraint("PolicyText", "Invalid repository policy provided")
	}
	repo.Policy = *in.PolicyText
	s.changed()
	return &ecr.SetRepositoryPolicyOutput{PolicyText: in.PolicyText, RegistryId: &repo.Key.Account, RepositoryName: &repo.Name}, nil
}

func (s *Server) getRepositoryPolicy(c *call, in *ecr.GetRepositoryPolicyInput) (*ecr.GetRepositoryPolicyOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if repo.Policy == "" {
		return nil, newError("RepositoryPolicyNotFoundException",
			"Repository policy does not exist for the repository with name '%s' in the registry with id '%s'", repo.Name, repo.Key.Account)
	}
	return &ecr.GetRepositoryPolicyOutput{PolicyText: aws.String(repo.Policy), RegistryId: &repo.Key.Account, RepositoryName: &repo.Name}, nil
}

func (s *Server) putLifecyclePolicy(c *call, in *ecr.PutLifecyclePolicyInput) (*ecr.PutLifecyclePolicyOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	text := aws.ToString(in.LifecyclePolicyText)
	if !json.Valid([]byte(text)) || len(text) < 100 || len(text) > 30720 {
		return nil, errConstraint("LifecyclePolicyText", "Lifecycle policy validation failure: want 100 to 30720 characters of JSON")
	}
	repo.LifecyclePolicy = text
	s.changed()
	return &ecr.PutLifecyclePolicyOutput{LifecyclePolicyText: &text, RegistryId: &repo.Key.Account, RepositoryName: &repo.Name}, nil
}

func (s *Server) getLifecyclePolicy(c *call, in *ecr.GetLifecyclePolicyInput) (*ecr.GetLifecyclePolicyOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if repo.LifecyclePolicy == "" {
		return nil, newError("LifecyclePolicyNotFoundException",
			"Lifecycle policy does not exist for the repository with name '%s' in the registry with id '%s'", repo.Name, repo.Key.Account)
	}
	return &ecr.GetLifecyclePolicyOutput{LifecyclePolicyText: aws.String(repo.LifecyclePolicy), RegistryId: &repo.Key.Account, RepositoryName: &repo.Name}, nil
}

// blobMounting is the account setting that allows cross-repository mounts.
const blobMounting = "BLOB_MOUNTING"

func (s *Server) putAccountSetting(c *call, in *ecr.PutAccountSettingInput) (*ecr.PutAccountSettingOutput, error) {
	name, value := aws.ToString(in.Name), aws.ToString(in.Value)
	if err := setAccountSetting(s.state.registry(c.target(nil)), name, value); err != nil {
		return nil, err
	}
	s.changed()
	return &ecr.PutAccountSettingOutput{Name: &name, Value: &value}, nil
}

func setAccountSetting(reg *registry, name, value string) error {
	if name != blobMounting {
		return errConstraint("name", "ecrlocal knows only the setting "+blobMounting)
	}
	if value != "ENABLED" && value != "DISABLED" {
		return errConstraint("value", "must be ENABLED or DISABLED")
	}
	reg.Settings[name] = value
	return nil
}

func (s *Server) getAccountSetting(c *call, in *ecr.GetAccountSettingInput) (*ecr.GetAccountSettingOutput, error) {
	if aws.ToString(in.Name) != blobMounting {
		return nil, errConstraint("name", "ecrlocal knows only the setting "+blobMounting)
	}
	value := cmp.Or(s.state.registry(c.target(nil)).Settings[blobMounting], "DISABLED")
	return &ecr.GetAccountSettingOutput{Name: in.Name, Value: &value}, nil
}

func (t *template) describe() ecrtypes.RepositoryCreationTemplate {
	created, updated := t.CreatedAt, t.UpdatedAt
	out := ecrtypes.RepositoryCreationTemplate{
		CreatedAt: &created,
		EncryptionConfiguration: &ecrtypes.EncryptionConfigurationForRepositoryCreationTemplate{
			EncryptionType: ecrtypes.EncryptionType(t.EncryptionType),
		},
		ImageTagMutability:                 ecrtypes.ImageTagMutability(t.Mutability),
		ImageTagMutabilityExclusionFilters: exclusionFilters(t.Exclusions),
		Prefix:                             aws.String(t.Prefix),
		ResourceTags:                       sortedTagList(t.ResourceTags),
		UpdatedAt:                          &updated,
		CustomRoleArn:                      optional(t.RoleARN),
		Description:                        optional(t.Description),
		LifecyclePolicy:                    optional(t.LifecyclePolicy),
		RepositoryPolicy:                   optional(t.Policy),
	}
	out.EncryptionConfiguration.KmsKey = optional(t.KMSKey)
	for _, use := range t.AppliedFor {
		out.AppliedFor = append(out.AppliedFor, ecrtypes.RCTAppliedFor(use))
	}
	return out
}

func (s *Server) createTemplate(c *call, in *ecr.CreateRepositoryCreationTemplateInput) (*ecr.CreateRepositoryCreationTemplateOutput, error) {
	mode, exclusions, err := checkMutability(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters)
	if err != nil {
		return nil, err
	}
	tags, err := mergeTags(nil, in.ResourceTags)
	if err != nil {
		return nil, err
	}
	t := &template{
		settings: settings{
			Mutability: mode, Exclusions: exclusions,
			Policy: aws.ToString(in.RepositoryPolicy), LifecyclePolicy: aws.ToString(in.LifecyclePolicy),
		},
		Prefix:       aws.ToString(in.Prefix),
		Description:  aws.ToString(in.Description),
		RoleARN:      aws.ToString(in.CustomRoleArn),
		ResourceTags: tags,
	}
	if e := in.EncryptionConfiguration; e != nil {
		t.EncryptionType, t.KMSKey = string(e.EncryptionType), aws.ToString(e.KmsKey)
	}
	for _, use := range in.AppliedFor {
		t.AppliedFor = append(t.AppliedFor, string(use))
	}
	reg := s.state.registry(c.target(nil))
	if err := s.addTemplate(reg, t); err != nil {
		return nil, err
	}
	described := t.describe()
	return &ecr.CreateRepositoryCreationTemplateOutput{RegistryId: &reg.Key.Account, RepositoryCreationTemplate: &described}, nil
}

// addTemplate checks t and adds it to reg. The caller holds mu.
func (s *Server) addTemplate(reg *registry, t *template) error {
	if t.Prefix != rootPrefix && (len(t.Prefix) > 256 || !repositoryNamePattern.MatchString(strings.TrimSuffix(t.Prefix, "/"))) {
		return errConstraint("prefix", "must be ROOT or a repository name prefix of 1 to 256 characters")
	}
	if len(t.AppliedFor) == 0 {
		return errConstraint("appliedFor", "Member must not be empty")
	}
	for _, use := range t.AppliedFor {
		if !slices.Contains(ecrtypes.RCTAppliedFor("").Values(), ecrtypes.RCTAppliedFor(use)) {
			return errConstraint("appliedFor", "Member must satisfy enum value set: [REPLICATION, PULL_THROUGH_CACHE, CREATE_ON_PUSH]")
		}
	}
	if _, exists := reg.Templates[t.Prefix]; exists {
		return newError("TemplateAlreadyExistsException",
			"The repository creation template with prefix '%s' already exists in the registry with id '%s'", t.Prefix, reg.Key.Account)
	}
	if (len(t.ResourceTags) > 0 || t.KMSKey != "") && t.RoleARN == "" {
		return newError("ValidationException", "a custom role is needed for resource tags and KMS keys")
	}
	t.settings = t.withDefaults()
	t.CreatedAt, t.UpdatedAt = s.clock(), s.clock()
	reg.Templates[t.Prefix] = t
	s.changed()
	return nil
}

func (s *Server) describeTemplates(c *call, in *ecr.DescribeRepositoryCreationTemplatesInput) (*ecr.DescribeRepositoryCreationTemplatesOutput, error) {
	reg := s.state.registry(c.target(nil))
	prefixes := slices.Sorted(maps.Keys(reg.Templates))
	if len(in.Prefixes) > 0 {
		prefixes = slices.DeleteFunc(prefixes, func(p string) bool { return !slices.Contains(in.Prefixes, p) })
	}
	page, next, err := paginate(s, pageRequest{
		op: "DescribeRepositoryCreationTemplates", size: in.MaxResults, token: in.NextToken, byDefault: 100, most: 1000,
	}, prefixes, func(p string) string { return p })
	if err != nil {
		return nil, err
	}
	out := &ecr.DescribeRepositoryCreationTemplatesOutput{
		RegistryId: &reg.Key.Account, NextToken: next,
		RepositoryCreationTemplates: []ecrtypes.RepositoryCreationTemplate{},
	}
	for _, prefix := range page {
		out.RepositoryCreationTemplates = append(out.RepositoryCreationTemplates, reg.Templates[prefix].describe())
	}
	return out, nil
}

func (s *Server) deleteTemplate(c *call, in *ecr.DeleteRepositoryCreationTemplateInput) (*ecr.DeleteRepositoryCreationTemplateOutput, error) {
	reg := s.state.registry(c.target(nil))
	t, ok := reg.Templates[aws.ToString(in.Prefix)]
	if !ok {
		return nil, newError("TemplateNotFoundException",
			"The repository creation template with prefix '%s' does not exist in the registry with id '%s'", aws.ToString(in.Prefix), reg.Key.Account)
	}
	delete(reg.Templates, t.Prefix)
	s.changed()
	described := t.describe()
	return &ecr.DeleteRepositoryCreationTemplateOutput{RegistryId: &reg.Key.Account, RepositoryCreationTemplate: &described}, nil
}

// RepositoryOptions are the settings of a repository that [Server.CreateRepository] creates.
type RepositoryOptions struct {
	// Account and Region default to the server's.
	Account, Region string
	// Tags are the resource tags.
	Tags map[string]string
	// Mutability is one of ECR's four modes; "" means MUTABLE. Exclusions are its filters.
	Mutability string
	Exclusions []string
	// KMSKey, when set, encrypts the repository with that key instead of AES256.
	KMSKey string
}

// CreateRepository creates a repository without going through the API, so that it leaves no
// trace in the journal.
func (s *Server) CreateRepository(name string, opts RepositoryOptions) error {
	var filters []ecrtypes.ImageTagMutabilityExclusionFilter
	if len(opts.Exclusions) > 0 {
		filters = exclusionFilters(opts.Exclusions)
	}
	mode, exclusions, err := checkMutability(ecrtypes.ImageTagMutability(opts.Mutability), filters)
	if err != nil {
		return err
	}
	tags, err := mergeTags(nil, sortedTagList(opts.Tags))
	if err != nil {
		return err
	}
	want := settings{Mutability: mode, Exclusions: exclusions}
	if opts.KMSKey != "" {
		want.EncryptionType, want.KMSKey = "KMS", opts.KMSKey
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = s.addRepository(s.key(opts.Account, opts.Region), name, want, tags)
	return err
}

// createOnPush creates the repository called name from the template that matches it. It
// returns RepositoryNotFoundException when none does. The caller holds mu.
func (s *Server) createOnPush(key registryKey, name string) (*repository, error) {
	if !s.quirks.RequireRepository {
		return s.addRepository(key, name, settings{}, nil)
	}
	t := s.state.registry(key).templateForPush(name)
	if t == nil || !s.quirks.CreateOnPush {
		return nil, errRepositoryNotFound(name, key.Account)
	}
	return s.addRepository(key, name, t.settings, maps.Clone(t.ResourceTags))
}

// repositoryForPush returns the repository called name, creating it if pushes may do that.
// The caller holds mu.
func (s *Server) repositoryForPush(key registryKey, name string) (*repository, error) {
	if repo, err := s.state.registry(key).repository(name); err == nil {
		return repo, nil
	}
	return s.createOnPush(key, name)
}

// parseRepositoryARN splits the ARN of a private or public repository.
func parseRepositoryARN(arn string) (registryKey, string, bool) {
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) != 6 || fields[0] != "arn" {
		return registryKey{}, "", false
	}
	name, ok := strings.CutPrefix(fields[5], "repository/")
	key := registryKey{Account: fields[4], Region: fields[3]}
	if fields[2] == "ecr-public" {
		key.Region = publicRegion
	}
	known := fields[2] == "ecr" || fields[2] == "ecr-public"
	return key, name, ok && known && isAccountID(key.Account) && key.Region != "" && path.Clean(name) == name
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// optionalTime keeps a zero time out of answers.
func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
