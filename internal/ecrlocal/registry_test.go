package ecrlocal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

// TestUploads is one row per way to upload a blob: the requests after the POST and what the
// last one answers. "PATCH 6M" sends six mebibytes, "PUT 3" the last three bytes.
func TestUploads(t *testing.T) {
	const mib = 1 << 20
	for _, row := range []struct {
		name   string
		chunks []int // sent by PATCH
		last   int   // sent by the final PUT
		want   string
	}{
		{"one PUT", nil, 10, "201"},
		{"one streamed PATCH", []int{10}, 0, "201"},
		{"chunks of the least size", []int{5 * mib, 5 * mib}, 3, "201"},
		{"the last PATCH may be small", []int{5 * mib, 7}, 0, "201"},
		{"a small chunk before the last", []int{5*mib - 1, 5 * mib}, 0, "400 BLOB_UPLOAD_INVALID"},
		{"a small PATCH and a PUT", []int{10}, 10, "400 BLOB_UPLOAD_INVALID"},
		{"no byte at all", nil, 0, "400 BLOB_UPLOAD_INVALID"},
		{"an empty PATCH", []int{0}, 10, "201"},
	} {
		t.Run(row.name, func(t *testing.T) {
			run := ecrlocaltest.Start(t)
			create(t, run, "app")
			r := login(t, run)
			upload := r.begin("app")
			var whole bytes.Buffer
			for i, size := range row.chunks {
				chunk := bytes.Repeat([]byte{byte('a' + i)}, size)
				r.want(201, r.do("PATCH", upload, chunk))
				whole.Write(chunk)
			}
			last := bytes.Repeat([]byte{'z'}, row.last)
			whole.Write(last)
			dgst := digest.FromBytes(whole.Bytes())
			a := r.finish(upload, last, dgst)
			if a.String() != row.want {
				t.Fatalf("got %s (%s), want %s", a, a.body, row.want)
			}
			head := r.do("HEAD", "/v2/app/blobs/"+string(dgst), nil)
			if a.status == 201 {
				if got := head.header.Get("Content-Length"); head.status != 200 || got != fmt.Sprint(whole.Len()) {
					t.Errorf("HEAD says %d, length %s; want 200, %d", head.status, got, whole.Len())
				}
			} else if head.status != 404 {
				t.Errorf("HEAD of a refused blob says %d", head.status)
			}
			if again := r.do("GET", upload, nil); again.String() != "404 BLOB_UPLOAD_UNKNOWN" {
				t.Errorf("the session afterwards: %s", again)
			}
		})
	}
}

func TestUploadErrors(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app", "other")
	r := login(t, run)
	upload := r.begin("app")
	r.do("PATCH", upload, []byte("12345"))
	for _, row := range []struct {
		name string
		a    answer
		want string
	}{
		{"a gap", r.do("PATCH", upload, []byte("67"), "Content-Range", "6-7"), "416 BLOB_UPLOAD_INVALID"},
		{"a repetition", r.do("PATCH", upload, []byte("12"), "Content-Range", "0-1"), "416 BLOB_UPLOAD_INVALID"},
		{"a wrong length", r.do("PATCH", upload, []byte("67"), "Content-Range", "5-9"), "416 BLOB_UPLOAD_INVALID"},
		{"not a range", r.do("PATCH", upload, []byte("67"), "Content-Range", "some"), "416 BLOB_UPLOAD_INVALID"},
		{"not a digest", r.do("PUT", upload+"?digest=nonsense", nil), "400 DIGEST_INVALID"},
		{"no digest", r.do("PUT", upload, nil), "400 DIGEST_INVALID"},
		{"another repository's session", r.do("PATCH", strings.Replace(upload, "/app/", "/other/", 1), []byte("x")), "404 BLOB_UPLOAD_UNKNOWN"},
		{"no such session", r.do("PATCH", "/v2/app/blobs/uploads/none", []byte("x")), "404 BLOB_UPLOAD_UNKNOWN"},
		{"no such repository", r.do("PATCH", "/v2/nope/blobs/uploads/none", []byte("x")), "404 NAME_UNKNOWN"},
		{"cancelled", r.do("DELETE", upload, nil), "204"},
		{"after cancelling", r.do("PATCH", upload, []byte("67")), "404 BLOB_UPLOAD_UNKNOWN"},
	} {
		if row.a.String() != row.want {
			t.Errorf("%s: got %s, want %s", row.name, row.a, row.want)
		}
	}
}

