package ecrlocal

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	rgttypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"
)

// taggingTokenTTL is how long a GetResources page token is good for.
const taggingTokenTTL = 15 * time.Minute

// taggedResources holds the resource tags of every repository that ever had any, by ARN. ECR's
// own operations read the latest version, GetResources reads what has had time to propagate.
type taggedResources map[string][]tagVersion

// tagVersion is the tags a resource has had since a point in time.
type tagVersion struct {
	Since time.Time
	Tags  map[string]string
	Gone  bool // the resource does not exist any more
}

// current returns the latest tags of the resource.
func (t taggedResources) current(arn string) map[string]string {
	versions := t[arn]
	if len(versions) == 0 {
		return nil
	}
	return versions[len(versions)-1].Tags
}

// set gives the resource these tags from now on.
func (t taggedResources) set(arn string, tags map[string]string, now time.Time) {
	t[arn] = append(t[arn], tagVersion{Since: now, Tags: tags})
}

// forget records that the resource is deleted.
func (t taggedResources) forget(arn string, now time.Time) {
	if len(t[arn]) > 0 {
		t[arn] = append(t[arn], tagVersion{Since: now, Gone: true})
	}
}

// asOf returns the tags the resource had at a moment, and whether it was then one of those
// that had ever been tagged. Versions that no later moment can see are dropped.
func (t taggedResources) asOf(arn string, moment time.Time) (map[string]string, bool) {
	versions := t[arn]
	for len(versions) > 1 && !versions[1].Since.After(moment) {
		versions = versions[1:]
	}
	t[arn] = versions
	first := versions[0]
	if first.Since.After(moment) {
		return nil, false
	}
	if first.Gone {
		if len(versions) == 1 {
			delete(t, arn)
		}
		return nil, false
	}
	return first.Tags, true
}

// mergeTags returns have with add put over it, or the error the whole has.
func mergeTags(have map[string]string, add []ecrtypes.Tag) (map[string]string, error) {
	merged := maps.Clone(have)
	if merged == nil {
		merged = make(map[string]string, len(add))
	}
	for _, tag := range add {
		key, value := aws.ToString(tag.Key), aws.ToString(tag.Value)
		if err := checkTag(key, value); err != nil {
			return nil, err
		}
		merged[key] = value
	}
	if len(merged) > maxResourceTags {
		return nil, newError("TooManyTagsException", "the resource can have at most %d tags", maxResourceTags)
	}
	return merged, nil
}

func checkTag(key, value string) error {
	invalid := func(format string, args ...any) error {
		return newError("InvalidTagParameterException", format, args...)
	}
	switch {
	case key == "" || len([]rune(key)) > 128:
		return invalid("Invalid parameter at 'tags': the key %q must have 1 to 128 characters", key)
	case len([]rune(value)) > 256:
		return invalid("Invalid parameter at 'tags': the value of %q must have at most 256 characters", key)
	case !resourceTagPattern.MatchString(key) || !resourceTagPattern.MatchString(value):
		return invalid("Invalid parameter at 'tags': %q=%q may hold letters, digits, spaces and _ . : / = + - @ only", key, value)
	case hasReservedPrefix(key) || hasReservedPrefix(value):
		return invalid("Invalid parameter at 'tags': %q=%q begins with aws:, which is reserved", key, value)
	}
	return nil
}

func hasReservedPrefix(s string) bool { return strings.HasPrefix(strings.ToLower(s), "aws:") }

