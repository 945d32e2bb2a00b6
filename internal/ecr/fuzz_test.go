package ecr_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// Whatever AWS, or whoever answers in its place, says: discovery ends, with findings that
// can be used or with an error.
func FuzzAnswers(f *testing.F) {
	faults.Covers(f, "I16")
	const arn = `"arn:aws:ecr:us-east-1:111122223333:repository/app"`
	f.Add(`{"ResourceTagMappingList":[{"ResourceARN":`+arn+`,"Tags":[{"Key":"upstream-image","Value":"docker.io/library/nginx"},{"Key":"upstream-tags","Value":"1"}]}]}`,
		`{"repositories":[{"repositoryName":"app","repositoryUri":"111122223333.dkr.ecr.us-east-1.amazonaws.com/app"}]}`)
	f.Add(`{"PaginationToken":"again","ResourceTagMappingList":[]}`, `{"nextToken":"again","repositories":[]}`)
	f.Add(`{"ResourceTagMappingList":[{"ResourceARN":`+arn+`,"Tags":[{"Key":null}]},{},null]}`, `{"repositories":[null,{"repositoryName":null}]}`)
	f.Add(`{"ResourceTagMappingList":{"a":1}}`, `[]`)
	f.Add(`<html>`, ``)
	f.Fuzz(func(t *testing.T, resources, repositories string) {
		url := scripted(t, nil, func(w http.ResponseWriter, r request) bool {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			answer := resources
			if r.op == "DescribeRepositories" {
				answer = repositories
			}
			_, _ = io.WriteString(w, answer)
			return true
		})
		findings, err := find(t, url, ecr.Options{}, ecr.FinderOptions{Route: ecr.RouteTagging})
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\x00") {
			t.Errorf("control characters in %q", err)
		}
		for _, found := range findings {
			if found.Err == nil && (found.Mirror.Target.Host == "" || found.Mirror.Target.Path == "" || found.Mirror.Upstream.Path == "") {
				t.Errorf("a finding that leads nowhere: %+v", found)
			}
		}
	})
}