// TestLargeBlob sends and fetches a blob larger than every buffer on the way.
func TestLargeBlob(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	content := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
	dgst := r.pushBlob("app", content)
	redirect := r.want(307, r.do("GET", "/v2/app/blobs/"+string(dgst), nil))
	a := r.want(200, r.do("GET", redirect.header.Get("Location"), nil))
	if digest.FromBytes(a.body) != dgst {
		t.Errorf("got %d bytes of another digest, want %d", len(a.body), len(content))
	}
	part := r.want(206, r.do("GET", redirect.header.Get("Location"), nil, "Range", "bytes=16-19"))
	if string(part.body) != "0123" {
		t.Errorf("the range is %q, want 0123", part.body)
	}
}

// TestDownloadURLs are good for one blob, for GET, and for an hour.
func TestDownloadURLs(t *testing.T) {
	c := ecrlocaltest.NewClock()
	run := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c))
	create(t, run, "app")
	r := login(t, run)
	dgst := r.pushBlob("app", []byte("content"))
	other := r.pushBlob("app", []byte("other"))
	url := r.do("GET", "/v2/app/blobs/"+string(dgst), nil).header.Get("Location")
	for _, row := range []struct {
		name, method, url string
		after             time.Duration
		want              string
	}{
		{"as given", "GET", url, 0, "200 content"},
		{"of another blob", "GET", strings.Replace(url, string(dgst), string(other), 1), 0, "403 AccessDenied"},
		{"forged", "GET", url + "x", 0, "403 AccessDenied"},
		{"HEAD", "HEAD", url, 0, "403 "},
		{"an hour later", "GET", url, time.Hour, "403 AccessDenied"},
	} {
		c.Advance(row.after)
		a := r.do(row.method, row.url, nil)
		got := fmt.Sprint(a.status, " ", string(a.body))
		if _, rest, ok := strings.Cut(got, "<Code>"); ok {
			code, _, _ := strings.Cut(rest, "<")
			got = fmt.Sprint(a.status, " ", code)
		}
		if got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
}

// TestMounts is one row per circumstance: a mount succeeds only when all of them are right.
func TestMounts(t *testing.T) {
	for _, row := range []struct {
		name     string
		disabled bool   // blob mounting
		unused   bool   // no manifest references the blob
		key      string // the target's KMS key
		from     string
		denied   bool // to read the source
		want     int
	}{
		{name: "all is right", want: 201},
		{name: "setting off", disabled: true, want: 202},
		{name: "blob not referenced", unused: true, want: 202},
		{name: "other encryption", key: "alias/k", want: 202},
		{name: "unknown source", from: "nope", want: 202},
		{name: "itself", from: "target", want: 202},
		{name: "no right to read the source", denied: true, want: 202},
	} {
		t.Run(row.name, func(t *testing.T) {
			run := ecrlocaltest.Start(t, ecrlocaltest.WithCredentials(ecrlocal.Credentials{AccessKeys: map[string]ecrlocal.AccessKey{
				ecrlocaltest.AccessKey: {Account: "111122223333"},
				"DENIED":               {Account: "111122223333", Deny: []string{"ecr:GetDownloadUrlForLayer"}},
			}}))
			create(t, run, "source")
			if err := run.CreateRepository("target", ecrlocal.RepositoryOptions{KMSKey: row.key}); err != nil {
				t.Fatal(err)
			}
			run.SetBlobMounting("", "", !row.disabled)
			r := login(t, run)
			layer := digest.FromString("layer of one")
			if row.unused {
				r.pushBlob("source", []byte("layer of one"))
			} else {
				r.pushImage("source", "1", "one")
			}
			if row.denied {
				r = loginWithKey(t, run, "DENIED")
			}
			from := row.from
			if from == "" {
				from = "source"
			}
			a := r.want(row.want, r.do("POST", "/v2/target/blobs/uploads/?mount="+string(layer)+"&from="+from, nil))
			if row.want == 202 {
				r.want(201, r.finish(a.header.Get("Location"), []byte("layer of one"), layer)) // the answer is a session
				return
			}
			if got, want := a.header.Get("Location"), run.URL+"/v2/target/blobs/"+string(layer); got != want {
				t.Errorf("Location is %s, want %s", got, want)
			}
			r.want(200, r.do("HEAD", "/v2/target/blobs/"+string(layer), nil))
		})
	}
}

