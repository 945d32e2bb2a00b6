package bucket_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/bucket"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

var repo = ref.Repository{Host: host, Path: "app"}

// small is an image whose content the seed decides.
func small(seed string) imagetest.Node {
	return imagetest.Image(ref.Platform{OS: "linux", Architecture: "amd64"}, imagetest.Layer(seed, 2_000))
}

// Everything that a tag needs is there before the tag, and the lists come last.
func TestOrderAndHeaders(t *testing.T) {
	faults.Covers(t, "F70")
	s := serve(t)
	node := imagetest.Index(small("one"))
	push(t, s.target(bucket.Options{}), "app", "1.0", node)
	child := node.Children[0]
	blobs := []string{"PUT v2/app/blobs/" + child.Blobs[0].Digest().String(), "PUT v2/app/blobs/" + child.Blobs[1].Digest().String()}
	slices.Sort(blobs)
	headers := map[string][2]string{}
	for _, r := range s.received() {
		if r.Method == http.MethodPut {
			headers[strings.TrimPrefix(r.URL.Path, "/images/")] = [2]string{r.Header.Get("Content-Type"), r.Header.Get("Cache-Control")}
			if r.Header.Get("X-Amz-Acl") != "" || r.Header.Get("X-Amz-Storage-Class") != "" {
				t.Errorf("%s has %v", r.URL.Path, r.Header)
			}
		}
	}
	writes := s.asked(http.MethodPut, http.MethodPost, http.MethodDelete)
	if len(writes) > 3 {
		slices.Sort(writes[1:3])
	}
	if diff := cmp.Diff(slices.Concat([]string{"PUT v2/"}, blobs, []string{
		"PUT v2/app/manifests/" + child.Digest().String(), "PUT v2/app/manifests/" + node.Digest().String(),
		"PUT v2/app/manifests/1.0", "PUT v2/app/tags/list",
	}), writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	const forever, briefly = "public, max-age=31536000, immutable", "public, max-age=60"
	for key, want := range map[string][2]string{
		"v2/":                  {"application/json", briefly},
		blobs[0][len("PUT "):]: {"application/octet-stream", forever},
		"v2/app/manifests/1.0": {node.Descriptor.MediaType, briefly},
		"v2/app/tags/list":     {"application/json", briefly},
		"v2/app/manifests/" + child.Digest().String(): {child.Descriptor.MediaType, forever},
	} {
		if headers[key] != want {
			t.Errorf("%s has %q, want %q", key, headers[key], want)
		}
	}
	if got := s.read("v2/app/tags/list"); got != `{"name":"app","tags":["1.0"]}` {
		t.Errorf("tags/list is %s", got)
	}
	push(t, s.target(bucket.Options{}), "app", "1.0", small("two"))
	if got := s.read("v2/"); got != "{}" {
		t.Errorf("v2/ is %s", got)
	}
	if n := len(slices.DeleteFunc(s.asked(http.MethodPut), func(r string) bool { return r != "PUT v2/" && r != "PUT v2/app/tags/list" })); n != 0 {
		t.Errorf("%d objects were written again that had not changed", n)
	}
}

// The signature holds the digest, so that no server stores anything else.
func TestBlobsAreSignedByTheirDigest(t *testing.T) {
	for name, opts := range map[string]bucket.Options{"whole": {}, "in parts": bucket.Options{}.Sized(100, 5_000)} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			push(t, s.target(opts), "app", "1.0", small("signed"))
			for _, r := range s.received() {
				signed := r.Header.Get("X-Amz-Content-Sha256")
				if raw, err := hex.DecodeString(signed); r.Method == http.MethodPut && (err != nil || len(raw) != 32) {
					t.Errorf("%s %s is signed %q", r.Method, r.URL.Path, signed)
				}
				if digest, ok := strings.CutPrefix(r.URL.Path, "/images/v2/app/blobs/sha256:"); ok && r.Method == http.MethodPut && name == "whole" && signed != digest {
					t.Errorf("%s is signed %q", r.URL.Path, signed)
				}
			}
		})
	}
}

func TestSettings(t *testing.T) {
	s := serve(t)
	push(t, s.target(bucket.Options{Settings: func(string) bucket.Settings {
		return bucket.Settings{Folder: "a/b", ACL: "public-read", StorageClass: "STANDARD_IA", KMSKey: "alias/key", MaxAge: 90 * time.Second, Bucket: name}
	}}), "app", "1.0", small("one"))
	for _, key := range s.keys() {
		if !strings.HasPrefix(key, "a/b/v2/") {
			t.Errorf("outside of the folder: %s", key)
		}
	}
	for _, r := range s.received() {
		if r.Method != http.MethodPut {
			continue
		}
		isBlob := strings.Contains(r.URL.Path, "/blobs/")
		if r.Header.Get("X-Amz-Acl") != "public-read" || (r.Header.Get("X-Amz-Storage-Class") == "STANDARD_IA") != isBlob ||
			r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != "alias/key" {
			t.Errorf("%s: %v", r.URL.Path, r.Header)
		}
		if strings.HasSuffix(r.URL.Path, "/1.0") && r.Header.Get("Cache-Control") != "public, max-age=90" {
			t.Errorf("%s: %v", r.URL.Path, r.Header)
		}
	}
}

