// Command demo shows the whole program at work on one machine: a registry as upstream,
// a local ECR as destination, and repositories whose resource tags say what to mirror.
// It runs bin/ecr-mirror-sync and bin/ecrlocal as a user would, checks what came of it
// with other clients, and leaves nothing running. `make demo` builds and starts it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run tells the demo's story.
func run(ctx context.Context) (err error) {
	s, err := start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()

	s.say("An upstream registry at %s gets images for two platforms each.", s.upstream)
	if err := s.fillUpstream(ctx); err != nil {
		return err
	}
	s.say("A local ECR at %s gets repositories whose resource tags say what they mirror.", s.ecr)
	if err := s.createRepositories(ctx); err != nil {
		return err
	}

	s.say("What is marked for mirroring?")
	if err := s.tool(ctx, 1, "list"); err != nil {
		return err
	}
	s.say("What would a run do?")
	if err := s.tool(ctx, 1, "sync", "--dry-run", "--insecure-policy"); err != nil {
		return err
	}
	s.say("Do it. (Exit code 1: one repository's tags are a mistake, and the rest goes on.)")
	if err := s.tool(ctx, 1, "sync", "--insecure-policy"); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}

	s.say("Somebody corrects the mistake, and upstream moves the tag stable.")
	if err := s.correct(ctx); err != nil {
		return err
	}
	if err := s.moveStable(ctx); err != nil {
		return err
	}
	if err := s.tool(ctx, 0, "sync", "--insecure-policy"); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	s.say("Another run finds everything in sync: one HEAD for each upstream tag, no write.")
	if err := s.tool(ctx, 0, "sync", "--insecure-policy"); err != nil {
		return err
	}
	return s.countRequests()
}