// TestManifestErrors is one row per manifest the registry refuses.
func TestManifestErrors(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	raw := r.pushImage("app", "1", "one")
	missing := manifest(ociManifest, []byte("no"), []byte("such"))
	for _, row := range []struct {
		name, reference, mediaType string
		body                       []byte
		want, says                 string
	}{
		{"invalid JSON", "2", ociManifest, []byte("{"), "405 UNSUPPORTED", "Invalid parameter at 'ImageManifest'"},
		{"no media type", "2", "", []byte(`{"schemaVersion":2}`), "405 UNSUPPORTED", "Invalid JSON syntax"},
		{"no config", "2", ociManifest, []byte(`{"schemaVersion":2}`), "405 UNSUPPORTED", "Invalid JSON syntax"},
		{"media types at odds", "2", dockerManifest, raw, "405 UNSUPPORTED", "ImageManifestMediaType"},
		{"media type with a parameter", "2", ociManifest, bytes.Replace(raw, []byte(ociLayer), []byte("a/b;c=d"), 1), "405 UNSUPPORTED", "a/b;c=d"},
		{"broken digest", "2", ociManifest, bytes.Replace(raw, []byte("sha256:"), []byte("sha0:"), 1), "405 UNSUPPORTED", "is not a digest"},
		{"missing layer", "2", ociManifest, missing, "400 MANIFEST_BLOB_UNKNOWN", "do not exist"},
		{"missing child", "2", ociIndex, index(missing), "400 MANIFEST_BLOB_UNKNOWN", "do not exist"},
		{"other digest", string(digest.FromString("x")), ociManifest, raw, "400 MANIFEST_INVALID", "does not match"},
		{"tag of 129 characters", strings.Repeat("t", 129), ociManifest, raw, "400 TAG_INVALID", "invalid tag"},
		{"tag with a plus", "1+2", ociManifest, raw, "400 TAG_INVALID", "invalid tag"},
		{"tag with a leading dot", ".1", ociManifest, raw, "400 TAG_INVALID", "invalid tag"},
		{"more than 4 MiB", "2", ociManifest, append(raw, strings.Repeat(" ", 4<<20)...), "413 MANIFEST_INVALID", "larger"},
	} {
		a := r.do("PUT", "/v2/app/manifests/"+row.reference, row.body, "Content-Type", row.mediaType)
		if a.String() != row.want || !strings.Contains(string(a.body), row.says) {
			t.Errorf("%s: got %s %s, want %s and %q", row.name, a, a.body, row.want, row.says)
		}
	}
	for _, row := range []struct{ method, path, want string }{
		{"GET", "/v2/app/manifests/2", "404 MANIFEST_UNKNOWN"},
		{"GET", "/v2/app/manifests/" + string(digest.FromString("x")), "404 MANIFEST_UNKNOWN"},
		{"GET", "/v2/nope/manifests/1", "404 NAME_UNKNOWN"},
		{"GET", "/v2/nope/tags/list", "404 NAME_UNKNOWN"},
		{"GET", "/v2/nope/referrers/" + string(digest.FromString("x")), "404 NAME_UNKNOWN"},
		{"GET", "/v2/nope/blobs/" + string(digest.FromString("x")), "404 NAME_UNKNOWN"},
		{"GET", "/v2/app/blobs/" + string(digest.FromString("x")), "404 BLOB_UNKNOWN"},
		{"GET", "/v2/app/manifests/sha256:0", "400 DIGEST_INVALID"},
		{"HEAD", "/v2/app/manifests/1+2", "400"},
		{"GET", "/v2/Upper/tags/list", "400 NAME_INVALID"},
		{"DELETE", "/v2/app/manifests/2", "404 MANIFEST_UNKNOWN"},
	} {
		if a := r.do(row.method, row.path, nil); a.String() != row.want {
			t.Errorf("%s %s: got %s, want %s", row.method, row.path, a, row.want)
		}
	}
	unknown := r.do("POST", "/v2/nope/blobs/uploads/", nil)
	if want := "The repository with name 'nope' does not exist in the registry with id '111122223333'"; !strings.Contains(string(unknown.body), want) {
		t.Errorf("the message is %s, want %s", unknown.body, want)
	}
}

