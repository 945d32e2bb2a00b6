package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

// check reads every mirrored tag back with clients that share no code with the copier,
// and compares it with upstream.
func (s *stage) check(ctx context.Context) error {
	password, err := s.password(ctx)
	if err != nil {
		return err
	}
	pages := ecr.NewDescribeRepositoriesPaginator(s.api, &ecr.DescribeRepositoriesInput{})
	checked := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, repo := range page.Repositories {
			n, err := s.checkRepository(ctx, aws.ToString(repo.RepositoryName), password)
			if err != nil {
				return err
			}
			checked += n
		}
	}
	if checked == 0 {
		return fmt.Errorf("nothing was mirrored, so nothing could be checked")
	}
	s.printf("%s\n\n", s.dim(fmt.Sprintf("# Checked: %d tags resolve to complete images, every blob re-hashed, equal to upstream byte for byte.", checked)))
	return s.skopeo(ctx, password)
}

// checkRepository walks each tag of one repository on both sides.
func (s *stage) checkRepository(ctx context.Context, name, password string) (int, error) {
	out, err := s.api.ListImages(ctx, &ecr.ListImagesInput{RepositoryName: aws.String(name), Filter: &types.ListImagesFilter{TagStatus: types.TagStatusTagged}})
	if err != nil {
		return 0, err
	}
	source := strings.Replace(name, "external/", "library/", 1)
	source = strings.Replace(source, "library/mistake", "library/web", 1)
	for _, image := range out.ImageIds {
		tag := aws.ToString(image.ImageTag)
		mirrored, err := walker.Check(ctx, walker.Options{
			Base: "http://" + s.ecr, Repository: name, Reference: tag, Username: "AWS", Password: password, Deep: true,
		})
		if err != nil {
			return 0, err
		}
		original, err := walker.Check(ctx, walker.Options{Base: "http://" + s.upstream, Repository: source, Reference: tag})
		if err != nil {
			return 0, err
		}
		if err := walker.Same(original, mirrored); err != nil {
			return 0, fmt.Errorf("%s:%s is not what upstream has: %w", name, tag, err)
		}
	}
	return len(out.ImageIds), nil
}

// skopeo shows one image as a client of everyday use sees it, where it is installed.
func (s *stage) skopeo(ctx context.Context, password string) error {
	path, missing := exec.LookPath("skopeo")
	if missing != nil {
		s.say("skopeo is not installed, so it shows nothing here.")
		return nil //nolint:nilerr // another client has checked already
	}
	image := "docker://" + s.ecr + "/external/web:stable"
	cmd := exec.CommandContext(ctx, path, "inspect", "--tls-verify=false", "--creds", "AWS:"+password, //nolint:gosec // the demo's own arguments
		"--format", "{{.Name}} {{.Digest}} {{.Architecture}} {{.RepoTags}}", image)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	s.printf("%s\n", s.bold("$ skopeo inspect "+image))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("skopeo inspect: %w", err)
	}
	s.printf("\n")
	return nil
}

func (s *stage) password(ctx context.Context) (string, error) {
	out, err := s.api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", err
	}
	token, err := base64.StdEncoding.DecodeString(aws.ToString(out.AuthorizationData[0].AuthorizationToken))
	if err != nil {
		return "", err
	}
	_, password, _ := strings.Cut(string(token), ":")
	return password, nil
}

// countRequests shows from the journals what the last run cost, and insists that it
// wrote nothing.
func (s *stage) countRequests() error {
	journal, err := os.Open(s.journal())
	if err != nil {
		return err
	}
	defer journal.Close()
	count := map[string]int{}
	lines := bufio.NewScanner(journal)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var entry struct {
			Op string `json:"op"`
		}
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		if entry.Op == "GetResources" && count["DescribeRepositories"] > 0 {
			clear(count) // a new run begins with discovery
		}
		count[entry.Op]++
	}
	s.printf("%s\n", s.dim(fmt.Sprintf("# The last run's requests at ECR: %v", count)))
	for _, op := range []string{"manifest-put", "upload-post", "upload-put", "PutImage"} {
		if count[op] > 0 {
			return fmt.Errorf("a run with nothing to do sent %d times %s", count[op], op)
		}
	}
	return lines.Err()
}