// Two runs that write one repository at the same time lose no tag and no referrer.
func TestRunsSideBySide(t *testing.T) {
	faults.Covers(t, "F70")
	s := serve(t)
	subject := small("subject")
	push(t, s.target(bucket.Options{}), "app", "subject", subject)
	g, ctx := errgroup.WithContext(t.Context())
	want := []string{"subject"}
	for run := range 3 {
		target := s.target(bucket.Options{})
		for i := range 8 {
			tag := fmt.Sprintf("v%d.%d", run, i)
			want = append(want, tag)
			g.Go(func() error {
				if err := write(ctx, target, "app", tag, small(tag)); err != nil {
					return err
				}
				dst, err := target.OpenDestination(ctx, repo)
				if err != nil {
					return err
				}
				referrer := imagetest.Referrer(subject, "application/vnd.example."+tag)
				m := registry.Manifest{MediaType: referrer.Descriptor.MediaType, Raw: referrer.Raw}
				_, err = registry.WriteReferrer(ctx, dst, referrer.Digest(), subject.Digest(), m)
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	var list struct{ Tags []string }
	if err := json.Unmarshal([]byte(s.read("v2/app/tags/list")), &list); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, list.Tags); diff != "" {
		t.Errorf("tags/list (-want +got):\n%s", diff)
	}
	if listed, err := s.target(bucket.Options{}).Referrers(t.Context(), repo.Digested(subject.Digest())); err != nil || len(listed) != 24 {
		t.Errorf("%d referrers, %v", len(listed), err)
	}
}

// A server that knows no conditions is written to without.
func TestWithoutConditions(t *testing.T) {
	s := serve(t)
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-None-Match")+r.Header.Get("If-Match") == "" {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNotImplemented)
		_, _ = io.WriteString(w, `<Error><Code>NotImplemented</Code><Message>A header implies functionality that is not implemented</Message></Error>`)
		return true
	}
	target := s.target(bucket.Options{})
	dst, err := target.OpenDestination(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	content := []byte("content")
	layer := imagetest.NewBlob("x", content)
	upload := func() error {
		return registry.UploadBlob(t.Context(), dst, ref.Descriptor{Digest: layer.Digest(), Size: 7}, func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		})
	}
	if err := upload(); err == nil || registry.Final(err) {
		t.Errorf("the stream is spent: %v", err)
	}
	if err := upload(); err != nil {
		t.Error(err)
	}
	node := imagetest.Index()
	for _, tag := range []string{"1", "2"} {
		if err := registry.WriteManifest(t.Context(), dst, tag, registry.Manifest{MediaType: node.Descriptor.MediaType, Raw: node.Raw}); err != nil {
			t.Error(err)
		}
	}
	if got := s.read("v2/app/tags/list"); got != `{"name":"app","tags":["1","2"]}` {
		t.Errorf("tags/list is %s", got)
	}
}

// The first list of a run is made of what is there.
func TestListsAreMended(t *testing.T) {
	s := serve(t)
	push(t, s.target(bucket.Options{}), "app", "1.0", small("one"))
	if _, err := s.client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(name), Key: aws.String("v2/app/tags/list"), Body: strings.NewReader(`{"name":"app","tags":["gone"]}`),
	}); err != nil {
		t.Fatal(err)
	}
	push(t, s.target(bucket.Options{}), "app", "2.0", small("two"))
	if got := s.read("v2/app/tags/list"); got != `{"name":"app","tags":["1.0","2.0"]}` {
		t.Errorf("tags/list is %s", got)
	}
}

// What is under a digest and is not what the digest says is replaced.
func TestDamageIsReplaced(t *testing.T) {
	s := serve(t)
	node := small("damaged")
	push(t, s.target(bucket.Options{}), "app", "1.0", node)
	for _, key := range []string{"v2/app/manifests/" + node.Digest().String(), "v2/app/blobs/" + node.Blobs[1].Digest().String()} {
		if _, err := s.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(name), Key: &key, Body: strings.NewReader("damage")}); err != nil {
			t.Fatal(err)
		}
	}
	target := s.target(bucket.Options{})
	if m, err := target.Manifest(t.Context(), repo.Digested(node.Digest())); !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("a damaged manifest: %q, %v", m.Raw, err)
	}
	push(t, target, "app", "1.0", node)
	if got := s.read("v2/app/blobs/" + node.Blobs[1].Digest().String()); got != string(node.Blobs[1].Content) {
		t.Error("the blob is still damaged")
	}
	if got := s.read("v2/app/manifests/" + node.Digest().String()); got != string(node.Raw) {
		t.Error("the manifest is still damaged")
	}
}