// TestManifestWithoutMediaType takes the type from the Content-Type header.
func TestManifestWithoutMediaType(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	raw := bytes.Replace(r.pushImage("app", "1", "one"), []byte(`"mediaType":"`+ociManifest+`",`), nil, 1)
	r.want(201, r.do("PUT", "/v2/app/manifests/2", raw, "Content-Type", ociManifest))
	a := r.want(200, r.do("GET", "/v2/app/manifests/2", nil))
	if a.header.Get("Content-Type") != ociManifest || !bytes.Equal(a.body, raw) {
		t.Errorf("got %s %s", a.header.Get("Content-Type"), a.body)
	}
}

// TestForeignLayers need not be in the repository.
func TestForeignLayers(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	config := []byte("{}")
	r.pushBlob("app", config)
	raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","size":9,"digest":%q,"urls":["https://example.com/l"]}]}`,
		dockerManifest, descriptor(dockerConfig, config), digest.FromString("elsewhere"))
	r.want(201, r.pushManifest("app", "1", raw))
}

// TestConversion is one row per stored type and Accept: what a pull by tag gets.
func TestConversion(t *testing.T) {
	for _, row := range []struct{ stored, accept, want string }{
		{dockerManifest, ociManifest, ociManifest},
		{ociManifest, dockerManifest, dockerManifest},
		{ociManifest, ociManifest, ociManifest},
		{dockerManifest, "", dockerManifest},
		{dockerManifest, "*/*", dockerManifest},
		{dockerManifest, ociManifest + ", " + dockerManifest + ";q=0.5", dockerManifest},
		{dockerManifest, ociIndex, dockerManifest}, // nothing to convert to
	} {
		t.Run(row.stored+" as "+row.accept, func(t *testing.T) {
			run := ecrlocaltest.Start(t)
			create(t, run, "app")
			r := login(t, run)
			raw := r.pushTyped("app", "1", "one", row.stored)
			headers := []string{"Accept", row.accept}
			if row.accept == "" {
				headers = nil
			}
			a := r.want(200, r.do("GET", "/v2/app/manifests/1", nil, headers...))
			if got := a.header.Get("Content-Type"); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
			if got, want := a.header.Get("Docker-Content-Digest"), string(digest.FromBytes(a.body)); got != want {
				t.Errorf("the digest is %s, want that of the bytes, %s", got, want)
			}
			head := r.do("HEAD", "/v2/app/manifests/1", nil, headers...)
			if head.header.Get("Docker-Content-Digest") != a.header.Get("Docker-Content-Digest") {
				t.Error("HEAD and GET disagree about the digest")
			}
			var fields struct {
				MediaType string
				Config    struct{ MediaType string }
				Layers    []struct{ MediaType string }
			}
			if err := json.Unmarshal(a.body, &fields); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{ociManifest: ociConfig + " " + ociLayer, dockerManifest: dockerConfig + " " + dockerLayer}[row.want]
			if got := fields.Config.MediaType + " " + fields.Layers[0].MediaType; fields.MediaType != row.want || got != want {
				t.Errorf("inside are %s and %s, want %s and %s", fields.MediaType, got, row.want, want)
			}
			byDigest := r.do("GET", "/v2/app/manifests/"+string(digest.FromBytes(raw)), nil, headers...)
			if !bytes.Equal(byDigest.body, raw) {
				t.Errorf("by digest the bytes are %s", byDigest.body)
			}
		})
	}
}

