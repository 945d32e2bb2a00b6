package cli_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

// objectStorage is a server that speaks S3.
type objectStorage struct {
	url     string
	backend gofakes3.Backend
	writes  atomic.Int64 // to the bucket images
}

// startS3 serves two buckets, named states and images.
func startS3(t *testing.T) *objectStorage {
	t.Helper()
	s := &objectStorage{backend: s3mem.New()}
	for _, name := range []string{"states", "images"} {
		if err := s.backend.CreateBucket(name); err != nil {
			t.Fatal(err)
		}
	}
	fake := gofakes3.New(s.backend, gofakes3.WithLogger(gofakes3.StdLog(log.New(io.Discard, "", 0)))).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && strings.HasPrefix(r.URL.Path, "/images/") {
			s.writes.Add(1)
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// stored KEY insists that the bucket images has an object; with ! that it has not.
func (s *stage) stored(ts *testscript.TestScript, neg bool, args []string) {
	key := strings.ReplaceAll(args[0], "sha256-", "sha256:")
	_, err := s.s3.backend.HeadObject("images", key)
	check(ts, neg, err)
}

// bucket-writes N insists on how often the bucket images was written to since the last
// forget.
func (s *stage) bucketWrites(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	if have := s.s3.writes.Load(); have != want {
		ts.Fatalf("the bucket had %d writes, and %d were expected", have, want)
	}
}

// served UPSTREAM:TAG NAME:TAG insists that the bucket images, as a server of plain files
// shows it, holds the same image as upstream, complete.
func (s *stage) served(ts *testscript.TestScript, neg bool, args []string) {
	original := s.walk(ts, s.upstream.direct, args[0], "")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		object, err := s.s3.backend.GetObject("images", strings.TrimPrefix(r.URL.Path, "/"), nil)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer object.Contents.Close()
		w.Header().Set("Content-Type", object.Metadata["Content-Type"])
		_, _ = io.Copy(w, object.Contents)
	}))
	defer server.Close()
	check(ts, neg, walker.Same(original, s.walk(ts, server.URL, args[1], "")))
}

// harm remove|flip root|child|layer UPSTREAM:TAG NAME harms the copy of an upstream image's
// root, first child manifest or last layer in the bucket images. What is flipped keeps its
// size; a root is flipped under its digest and under its tag.
func (s *stage) harm(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: harm remove|flip root|child|layer UPSTREAM:TAG NAME")
	}
	what, err := part(s.walk(ts, s.upstream.direct, args[2], ""), args[1])
	ts.Check(err)
	folder := "v2/" + args[3] + "/manifests/"
	if args[1] == "layer" {
		folder = "v2/" + args[3] + "/blobs/"
	}
	keys := []string{folder + "sha256:" + what}
	if _, tag, _ := strings.Cut(args[2], ":"); args[1] == "root" {
		keys = append(keys, folder+tag)
	}
	for _, key := range keys {
		if args[0] == "remove" {
			_, err := s.s3.backend.DeleteObject("images", key)
			ts.Check(err)
			continue
		}
		object, err := s.s3.backend.GetObject("images", key, nil)
		ts.Check(err)
		raw, err := io.ReadAll(object.Contents)
		ts.Check(err)
		ts.Check(object.Contents.Close())
		raw[len(raw)/2] ^= 1
		_, err = s.s3.backend.PutObject("images", key, object.Metadata, bytes.NewReader(raw), int64(len(raw)), nil)
		ts.Check(err)
	}
}

// weeks-pass NAME N lets what is known of unreferenced content of a repository be so many
// weeks older.
func (s *stage) weeksPass(ts *testscript.TestScript, _ bool, args []string) {
	weeks, err := strconv.Atoi(args[1])
	ts.Check(err)
	key := "ecr-mirror-sync/unreferenced/" + args[0] + ".json"
	object, err := s.s3.backend.GetObject("images", key, nil)
	ts.Check(err)
	raw, err := io.ReadAll(object.Contents)
	ts.Check(err)
	ts.Check(object.Contents.Close())
	var marks map[string]any
	ts.Check(json.Unmarshal(raw, &marks))
	for _, mark := range marks["unreferenced"].(map[string]any) {
		mark := mark.(map[string]any)
		since, err := time.Parse(time.RFC3339, mark["since"].(string))
		ts.Check(err)
		mark["since"] = since.Add(-time.Duration(weeks) * 7 * 24 * time.Hour)
	}
	raw, err = json.Marshal(marks)
	ts.Check(err)
	_, err = s.s3.backend.PutObject("images", key, object.Metadata, bytes.NewReader(raw), int64(len(raw)), nil)
	ts.Check(err)
}