func sortedTagList(tags map[string]string) []ecrtypes.Tag {
	list := make([]ecrtypes.Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, ecrtypes.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return list
}

// taggedRepository finds the repository a resource ARN names.
func (s *Server) taggedRepository(c *call, arn *string) (*registry, *repository, error) {
	key, name, ok := parseRepositoryARN(aws.ToString(arn))
	if !ok || key.Region != c.region {
		return nil, nil, errInvalidParameter("Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'")
	}
	reg := s.state.registry(key)
	repo, err := reg.repository(name)
	return reg, repo, err
}

func (s *Server) tagResource(c *call, in *ecr.TagResourceInput) (*ecr.TagResourceOutput, error) {
	reg, repo, err := s.taggedRepository(c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	tags, err := mergeTags(reg.Tagged.current(repo.arn()), in.Tags)
	if err != nil {
		return nil, err
	}
	if len(in.Tags) > 0 {
		reg.Tagged.set(repo.arn(), tags, s.clock())
		s.changed()
	}
	return &ecr.TagResourceOutput{}, nil
}

func (s *Server) untagResource(c *call, in *ecr.UntagResourceInput) (*ecr.UntagResourceOutput, error) {
	reg, repo, err := s.taggedRepository(c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	tags := maps.Clone(reg.Tagged.current(repo.arn()))
	if tags == nil {
		return &ecr.UntagResourceOutput{}, nil
	}
	for _, key := range in.TagKeys {
		delete(tags, key)
	}
	reg.Tagged.set(repo.arn(), tags, s.clock())
	s.changed()
	return &ecr.UntagResourceOutput{}, nil
}

func (s *Server) listTagsForResource(c *call, in *ecr.ListTagsForResourceInput) (*ecr.ListTagsForResourceOutput, error) {
	reg, repo, err := s.taggedRepository(c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &ecr.ListTagsForResourceOutput{Tags: sortedTagList(reg.Tagged.current(repo.arn()))}, nil
}

// taggingOperations is the Resource Groups Tagging API.
func taggingOperations() map[string]operation {
	return map[string]operation{
		targetTagging + "GetResources": {action: "tag:GetResources", casing: pascal, handle: locked((*Server).getResources)},
	}
}

func (s *Server) getResources(c *call, in *resourcegroupstaggingapi.GetResourcesInput) (*resourcegroupstaggingapi.GetResourcesOutput, error) {
	if err := checkGetResources(in); err != nil {
		return nil, err
	}
	if err := s.checkTaggingToken(aws.ToString(in.PaginationToken)); err != nil {
		return nil, err
	}
	resources := s.visibleResources(c.target(nil), in)
	request := pageRequest{op: "GetResources", size: in.ResourcesPerPage, token: in.PaginationToken, byDefault: 50, most: 100}
	if len(in.ResourceARNList) > 0 {
		request.byDefault = 100 // a list of ARNs is answered in one page
	}
	page, next, err := paginate(s, request, resources, func(r rgttypes.ResourceTagMapping) string { return *r.ResourceARN })
	if err != nil {
		return nil, err
	}
	if in.TagsPerPage != nil {
		page, next = s.fitTags(page, next, int(*in.TagsPerPage))
	}
	if next == nil {
		next = aws.String("") // the service sends an empty token at the end
	}
	return &resourcegroupstaggingapi.GetResourcesOutput{ResourceTagMappingList: page, PaginationToken: next}, nil
}

// checkGetResources refuses parameters beyond their limits and in forbidden combinations.
func checkGetResources(in *resourcegroupstaggingapi.GetResourcesInput) error {
	paged := in.ResourcesPerPage != nil || in.TagsPerPage != nil || in.PaginationToken != nil
	switch {
	case len(in.ResourceARNList) > 0 && (len(in.ResourceTypeFilters) > 0 || len(in.TagFilters) > 0 || paged):
		return errInvalidParameter("ResourceARNList cannot be combined with filters or paging parameters")
	case len(in.ResourceARNList) > 100 || len(in.ResourceTypeFilters) > 100:
		return errInvalidParameter("ResourceARNList and ResourceTypeFilters hold at most 100 items")
	case len(in.TagFilters) > 50:
		return errInvalidParameter("TagFilters holds at most 50 keys")
	case in.TagsPerPage != nil && (*in.TagsPerPage < 100 || *in.TagsPerPage > 500):
		return errInvalidParameter("TagsPerPage must be between 100 and 500")
	case in.ResourcesPerPage != nil && (*in.ResourcesPerPage < 1 || *in.ResourcesPerPage > 100):
		return errInvalidParameter("ResourcesPerPage must be between 1 and 100")
	}
	for _, f := range in.TagFilters {
		if len(f.Values) > 20 {
			return errInvalidParameter("a tag filter holds at most 20 values")
		}
		if aws.ToString(f.Key) == "" {
			return errInvalidParameter("a tag filter needs a key")
		}
	}
	return nil
}

// checkTaggingToken refuses page tokens that are too old. Forged ones are left to paginate.
func (s *Server) checkTaggingToken(token string) error {
	var t pageToken
	if token == "" || !s.secret.open("page", token, &t) {
		return nil
	}
	if s.clock().Sub(time.Unix(t.Issued, 0)) > taggingTokenTTL {
		return newError("PaginationTokenExpiredException", "the pagination token has expired")
	}
	return nil
}

// visibleResources is what the tagging API knows by now and the request wants, by ARN.
func (s *Server) visibleResources(key registryKey, in *resourcegroupstaggingapi.GetResourcesInput) []rgttypes.ResourceTagMapping {
	reg := s.state.registry(key)
	moment := s.clock().Add(-s.taggingDelay)
	resources := []rgttypes.ResourceTagMapping{}
	for _, arn := range slices.Sorted(maps.Keys(reg.Tagged)) {
		tags, visible := reg.Tagged.asOf(arn, moment)
		if !visible || !matchesType(in.ResourceTypeFilters) || !matchesTags(in.TagFilters, tags) ||
			(len(in.ResourceARNList) > 0 && !slices.Contains(in.ResourceARNList, arn)) {
			continue
		}
		resources = append(resources, rgttypes.ResourceTagMapping{ResourceARN: aws.String(arn), Tags: rgtTags(tags)})
	}
	return resources
}

// matchesType reports whether the filters let ECR repositories through.
func matchesType(filters []string) bool {
	return len(filters) == 0 || slices.Contains(filters, "ecr") || slices.Contains(filters, "ecr:repository")
}

// matchesTags ands the filters and ors the values of each.
func matchesTags(filters []rgttypes.TagFilter, tags map[string]string) bool {
	for _, f := range filters {
		value, ok := tags[aws.ToString(f.Key)]
		if !ok || (len(f.Values) > 0 && !slices.Contains(f.Values, value)) {
			return false
		}
	}
	return true
}

func rgtTags(tags map[string]string) []rgttypes.Tag {
	list := make([]rgttypes.Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, rgttypes.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return list
}

// fitTags shortens a page to as many resources as have limit tags together. An untagged
// resource counts as one tag.
func (s *Server) fitTags(page []rgttypes.ResourceTagMapping, next *string, limit int) ([]rgttypes.ResourceTagMapping, *string) {
	total := 0
	for i, resource := range page {
		total += max(1, len(resource.Tags))
		if total > limit && i > 0 {
			token := s.secret.seal("page", pageToken{Op: "GetResources", After: *page[i-1].ResourceARN, Issued: s.clock().Unix()})
			return page[:i], &token
		}
	}
	return page, next
}
