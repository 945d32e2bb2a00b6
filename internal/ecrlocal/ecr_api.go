package ecrlocal

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// ecrOperations is the control plane of private ECR.
func ecrOperations() map[string]operation {
	handlers := map[string]func(*Server, *call, []byte) (any, error){
		"GetAuthorizationToken": locked((*Server).getAuthorizationToken),

		"CreateRepository":              locked((*Server).createRepository),
		"DeleteRepository":              locked((*Server).deleteRepository),
		"DescribeRepositories":          locked((*Server).describeRepositories),
		"PutImageTagMutability":         locked((*Server).putImageTagMutability),
		"PutImageScanningConfiguration": locked((*Server).putImageScanningConfiguration),
		"SetRepositoryPolicy":           locked((*Server).setRepositoryPolicy),
		"GetRepositoryPolicy":           locked((*Server).getRepositoryPolicy),
		"PutLifecyclePolicy":            locked((*Server).putLifecyclePolicy),
		"GetLifecyclePolicy":            locked((*Server).getLifecyclePolicy),

		"TagResource":         locked((*Server).tagResource),
		"UntagResource":       locked((*Server).untagResource),
		"ListTagsForResource": locked((*Server).listTagsForResource),

		"PutAccountSetting":                   locked((*Server).putAccountSetting),
		"GetAccountSetting":                   locked((*Server).getAccountSetting),
		"CreateRepositoryCreationTemplate":    locked((*Server).createTemplate),
		"DescribeRepositoryCreationTemplates": locked((*Server).describeTemplates),
		"DeleteRepositoryCreationTemplate":    locked((*Server).deleteTemplate),

		"ListImages":              locked((*Server).listImages),
		"DescribeImages":          locked((*Server).describeImages),
		"BatchGetImage":           locked((*Server).batchGetImage),
		"PutImage":                locked((*Server).putImageAPI),
		"BatchDeleteImage":        locked((*Server).batchDeleteImage),
		"UpdateImageStorageClass": locked((*Server).updateImageStorageClass),
		"ListImageReferrers":      locked((*Server).listImageReferrers),

		"BatchCheckLayerAvailability": locked((*Server).batchCheckLayerAvailability),
		"GetDownloadUrlForLayer":      locked((*Server).getDownloadURLForLayer),
		"InitiateLayerUpload":         op((*Server).initiateLayerUpload),
		"UploadLayerPart":             op((*Server).uploadLayerPart),
		"CompleteLayerUpload":         op((*Server).completeLayerUpload),
	}
	operations := make(map[string]operation, len(handlers))
	for name, handle := range handlers {
		operations[targetECR+name] = operation{action: "ecr:" + name, casing: camel, handle: handle}
	}
	return operations
}

// repository finds the repository a request names. The caller holds mu.
func (s *Server) repository(c *call, registryID, name *string) (*repository, error) {
	if !repositoryNameValid(aws.ToString(name)) {
		return nil, errRepositoryName(aws.ToString(name))
	}
	return s.state.registry(c.target(registryID)).repository(*name)
}

func errRepositoryName(name string) error {
	return errConstraint("repositoryName", "must satisfy regular expression '"+
		`(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*`+"' with 2 to 256 characters, not \""+name+`"`)
}

// pageRequest is the paging part of a request.
type pageRequest struct {
	op        string
	size      *int32
	token     *string
	byDefault int // page size when size is nil
	most      int // largest size allowed
}

// pageToken is what an opaque paging token holds.
type pageToken struct {
	Op     string `json:"o"`
	After  string `json:"a"` // the key of the last item that was returned
	Issued int64  `json:"i"` // seconds since the epoch
}

// limit checks the requested page size and returns the one to use.
func (s *Server) limit(p pageRequest) (int, error) {
	limit := p.byDefault
	if p.size != nil {
		limit = int(*p.size)
		if limit < 1 {
			return 0, errConstraint("maxResults", "Member must have value greater than or equal to 1")
		}
		if limit > p.most {
			return 0, errConstraint("maxResults", "Member must have value less than or equal to "+strconv.Itoa(p.most))
		}
	}
	if s.pageSizeCap > 0 {
		limit = min(limit, s.pageSizeCap)
	}
	return limit, nil
}

// paginate cuts the page p asks for out of items, which are in ascending order of key, and
// returns the token of the next page, nil at the end. Because tokens hold a key and not a
// position, changes between two pages lose nothing that stays.
func paginate[T any](s *Server, p pageRequest, items []T, key func(T) string) ([]T, *string, error) {
	limit, err := s.limit(p)
	if err != nil {
		return nil, nil, err
	}
	start := 0
	if token := aws.ToString(p.token); token != "" {
		var t pageToken
		if !s.secret.open("page", token, &t) || t.Op != p.op {
			return nil, nil, errInvalidParameter("Invalid parameter at 'nextToken' failed to satisfy constraint: 'invalid token'")
		}
		var found bool
		start, found = slices.BinarySearchFunc(items, t.After, func(item T, after string) int {
			return strings.Compare(key(item), after)
		})
		if found {
			start++
		}
	}
	end := min(start+limit, len(items))
	if end == len(items) {
		return items[start:], nil, nil
	}
	next := s.secret.seal("page", pageToken{Op: p.op, After: key(items[end-1]), Issued: s.clock().Unix()})
	return items[start:end], &next, nil
}

func (s *Server) getAuthorizationToken(c *call, in *ecr.GetAuthorizationTokenInput) (*ecr.GetAuthorizationTokenOutput, error) {
	ids := in.RegistryIds //nolint:staticcheck // deprecated, but clients send it
	if len(ids) > 10 {
		return nil, errConstraint("registryIds", "Member must have length less than or equal to 10")
	}
	if len(ids) == 0 {
		ids = []string{c.caller.account}
	}
	out := &ecr.GetAuthorizationTokenOutput{}
	for _, id := range ids {
		if !isAccountID(id) {
			return nil, errConstraint("registryIds", "must satisfy regular expression '[0-9]{12}'")
		}
		target := registryKey{Account: id, Region: c.region}
		token, expires := s.issueToken(c.caller.accessKey, target)
		out.AuthorizationData = append(out.AuthorizationData, ecrtypes.AuthorizationData{
			AuthorizationToken: aws.String(base64.StdEncoding.EncodeToString([]byte("AWS:" + token))),
			ExpiresAt:          &expires,
			ProxyEndpoint:      aws.String(scheme(c.r) + "://" + s.host(c.r, target)),
		})
	}
	return out, nil
}