// TestDeletion removes a tag and then the image.
func TestDeletion(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	raw := r.pushImage("app", "1", "one")
	byDigest := "/v2/app/manifests/" + string(digest.FromBytes(raw))
	var got []string
	for _, request := range []struct{ method, path string }{
		{"DELETE", "/v2/app/manifests/1"},
		{"GET", "/v2/app/manifests/1"},
		{"GET", byDigest}, // untagged, not deleted
		{"DELETE", byDigest},
		{"GET", byDigest},
	} {
		got = append(got, r.do(request.method, request.path, nil).String())
	}
	if diff := cmp.Diff([]string{"202", "404 MANIFEST_UNKNOWN", "200", "202", "404 MANIFEST_UNKNOWN"}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	r.want(201, r.pushManifest("app", "2", raw)) // its blobs are still there
	r.want(202, r.do("DELETE", byDigest, nil))
	if tags := tagsOf(t, r.do("GET", "/v2/app/tags/list", nil)); len(tags) != 0 {
		t.Errorf("an image deleted by digest leaves the tags %v", tags)
	}
}

// TestRecreatedRepositoryIsEmpty does not show blobs of the repository it replaces.
func TestRecreatedRepositoryIsEmpty(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	r.pushImage("app", "1", "one")
	if _, err := api(run).DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: new("app"), Force: true}); err != nil {
		t.Fatal(err)
	}
	if a := r.do("GET", "/v2/app/tags/list", nil); a.String() != "404 NAME_UNKNOWN" {
		t.Errorf("the deleted repository: %s", a)
	}
	create(t, run, "app")
	if a := r.do("HEAD", "/v2/app/blobs/"+string(digest.FromString("layer of one")), nil); a.status != 404 {
		t.Errorf("its successor has the blob: %d", a.status)
	}
}

// TestNamesWithKeywords keeps repositories apart from the words of the protocol.
func TestNamesWithKeywords(t *testing.T) {
	run := ecrlocaltest.Start(t)
	r := login(t, run)
	for _, name := range []string{"a/manifests/b", "blobs/uploads/x", "tags/list/tags", "v2/v2"} {
		create(t, run, name)
		raw := r.pushImage(name, "1", name)
		if got := r.do("GET", "/v2/"+name+"/manifests/1", nil); !bytes.Equal(got.body, raw) {
			t.Errorf("%s: got %s", name, got)
		}
		if got := tagsOf(t, r.do("GET", "/v2/"+name+"/tags/list", nil)); len(got) != 1 {
			t.Errorf("%s has the tags %v", name, got)
		}
	}
}

// TestHostIsTheClients puts into every address the host the client used.
func TestHostIsTheClients(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	r.base = strings.Replace(run.URL, "127.0.0.1", "localhost", 1)
	if got := r.begin("app"); !strings.HasPrefix(got, r.base+"/v2/app/blobs/uploads/") {
		t.Errorf("the upload is at %s, want it at %s", got, r.base)
	}
}

// TestThrottling spends a bucket on both faces and waits for it to fill.
func TestThrottling(t *testing.T) {
	c := ecrlocaltest.NewClock()
	run := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c), ecrlocaltest.WithThrottle(ecrlocal.Throttle{
		Rates: map[string]float64{"DescribeRepositories": 1, "ecr:GetAuthorizationToken": 0},
	}))
	create(t, run, "app")
	r := login(t, run)
	raw := r.pushImage("app", "", "one")
	pushed := func() int {
		n := 0
		for range 30 {
			a := r.pushManifest("app", "t", raw)
			if a.status == 201 {
				n++
			} else if a.String() != "429 TOOMANYREQUESTS" {
				t.Fatalf("got %s", a)
			}
		}
		return n
	}
	got := []int{pushed()}
	c.Advance(500 * time.Millisecond)
	got = append(got, pushed())
	c.Advance(time.Hour)
	got = append(got, pushed())
	if diff := cmp.Diff([]int{9, 5, 10}, got); diff != "" { // the image itself took one
		t.Errorf("pushed at 10/s (-want +got):\n%s", diff)
	}
	_, err := api(run).PutImage(t.Context(), &ecr.PutImageInput{RepositoryName: new("app"), ImageManifest: new("{}")})
	if got := errorCode(t, err); got != "ThrottlingException" {
		t.Errorf("PutImage shares the bucket: got %q, want ThrottlingException", got)
	}
	abroad := ecr.NewFromConfig(run.AWSConfig("eu-west-1"))
	_, err = abroad.PutImage(t.Context(), &ecr.PutImageInput{RepositoryName: new("app"), ImageManifest: new("{}")})
	if got := errorCode(t, err); got != "RepositoryNotFoundException" {
		t.Errorf("another Region has its own bucket: got %q", got)
	}
	describe := func() string {
		_, err := api(run).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
		return errorCode(t, err)
	}
	if first, second := describe(), describe(); first != "" || second != "ThrottlingException" {
		t.Errorf("at a rate of 1: %q, %q", first, second)
	}
	for range 600 { // over the published 500
		if a := login(t, run); a.auth == "" {
			t.Fatal("no token")
		}
	}
}