// Wrong bytes never become visible, and what was sent of them is not left behind.
func TestWrongBytes(t *testing.T) {
	faults.Covers(t, "F70")
	for name, opts := range map[string]bucket.Options{"whole": {}, "in parts": bucket.Options{}.Sized(100, 5<<10)} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			dst, err := s.target(opts).OpenDestination(t.Context(), repo)
			if err != nil {
				t.Fatal(err)
			}
			right := imagetest.Layer("right", 20<<10)
			flipped := bytes.Clone(right.Content)
			flipped[3] ^= 1
			for what, content := range map[string][]byte{"flipped": flipped, "short": right.Content[:19<<10], "long": append(bytes.Clone(right.Content), 'x'), "empty": nil} {
				// By a source that does not look itself.
				err := registry.UploadBlob(t.Context(), dst, ref.Descriptor{Digest: right.Digest(), Size: 20 << 10}, func(context.Context) (io.ReadCloser, error) {
					return io.NopCloser(bytes.NewReader(content)), nil
				})
				if err == nil || registry.Final(err) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if keys := s.keys(); !slices.Equal(keys, []string{"v2/"}) {
				t.Errorf("the bucket has %v", keys)
			}
			begun, aborted := 0, 0
			for _, r := range s.received() {
				if r.Method == http.MethodPost && r.URL.Query().Has("uploads") {
					begun++
				}
				if r.Method == http.MethodDelete && r.URL.Query().Has("uploadId") {
					aborted++
				}
			}
			if begun != aborted || (begun == 4) != (name == "in parts") {
				t.Errorf("%d uploads were begun and %d aborted", begun, aborted)
			}
		})
	}
}

func TestKindsOfErrors(t *testing.T) {
	for _, tt := range []struct {
		status int
		code   string
		want   error
		passes bool
	}{
		{http.StatusForbidden, "AccessDenied", registry.ErrDenied, false},
		{http.StatusForbidden, "InvalidAccessKeyId", registry.ErrDenied, false},
		{http.StatusBadRequest, "ExpiredToken", registry.ErrExpired, true},
		{http.StatusServiceUnavailable, "SlowDown", registry.ErrThrottled, true},
		{http.StatusNotFound, "NoSuchKey", registry.ErrNotFound, false},
		{http.StatusNotFound, "NoSuchBucket", registry.ErrPermanent, false},
		{http.StatusBadRequest, "InvalidArgument", registry.ErrPermanent, false},
		{http.StatusMethodNotAllowed, "MethodNotAllowed", registry.ErrUnsupported, false},
	} {
		s := serve(t)
		s.before = func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(tt.status)
			_, _ = fmt.Fprintf(w, `<Error><Code>%s</Code><Message>words</Message></Error>`, tt.code)
			return true
		}
		_, err := s.target(bucket.Options{}).Manifest(t.Context(), repo.Tagged("1.0"))
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.code) || strings.Contains(err.Error(), "operation error") {
			t.Errorf("%s: %v, want %v", tt.code, err, tt.want)
		}
		if registry.Final(err) == tt.passes {
			t.Errorf("%s: final %t", tt.code, registry.Final(err))
		}
	}
}

// What passes by itself is asked for again.
func TestRetries(t *testing.T) {
	faults.Covers(t, "F70")
	s := serve(t)
	push(t, s.target(bucket.Options{}), "app", "1.0", small("one"))
	failed := 0
	s.before = func(w http.ResponseWriter, _ *http.Request) bool {
		if failed++; failed > 2 {
			return false
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	}
	if d, err := s.target(bucket.Options{RetryTimes: 3}).Resolve(t.Context(), repo.Tagged("1.0")); err != nil || d.Digest != small("one").Digest() {
		t.Errorf("%+v, %v", d, err)
	}
}

// Tags of docker-sync say their digest in their own way, and those of others not at all.
func TestTagsOfOthers(t *testing.T) {
	node := small("others")
	for what, metadata := range map[string]map[string]string{"docker-sync": {"x-calculated-digest": node.Digest().String()}, "nothing": nil, "nonsense": {"docker-content-digest": "x"}} {
		s := serve(t)
		if _, err := s.client.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String(name), Key: aws.String("v2/app/manifests/1.0"), Body: bytes.NewReader(node.Raw),
			ContentType: &node.Descriptor.MediaType, Metadata: metadata,
		}); err != nil {
			t.Fatal(err)
		}
		if d, err := s.target(bucket.Options{}).Resolve(t.Context(), repo.Tagged("1.0")); err != nil || d.Digest != node.Digest() {
			t.Errorf("%s: %+v, %v", what, d, err)
		}
	}
}