// TestThrottleScale multiplies the published rates.
func TestThrottleScale(t *testing.T) {
	c := ecrlocaltest.NewClock()
	run := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c), ecrlocaltest.WithThrottle(ecrlocal.Throttle{Scale: 0.3}))
	create(t, run, "app")
	client := api(run)
	n := 0
	for range 10 {
		_, err := client.PutImage(t.Context(), &ecr.PutImageInput{RepositoryName: new("app"), ImageManifest: new("{}")})
		if errorCode(t, err) != "ThrottlingException" {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d of 10 were let through at 0.3 of 10/s, want 3", n)
	}
}

func loginWithKey(t *testing.T, run *ecrlocaltest.Running, key string) *registry {
	t.Helper()
	return loginAs(t, run, ecr.NewFromConfig(withKey(run, key)))
}

// TestPutImageRestoresByAPI restores an archived image through PutImage as well.
func TestPutImageRestoresByAPI(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	raw := login(t, run).pushImage("app", "1", "one")
	client := api(run)
	if _, err := client.UpdateImageStorageClass(t.Context(), &ecr.UpdateImageStorageClassInput{
		RepositoryName: new("app"), ImageId: &ecrtypes.ImageIdentifier{ImageTag: new("1")}, TargetStorageClass: "ARCHIVE",
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutImage(t.Context(), &ecr.PutImageInput{RepositoryName: new("app"), ImageTag: new("1"), ImageManifest: new(string(raw))}); err != nil {
		t.Fatal(err)
	}
	out, err := client.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: new("app")})
	if err != nil || len(out.ImageDetails) != 1 || out.ImageDetails[0].LastActivatedAt == nil || out.ImageDetails[0].LastArchivedAt == nil {
		t.Errorf("described as %+v, %v; want one active image with both dates", out, err)
	}
}

// TestBlobTypes are those a manifest gives them, once there is one.
func TestBlobTypes(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	config := r.pushBlob("app", []byte(`{"name":"one"}`))
	head := func(dgst digest.Digest) string {
		return r.want(200, r.do("HEAD", "/v2/app/blobs/"+string(dgst), nil)).header.Get("Content-Type")
	}
	got := []string{head(config)}
	r.pushImage("app", "1", "one")
	got = append(got, head(config), head(digest.FromString("layer of one")))
	if diff := cmp.Diff([]string{"application/octet-stream", ociConfig, ociLayer}, got); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
}

// TestConcurrentPushes pushes, lists and pulls from many goroutines at once.
func TestConcurrentPushes(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	client := api(run)
	r.pushBlob("app", []byte("shared"))
	const workers, each = 8, 10
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("w%d-%d", w, i)
				config := []byte(`{"name":"` + name + `"}`)
				up, err := r.try("POST", "/v2/app/blobs/uploads/", nil)
				if err == nil {
					_, err = r.try("PUT", up.header.Get("Location")+"?digest="+string(digest.FromBytes(config)), config)
				}
				if err == nil {
					_, err = r.try("PUT", "/v2/app/manifests/"+name, manifest(ociManifest, config, []byte("shared")), "Content-Type", ociManifest)
				}
				if err == nil {
					_, err = client.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: new("app")})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	out, err := client.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: new("app"), MaxResults: new(int32(1000))})
	if err != nil || len(out.ImageIds) != workers*each {
		t.Errorf("there are %d images, %v; want %d", len(out.ImageIds), err, workers*each)
	}
}
